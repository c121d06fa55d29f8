"""Parameter groups by layer, each with a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from understudy.errors import ConfigError
from understudy.models.structure.parameter_groups import layer_groups, undecayed
from understudy.models.students.student import Student
from understudy.training.optimizers.lazy_adamw import LazyAdamW, adamw

Rate = float | tuple[float, float]
"""One learning rate (of the last layer, if the rates of layers differ by a factor), or those of the first and last layer."""


class Group(NamedTuple):
    """Parameters that share a learning rate."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float


def layers_of(objective: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """The parameters of an objective that require a gradient, by layer of its model, input to output.

    A layer without such parameters is left out. Parameters of the objective that are not its model's (a projection, for
    example) belong to the last layer.
    """
    layers = layer_groups(objective.model)
    in_model = {id(parameter) for _, parameters in layers for parameter in parameters}
    layers[-1][1].extend(p for p in objective.parameters() if id(p) not in in_model)
    learning = [(name, [p for p in parameters if p.requires_grad]) for name, parameters in layers]
    return [(name, parameters) for name, parameters in learning if parameters]


def layer_rates(count: int, learning_rate: Rate, *, discriminative: float = 1.0) -> list[float]:
    r"""Learning rates of layers, input to output.

    .. math:: \eta_i = \eta \cdot factor^{-(n - 1 - i)} \quad \text{or} \quad
              \eta_i = \eta_0 \, (\eta_{n-1} / \eta_0)^{i / (n - 1)}

    Args:
        count: n layers.
        learning_rate: that of the last layer, or those of the first and the last layer.
        discriminative: the factor between a layer's rate and that of the layer below; not with two rates.

    Raises:
        ConfigError: for two rates if there is a single layer, if the first is higher, or together with a factor.

    Reference:
        Howard & Ruder 2018, "ULMFiT", arXiv 1801.06146, section 3.2 (with a factor of 2.6). The rates between two
        given ones are those of fastai's ``slice(first, last)``.

    Example:
        >>> layer_rates(3, 0.4, discriminative=2.0)
        [0.1, 0.2, 0.4]
        >>> [round(rate, 3) for rate in layer_rates(3, (0.001, 0.1))]
        [0.001, 0.01, 0.1]
    """
    if not isinstance(learning_rate, tuple):
        return [learning_rate / discriminative ** (count - 1 - i) for i in range(count)]
    first, last = learning_rate
    if first > last or discriminative != 1.0:
        raise ConfigError(
            f"learning_rate {first:g}:{last:g} must rise from the first layer to the last, and cannot have a factor too."
        )
    if count < 2:
        raise ConfigError(
            f"learning_rate {first:g}:{last:g} is for the first and the last layer, but only one layer of this model learns. "
            "Give a single rate."
        )
    return [float(first * (last / first) ** (i / (count - 1))) for i in range(count)]


def parameter_groups(module: nn.Module, groups: Sequence[Group], *, weight_decay: float) -> list[dict[str, Any]]:
    """Groups as ``torch.optim`` takes them: each is split into parameters with and without weight decay.

    Frozen parameters are in none.

    Args:
        module: what the parameters belong to; it tells which of them are biases or belong to norms.
        groups: names, parameters and rates.
        weight_decay: of all parameters but biases and those of norms.

    Returns:
        Dictionaries that also have a ``name``, the ``initial_lr`` that the schedule multiplies, and ``lazy``: whether
        rows of an embedding table that a batch does not use stay as they are (see :class:`LazyAdamW`). It is true for
        students and false for pretrained models.
    """
    spared = undecayed(module)
    lazy = isinstance(getattr(module, "model", module), Student)
    made: list[dict[str, Any]] = []
    for name, parameters, rate in groups:
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in learning if id(p) not in spared]),
            (0.0, [p for p in learning if id(p) in spared]),
        ):
            if chosen:
                options = {"weight_decay": decay, "lr": rate, "initial_lr": rate, "name": name, "lazy": lazy}
                made.append({"params": chosen, **options})
    return made


def build_optimizer(module: nn.Module, *, learning_rate: float, weight_decay: float = 0.01) -> LazyAdamW:
    """AdamW with one learning rate for all parameters that require a gradient."""
    groups = [Group("all", list(module.parameters()), learning_rate)]
    return adamw(parameter_groups(module, groups, weight_decay=weight_decay))
