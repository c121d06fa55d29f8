"""What learns when: frozen layers, and gradual unfreezing, as stages of the loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from understudy.errors import ConfigError, nearest
from understudy.training.loop import Stage
from understudy.training.optimizers.groups import Group, Rate, adamw, layer_rates, layers_of, parameter_groups

_WORDS = ("gradual", "chain-thaw", "all")


class Part(NamedTuple):
    """A part of training: which groups learn, and how long."""

    name: str
    learns: tuple[str, ...]
    epochs: int
    from_best: bool = False


class LearningPlan:
    """Which layers of an objective learn, when, and at which rates.

    A frozen layer keeps its dropout: only its weights stand still. It is so in fastai and in the experiments of the
    ULMFiT paper; a head that learns on undisturbed features of few texts learns them by heart, and meets others as
    soon as the layers below are unfrozen. Below the lowest layer that learns there is no backward pass, and what is
    frozen has no gradient and no optimizer state.

    Args:
        objective: its parameters that require a gradient now are those that may learn.
        epochs: of each stage.
        learning_rate: the last layer's, or the first one's and the last one's.
        discriminative: the factor between a layer's rate and that of the layer below.
        freeze: layers that never learn, as :func:`frozen_layers` takes them.
        unfreeze: as :func:`thawing` takes it; empty for one stage in which all learn that are not frozen.
        unfreeze_epochs: of each stage, or of all; instead of `epochs`.

    Raises:
        ConfigError: if the layers named are not there, or stages, epochs and rates do not suit those that are.
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
        self.groups()  # now, not in the middle of a run: it refuses rates that make no sense for these layers

    @property
    def names(self) -> list[str]:
        """The groups that learn at some time, input to output."""
        return [name for name, _ in self.layers if name not in self.frozen]

    @property
    def with_own_rates(self) -> list[str]:
        """Those of them that have learning rates of their own."""
        return self.names if self.by_layer else []

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(part.epochs for part in self.parts)

    def groups(self, learning_rate: Rate | None = None) -> list[Group]:
        """All layers, frozen ones included, with their rates."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        rates = layer_rates(len(self.layers), rate, discriminative=self.discriminative or 1.0)
        return [Group(name, parameters, rate) for (name, parameters), rate in zip(self.layers, rates)]

    def stages(
        self,
        *,
        weight_decay: float,
        learning_rate: Rate | None = None,
        make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = adamw,
    ) -> list[Stage]:
        """The stages for :func:`understudy.training.loop.fit`.

        Args:
            weight_decay: of all but biases and norms.
            learning_rate: another one than the plan's.
            make: parameter groups to an optimizer.
        """
        groups = self.groups(learning_rate)

        def begin(part: Part) -> torch.optim.Optimizer:
            self._learn(part)
            return make(parameter_groups(self.objective, groups, weight_decay=weight_decay))

        return [Stage(part.name, part.epochs, partial(begin, part), part.from_best) for part in self.parts]

    @contextmanager
    def at_its_widest(self) -> Iterator[list[nn.Parameter]]:
        """As in the stage that costs most, which is the one in which most parameters learn; they are handed out."""
        layers = dict(self.layers)
        self._learn(max(self.parts, key=lambda part: sum(p.numel() for name in part.learns for p in layers[name])))
        try:
            yield list(_learning(self.objective))
        finally:
            for _, parameters in self.layers:
                for parameter in parameters:
                    parameter.requires_grad_(True)

    def _learn(self, part: Part) -> None:
        for name, parameters in self.layers:
            for parameter in parameters:
                parameter.requires_grad_(name in part.learns)


def _learning(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.requires_grad)


def frozen_layers(freeze: Sequence[str], names: Sequence[str]) -> list[str]:
    """The layers that are meant, input to output.

    Args:
        freeze: names of groups, a number or a range for layers (``3``, ``0-5``), or ``all-but-head``.
        names: of all groups, input to output.

    Raises:
        ConfigError: for every name that is unknown, or if nothing is left to learn.

    Example:
        >>> frozen_layers(["embeddings", "0-1"], ["embeddings", "layer 0", "layer 1", "head"])
        ['embeddings', 'layer 0', 'layer 1']
    """
    meant: set[str] = set()
    faults = []
    for word in freeze:
        span = re.fullmatch(r"(?:layer )?(\d+)(?:-(\d+))?", word)
        if word == "all-but-head" and "head" in names:
            chosen = [name for name in names if name != "head"]
        elif span:
            ends = [f"layer {int(end)}" for end in (span[1], span[2] or span[1])]
            known_ends = all(end in names for end in ends)
            chosen = list(names[names.index(ends[0]) : names.index(ends[1]) + 1]) if known_ends else []
        else:
            chosen = [name for name in names if name == word]
        if chosen:
            meant.update(chosen)
        else:
            known = [*names, *(name.removeprefix("layer ") for name in names), "all-but-head"]
            faults.append(
                f"freeze: there is no {word!r} in this model. It has {in_words(names)}.{nearest(word, known)}"
            )
    if not faults and names and meant == set(names):
        faults.append(f"freeze {' '.join(freeze)} leaves nothing to learn. The model has {in_words(names)}.")
    if faults:
        raise ConfigError(*faults)
    return [name for name in names if name in meant]


def unfreeze_faults(unfreeze: Sequence[str], unfreeze_epochs: Sequence[int]) -> list[str]:
    """What is wrong with these, whatever the model."""
    if not unfreeze:
        return ["--unfreeze_epochs belongs to --unfreeze: give that too, or --epochs."] if unfreeze_epochs else []
    if list(unfreeze) in (["gradual"], ["chain-thaw"]):
        return []
    numbers = [int(word) for word in unfreeze if word.isdecimal()]
    counted = len(numbers) == len(unfreeze) - (unfreeze[-1] == "all")
    if not counted or not numbers or min(numbers) < 1 or sorted(set(numbers)) != numbers:
        tail = next((hint for word in unfreeze if not word.isdecimal() and (hint := nearest(word, _WORDS))), "")
        return [
            "unfreeze must be gradual, chain-thaw, or numbers of layers from the top that rise, as in 1 2 all, "
            f"but is {' '.join(unfreeze)!r}.{tail}"
        ]
    if len(unfreeze_epochs) > 1 and len(unfreeze_epochs) != len(unfreeze):
        return [_epochs_fault(unfreeze_epochs, len(unfreeze))]
    return []


def thawing(unfreeze: Sequence[str], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Which groups learn in each stage.

    Args:
        unfreeze: ``gradual`` (the last group, then one more a stage, down to the first), ``chain-thaw`` (the last one
            alone, each other alone from the first on, then all), or numbers of groups counted from the last one, the
            final one of which may be ``all``.
        names: of the groups that may learn, input to output.

    Raises:
        ConfigError: if it asks for more groups than there are, or is none of these.

    Reference:
        Howard & Ruder 2018, "ULMFiT", arXiv 1801.06146, section 3.3; Felbo et al. 2017, "DeepMoji", arXiv 1708.00524,
        section 3.3 and figure 2 (chain-thaw).

    Example:
        >>> thawing(["1", "all"], ["embeddings", "layer 0", "head"])
        [('head',), ('embeddings', 'layer 0', 'head')]
        >>> thawing(["chain-thaw"], ["embeddings", "head"])
        [('head',), ('embeddings',), ('embeddings', 'head')]
    """
    if faults := unfreeze_faults(unfreeze, ()):
        raise ConfigError(*faults)
    if len(names) < 2:
        raise ConfigError(
            f"unfreeze {' '.join(unfreeze)}: there is only {in_words(names)} to learn, in one stage. Leave --unfreeze out, or freeze fewer layers."
        )
    everything = tuple(names)
    if unfreeze[0] == "chain-thaw":
        return [everything[-1:], *((name,) for name in names[:-1]), everything]
    if unfreeze[0] == "gradual":
        counts = list(range(1, len(names) + 1))
    else:
        counts = [len(names) if word == "all" else int(word) for word in unfreeze]
    if max(counts) > len(names) or len(set(counts)) < len(counts):
        raise ConfigError(
            f"unfreeze {' '.join(unfreeze)}: only {len(names)} groups can learn ({in_words(names)}). Give numbers up to {len(names) - 1}, then 'all'."
        )
    return [everything[-count:] for count in counts]


def epochs_of(given: Sequence[int], stages: int) -> list[int]:
    """The epochs of each stage.

    Raises:
        ConfigError: if they are neither one number nor one a stage.

    Example:
        >>> epochs_of([2], 3)
        [2, 2, 2]
    """
    if len(given) not in (1, stages):
        raise ConfigError(_epochs_fault(given, stages))
    return list(given) * (stages if len(given) == 1 else 1)


def _epochs_fault(given: Sequence[int], stages: int) -> str:
    return (
        f"unfreeze_epochs must be one number, or one for each of the {stages} stages, "
        f"but are {len(given)}: {' '.join(map(str, given))}."
    )


def in_words(chosen: Sequence[str], names: Sequence[str] = ()) -> str:
    """Groups in words: ``all`` if they are all of `names`, ``layer 4 and up`` if the last of them, else each by name."""
    if tuple(chosen) == tuple(names):
        return "all"
    if len(chosen) > 2 and tuple(names[-len(chosen) :]) == tuple(chosen):
        return f"{chosen[0]} and up"
    numbers = [int(name.removeprefix("layer ")) for name in chosen if name.startswith("layer ")]
    if len(numbers) < 3 or numbers != list(range(numbers[0], numbers[-1] + 1)):
        return ", ".join(chosen)
    first = chosen.index(f"layer {numbers[0]}")
    rest = [name for name in chosen if not name.startswith("layer ")]
    return ", ".join([*rest[:first], f"layers {numbers[0]}-{numbers[-1]}", *rest[first:]])
