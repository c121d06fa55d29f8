"""What learns when: frozen layers and gradual unfreezing, as stages of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from understudy.training.optimizers.groups import Group, Rate, layer_rates, layers_of, parameter_groups
from understudy.training.optimizers.lazy_adamw import adamw
from understudy.training.stages import Stage
from understudy.training.unfreezing.order import epochs_of, frozen_layers, in_words, thawing


class Part(NamedTuple):
    """One stage of a plan: the names of the groups that learn, and for how many epochs."""

    name: str
    learns: tuple[str, ...]
    epochs: int
    from_best: bool = False


class LearningPlan:
    """Which layers of an objective learn, when, and at which learning rates.

    A frozen layer keeps its dropout; only its weights stay as they are. This is so in fastai and in the experiments of
    the ULMFiT paper. Without dropout below it, a head that is trained on few texts would fit their exact features,
    which change as soon as the layers below are unfrozen. Below the lowest layer that learns there is no backward pass.
    Frozen parameters have no gradient and no optimizer state.

    Args:
        objective: its parameters that require a gradient now are those that may learn.
        epochs: of each stage.
        learning_rate: that of the last layer, or those of the first and the last layer.
        discriminative: the factor between a layer's rate and that of the layer below.
        freeze: layers that never learn, as :func:`frozen_layers` takes them.
        unfreeze: as :func:`thawing` takes it; empty for a single stage, in which all layers learn that are not frozen.
        unfreeze_epochs: one number for all stages, or one for each; replaces `epochs`.

    Raises:
        ConfigError: if the model does not have the layers named, or stages, epochs or rates do not fit its layers.
    """

    def __init__(
        self,
        objective: nn.Module,
        *,
        epochs: int,
        learning_rate: Rate,
        discriminative: float | None = None,
        freeze: Sequence[str] = (),
        unfreeze: Sequence[str] = (),
        unfreeze_epochs: Sequence[int] = (),
    ) -> None:
        self.objective = objective
        self.learning_rate, self.discriminative = learning_rate, discriminative
        self.by_layer = bool(discriminative or freeze or unfreeze or isinstance(learning_rate, tuple))
        self.layers = layers_of(objective) if self.by_layer else [("all", list(_learning(objective)))]
        names = [name for name, _ in self.layers]
        self.frozen = frozen_layers(freeze, names)
        left = [name for name in names if name not in self.frozen]
        thawed = thawing(unfreeze, left) if unfreeze else [tuple(left)]
        lengths = epochs_of(unfreeze_epochs or [epochs], len(thawed))
        chain = list(unfreeze) == ["chain-thaw"]
        self.parts = [
            Part(in_words(learns, names), learns, length, from_best=chain and i > 0)
            for i, (learns, length) in enumerate(zip(thawed, lengths))
        ]
        self.groups()  # refuses rates that do not fit these layers: now, not in the middle of a run

    @property
    def names(self) -> list[str]:
        """The names of the groups that learn in at least one stage, input to output."""
        return [name for name, _ in self.layers if name not in self.frozen]

    @property
    def with_own_rates(self) -> list[str]:
        """The names of the groups with learning rates of their own; empty if all learn at one rate."""
        return self.names if self.by_layer else []

    @property
    def epochs(self) -> int:
        """The epochs of all stages together."""
        return sum(part.epochs for part in self.parts)

    def groups(self, learning_rate: Rate | None = None) -> list[Group]:
        """All layers, frozen ones included, with their learning rates.

        Args:
            learning_rate: replaces that of the plan.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        rates = layer_rates(len(self.layers), rate, discriminative=self.discriminative or 1.0)
        return [Group(name, parameters, rate) for (name, parameters), rate in zip(self.layers, rates)]

    def with_highest(self, learning_rate: float) -> Rate:
        """What replaces the plan's rate so that the highest group of the first stage learns at `learning_rate`.

        It is higher than that where layers above are frozen, because these keep their place in the series of rates.
        """
        top = max(group.learning_rate for group in self.groups() if group.name in self.parts[0].learns)
        if isinstance(self.learning_rate, tuple):
            first, last = self.learning_rate
            return learning_rate * (first / top), learning_rate * (last / top)
        return learning_rate * (self.learning_rate / top)

    def stages(
        self,
        *,
        weight_decay: float,
        learning_rate: Rate | None = None,
        make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = adamw,
    ) -> list[Stage]:
        """The stages for :func:`understudy.training.loop.fit`.

        Args:
            weight_decay: of all parameters but biases and those of norms.
            learning_rate: replaces that of the plan.
            make: makes an optimizer of parameter groups.
        """
        groups = self.groups(learning_rate)

        def begin(part: Part) -> torch.optim.Optimizer:
            self._learn(part)
            return make(parameter_groups(self.objective, groups, weight_decay=weight_decay))

        return [
            Stage(part.name, part.epochs, partial(begin, part), part.from_best, learns=self._parameters(part))
            for part in self.parts
        ]

    @contextmanager
    def at_its_widest(self) -> Iterator[list[nn.Parameter]]:
        """Inside ``with``, the objective is as in the stage with the most parameters that learn; yields these."""
        self._learn(max(self.parts, key=lambda part: sum(p.numel() for p in self._parameters(part))))
        try:
            yield list(_learning(self.objective))
        finally:
            for _, parameters in self.layers:
                for parameter in parameters:
                    parameter.requires_grad_(True)

    def _parameters(self, part: Part) -> list[nn.Parameter]:
        return [parameter for name, parameters in self.layers if name in part.learns for parameter in parameters]

    def _learn(self, part: Part) -> None:
        for name, parameters in self.layers:
            for parameter in parameters:
                parameter.requires_grad_(name in part.learns)


def _learning(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.requires_grad)
