"""Parameter groups by layer, each with a rate of its own, and the optimizer that steps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from understudy.errors import ConfigError
from understudy.models.structure.layers import output_table
from understudy.models.structure.parameter_groups import layer_groups, undecayed
from understudy.models.students.student import Student

Rate = float | tuple[float, float]
"""A learning rate for all layers (the highest, where they differ by a factor), or those of the lowest and the highest."""


class Group(NamedTuple):
    """Parameters that share a learning rate."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float


class LazyAdamW(torch.optim.AdamW):
    """AdamW for dense and for sparse gradients.

    A table of 30,000 words of which a batch uses 1,000 needs no gradient for the other 29,000. What else they need is
    up to the group that the table is in. If it is ``lazy`` (the default), nothing: moments and decay wait until the
    row is used again, as in ``torch.optim.SparseAdam``, while the bias correction counts the steps of the whole table.
    If it is not, the step is AdamW's own over all rows. Dense gradients take torch's fused step in any case.

    Reference:
        Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient; sparse gradients are gone afterwards."""
        spread = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    gradient = parameter.grad.coalesce()
                    rows, values = gradient.indices()[0], gradient.values()
                    if group.get("lazy", True):
                        self._step_rows(parameter, rows, values, group)
                        parameter.grad = None  # done: the dense step below passes it by
                    else:
                        parameter.grad = self._zeros(parameter).index_copy_(0, rows, values)
                        spread.append((parameter, rows))
        loss = super().step(closure)
        for parameter, rows in spread:
            self._zeros(parameter).index_fill_(0, rows, 0.0)
            parameter.grad = None
        return loss

    def _zeros(self, parameter: Tensor) -> Tensor:
        """A dense gradient without a value in it. It is kept, for to fill one with zeros takes as long as the step."""
        kept: dict[Tensor, Tensor] = self.__dict__.setdefault("_kept", {})
        if parameter not in kept:
            kept[parameter] = torch.zeros_like(parameter)
        return kept[parameter]

    def _step_rows(self, parameter: Tensor, rows: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = state["step"].item(), group["betas"]
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"][rows] = first
        state["exp_avg_sq"][rows] = second
        denominator = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = (first / (1 - beta1**step)).div_(denominator)
        values = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
        parameter[rows] = values.sub_(update, alpha=group["lr"])


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients, sparse ones included, so that their common 2-norm is at most `max_norm`; the norm before.

    ``torch.nn.utils.clip_grad_norm_`` does not take sparse gradients.
    """
    values: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad._values())
        else:
            values.append(parameter.grad)
    if not values:
        return torch.tensor(0.0)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values)))
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(values, scale)
    return norm


def sparse_gradients(model: Any, wanted: bool) -> None:
    """Give the table of token embeddings sparse gradients, or dense ones, where nothing but the input reads it.

    A batch uses a fraction of its rows; on a CPU, gradients for the others cost most of a small student's step, and a
    twentieth of an encoder's. :class:`LazyAdamW` alone knows what to do with them.
    """
    table = getattr(model, "get_input_embeddings", lambda: None)()
    if isinstance(table, nn.Embedding):
        table.sparse = wanted and output_table(model) is not table.weight


def layers_of(objective: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """What learns in an objective, by layer of its model, input to output.

    Parameters that do not require a gradient are left out, and so is a layer that has no others. What the objective
    itself learns beside its model (a projection, say) belongs to the last layer.
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
        learning_rate: the last layer's, or the first one's and the last one's.
        discriminative: the factor between a layer's rate and that of the layer below; not with two rates.

    Raises:
        ConfigError: for two rates of a single layer, or of which the first is the higher one, or with a factor.

    Reference:
        Howard & Ruder 2018, "ULMFiT", arXiv 1801.06146, section 3.2 (there the factor is 2.6). The rates between two
        are those of fastai's ``slice(first, last)``.

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
            f"learning_rate {first:g}:{last:g} must rise from the first layer to the last, and has no factor besides."
        )
    if count < 2:
        raise ConfigError(
            f"learning_rate {first:g}:{last:g} is for the first and the last layer, but this model learns in one. "
            "Give a single rate."
        )
    return [float(first * (last / first) ** (i / (count - 1))) for i in range(count)]


def parameter_groups(module: nn.Module, groups: Sequence[Group], *, weight_decay: float) -> list[dict[str, Any]]:
    """Groups as ``torch.optim`` takes them: of each, what decays and what does not. Frozen parameters are in none.

    Args:
        module: what the parameters belong to; it tells biases and norms apart.
        groups: names, parameters and rates.
        weight_decay: of all but biases and norms.

    Returns:
        Each has a ``name`` and the ``initial_lr``, which the schedule multiplies; ``lazy`` says that rows of a table
        that a batch does not use may wait (see :class:`LazyAdamW`): those of a student do, pretrained ones do not.
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


def adamw(groups: list[dict[str, Any]], *, betas: tuple[float, float] = (0.9, 0.999)) -> LazyAdamW:
    """:class:`LazyAdamW` over such groups, fused."""
    return LazyAdamW(groups, betas=betas, fused=True)


def build_optimizer(module: nn.Module, *, learning_rate: float, weight_decay: float = 0.01) -> LazyAdamW:
    """AdamW with one rate for all that learns."""
    groups = [Group("all", list(module.parameters()), learning_rate)]
    return adamw(parameter_groups(module, groups, weight_decay=weight_decay))
