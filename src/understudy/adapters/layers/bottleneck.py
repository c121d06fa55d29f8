"""A bottleneck adapter, and several of them for the rows of one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

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
        width: of the encoder's states.
        bottleneck: the size between the projections.
        non_linearity: f, a name in :data:`FUNCTIONS`.
        scaling: s.
        norm: whether z is normed first.
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
        start: Start = "identity",
    ) -> None:
        super().__init__()
        self.function, self.scaling = FUNCTIONS[non_linearity], scaling
        self.norm = nn.LayerNorm(width) if norm else None
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        for linear in (self.down, self.up):
            nn.init.zeros_(linear.bias)
        if start == "normal":
            for linear in (self.down, self.up):
                nn.init.normal_(linear.weight, std=_SPREAD)
        else:
            nn.init.zeros_(self.up.weight)

    def forward(self, states: Tensor) -> Tensor:
        """What is added for states ``(rows, tokens, width)``; the same shape."""
        inner = self.function(self.down(states if self.norm is None else self.norm(states)))
        added = self.up(inner)
        return added if self.scaling == 1.0 else self.scaling * added


class Bank(NamedTuple):
    """The weights of several adapters of one place, one behind the other; where one has none they are zero.

    Bottlenecks of other sizes are filled up with zeros, and the scaling is multiplied into the second projection.
    """

    down: Tensor
    """``(adapters, width, bottleneck)``."""
    down_bias: Tensor
    """``(adapters, 1, bottleneck)``."""
    up: Tensor
    """``(adapters, bottleneck, width)``."""
    up_bias: Tensor
    """``(adapters, 1, width)``."""
    functions: list[tuple[Callable[[Tensor], Tensor], Tensor]]
    """Each non-linearity, and which of the adapters have it: boolean, ``(adapters, 1, 1)``."""
    norm: tuple[Tensor, Tensor, Tensor] | None
    """Which adapters norm what they read ``(adapters, 1, 1)``, and the norms' weights and biases ``(adapters, 1, width)``."""


def bank_of(adapters: Sequence[Bottleneck | None]) -> Bank | None:
    """The weights of adapters of one place as a :class:`Bank`; None if there is no adapter at all."""
    present = [adapter for adapter in adapters if adapter is not None]
    if not present:
        return None
    first = present[0].down.weight
    count, width, size = len(adapters), first.shape[1], max(adapter.down.out_features for adapter in present)
    down, up = first.new_zeros(count, width, size), first.new_zeros(count, size, width)
    down_bias, up_bias = first.new_zeros(count, 1, size), first.new_zeros(count, 1, width)
    norm_weight, norm_bias = first.new_ones(count, 1, width), first.new_zeros(count, 1, width)
    with torch.no_grad():
        for i, adapter in enumerate(adapters):
            if adapter is None:
                continue
            own = adapter.down.out_features
            down[i, :, :own], down_bias[i, 0, :own] = adapter.down.weight.T, adapter.down.bias
            up[i, :own], up_bias[i, 0] = adapter.scaling * adapter.up.weight.T, adapter.scaling * adapter.up.bias
            if adapter.norm is not None:
                norm_weight[i, 0], norm_bias[i, 0] = adapter.norm.weight, adapter.norm.bias

    def mask(chosen: Callable[[Bottleneck], bool]) -> Tensor:
        held = [adapter is not None and chosen(adapter) for adapter in adapters]
        return torch.tensor(held, device=first.device).view(-1, 1, 1)

    functions = list(dict.fromkeys(adapter.function for adapter in present))
    return Bank(
        down,
        down_bias,
        up,
        up_bias,
        [(function, mask(lambda one, f=function: one.function is f)) for function in functions],  # type: ignore[misc]
        (mask(lambda one: one.norm is not None), norm_weight, norm_bias) if any(a.norm for a in present) else None,
    )


def grouped(states: Tensor, bank: Bank, numbers: Tensor) -> Tensor:
    """What each row's own adapter adds, in two batched products whatever the number of adapters.

    Args:
        states: ``(rows, tokens, width)``.
        bank: the adapters.
        numbers: the number of each row's adapter in the bank, ``(rows,)``.

    Returns:
        ``(rows, tokens, width)``.
    """
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
    return torch.baddbmm(bank.up_bias[numbers], inner, bank.up[numbers])
