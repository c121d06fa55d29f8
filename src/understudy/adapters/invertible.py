"""Invertible adapters: what a language adapter does to the embeddings, and undoes before words are predicted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.bottleneck import FUNCTIONS
from understudy.adapters.design import Start
from understudy.adapters.route import Route


class _Function(nn.Module):
    """A non-linearity as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = FUNCTIONS[name]

    def forward(self, values: Tensor) -> Tensor:
        """The function of the values."""
        return self.function(values)


class Coupling(nn.Module):
    r"""An invertible change of embeddings, whose halves are e and f.

    .. math:: e' = e + F(f), \quad f' = f + G(e')

    Args:
        width: of the embeddings.
        reduction: half the width divided by this is the width between the two layers of F and of G.
        non_linearity: a name in :data:`understudy.adapters.bottleneck.FUNCTIONS`.
        start: as in :class:`understudy.adapters.bottleneck.Bottleneck`.

    Reference:
        Dinh et al. 2015, "NICE", arXiv 1410.8516, section 3.2; Pfeiffer et al. 2020, "MAD-X", arXiv 2005.00052,
        section 3.3.

    Example:
        >>> coupling = Coupling(6, 1.0, non_linearity="tanh", start="normal")
        >>> x = torch.ones(1, 2, 6)
        >>> bool(torch.allclose(coupling.inverse(coupling(x)), x))
        True
    """

    def __init__(self, width: int, reduction: float, *, non_linearity: str, start: Start = "identity") -> None:
        super().__init__()
        self.cut = width // 2
        inner = max(1, int(self.cut // reduction))

        def layers(read: int, written: int) -> nn.Sequential:
            last = nn.Linear(inner, written)
            nn.init.zeros_(last.bias)
            nn.init.normal_(last.weight, std=0.02 if start == "normal" else 0.0)
            return nn.Sequential(nn.Linear(read, inner), _Function(non_linearity), last)

        self.first, self.second = layers(width - self.cut, self.cut), layers(self.cut, width - self.cut)

    def forward(self, embedded: Tensor) -> Tensor:
        """Changed embeddings, ``(rows, tokens, width)``."""
        one, two = embedded[..., : self.cut], embedded[..., self.cut :]
        one = one + self.first(two)
        return torch.cat([one, two + self.second(one)], dim=-1)

    def inverse(self, changed: Tensor) -> Tensor:
        """The embeddings that were changed into these."""
        one, two = changed[..., : self.cut], changed[..., self.cut :]
        two = two - self.second(one)
        return torch.cat([one - self.first(two), two], dim=-1)


class EmbeddingSite(nn.Module):
    """The invertible adapters of an encoder, by name.

    Args:
        route: which of them compute.
    """

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict()
        self.route = route

    def forward(self, module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
        """What the embeddings become: the hook on the module that makes them."""
        for name in self.route.stack:
            if name in self.adapters:
                embedded = self.adapters[name](embedded)
        for i, name in enumerate(self.route.names):
            if name in self.adapters:
                held = (self.route.numbers == i)[:, None, None]  # type: ignore[index]
                embedded = torch.where(held, self.adapters[name](embedded), embedded)
        return embedded
