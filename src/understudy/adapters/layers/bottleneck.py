"""A bottleneck adapter, and several of them for the rows of one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.adapters.design import Start


def _same(values: Tensor) -> Tensor:
    return values


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
    "leakyrelu": F.leaky_relu,
    "linear": _same,
}
"""The non-linearities by the names in :data:`understudy.adapters.design.FUNCTION_NAMES`."""

_SPREAD = 0.02


class Bottleneck(nn.Module):
    r"""The sum that an adapter adds.

    .. math:: A(z) = s \, (W_{up} \, f(W_{down} z + b_{down}) + b_{up})

    Args:
        width: of what it reads.
        bottleneck: the size between the projections.
        non_linearity: f, a name in :data:`FUNCTIONS`.
        scaling: s.
        norm: whether z is normed first.
        outputs: the width of what it adds; None for that of what it reads.
        bias: whether the projections have biases.
        start: ``identity`` zeroes the second projection, so that A is exactly 0; ``normal`` draws both from N(0, 0.02).

    Reference:
        Houlsby et al. 2019, arXiv 1902.00751, figure 2.

    Example:
        >>> adapter = Bottleneck(8, 2, non_linearity="relu")
        >>> adapter(torch.ones(1, 3, 8)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        width: int,
        bottleneck: int,
        *,
        non_linearity: str,
        scaling: float = 1.0,
        norm: bool = False,
        outputs: int | None = None,
        bias: bool = True,
        start: Start = "identity",
    ) -> None:
        super().__init__()
        self.function, self.scaling = FUNCTIONS[non_linearity], scaling
        self.norm = nn.LayerNorm(width) if norm else None
        self.down = nn.Linear(width, bottleneck, bias=bias)
        self.up = nn.Linear(bottleneck, width if outputs is None else outputs, bias=bias)
        for linear in (self.down, self.up):
            if bias:
                nn.init.zeros_(linear.bias)
        if start == "normal":
            for linear in (self.down, self.up):
                nn.init.normal_(linear.weight, std=_SPREAD)
        else:
            nn.init.zeros_(self.up.weight)

    def forward(self, states: Tensor) -> Tensor:
        """What is added for states ``(rows, tokens, width)``: ``(rows, tokens, outputs)``."""
        inner = self.function(self.down(states if self.norm is None else self.norm(states)))
        added = self.up(inner)
        return added if self.scaling == 1.0 else self.scaling * added


class Bank(NamedTuple):
    """The weights of several adapters of one place, one behind the other. Bottlenecks of other sizes are filled up with zeros."""

    down: Tensor
    """``(adapters, inputs, bottleneck)``."""
    down_bias: Tensor
    """``(adapters, 1, bottleneck)``."""
    up: Tensor
    """``(adapters, bottleneck, outputs)``."""
    up_bias: Tensor
    """``(adapters, 1, outputs)``."""
    scaling: Tensor
    """``(adapters + 1, 1, 1)``; the last is 0, for rows without an adapter."""
    functions: list[tuple[Callable[[Tensor], Tensor], Tensor]]
    """Each non-linearity, and which of the adapters have it: boolean, ``(adapters, 1, 1)``."""
    norm: tuple[Tensor, Tensor, Tensor] | None
    """Which adapters norm what they read ``(adapters, 1, 1)``, and the norms' weights and biases ``(adapters, 1, inputs)``."""


def bank_of(adapters: Sequence[Bottleneck]) -> Bank:
    """The weights of adapters of one place as a :class:`Bank`.

    The adapters' own weights are parts of it from now on: nothing is in memory twice, and what changes in the one changes in
    the other.
    """
    first = adapters[0].down.weight
    count, size = len(adapters), max(adapter.down.out_features for adapter in adapters)
    inputs, outputs = adapters[0].down.in_features, adapters[0].up.out_features
    down, up = first.new_zeros(count, inputs, size), first.new_zeros(count, size, outputs)
    down_bias, up_bias = first.new_zeros(count, 1, size), first.new_zeros(count, 1, outputs)
    norm_weight, norm_bias = first.new_ones(count, 1, inputs), first.new_zeros(count, 1, inputs)
    for i, adapter in enumerate(adapters):
        own = adapter.down.out_features
        _move(adapter.down.weight, down[i, :, :own].T)
        _move(adapter.down.bias, down_bias[i, 0, :own])
        _move(adapter.up.weight, up[i, :own].T)
        _move(adapter.up.bias, up_bias[i, 0])
        if adapter.norm is not None:
            _move(adapter.norm.weight, norm_weight[i, 0])
            _move(adapter.norm.bias, norm_bias[i, 0])

    def of_each(values: list[Any]) -> Tensor:
        return torch.tensor(values, device=first.device).view(-1, 1, 1)

    normed = [adapter.norm is not None for adapter in adapters]
    return Bank(
        down,
        down_bias,
        up,
        up_bias,
        of_each([*(adapter.scaling for adapter in adapters), 0.0]).to(first.dtype),
        [
            (function, of_each([adapter.function is function for adapter in adapters]))
            for function in dict.fromkeys(adapter.function for adapter in adapters)
        ],
        (of_each(normed), norm_weight, norm_bias) if any(normed) else None,
    )


def _move(parameter: Tensor | None, into: Tensor) -> None:
    """Let a parameter have its values in a part of another tensor."""
    if parameter is not None:
        into.copy_(parameter.detach())
        parameter.data = into


def grouped(states: Tensor, bank: Bank, numbers: Tensor) -> Tensor:
    """What each row's own adapter adds, in two batched products whatever the number of adapters.

    Args:
        states: ``(rows, tokens, inputs)``.
        bank: the adapters.
        numbers: the number of each row's adapter in the bank, ``(rows,)``; that of adapters for none.

    Returns:
        ``(rows, tokens, outputs)``.
    """
    scaling = bank.scaling[numbers]
    numbers = numbers.clamp(max=len(bank.down) - 1)
    if bank.norm is not None:
        normed, weight, bias = (part[numbers] for part in bank.norm)
        states = torch.where(normed, F.layer_norm(states, states.shape[-1:]) * weight + bias, states)
    inner = torch.baddbmm(bank.down_bias[numbers], states, bank.down[numbers])
    if len(bank.functions) == 1:
        inner = bank.functions[0][0](inner)
    else:
        inner = sum(
            (function(inner) * held[numbers] for function, held in bank.functions), start=torch.zeros_like(inner)
        )
    return scaling * torch.baddbmm(bank.up_bias[numbers], inner, bank.up[numbers])
