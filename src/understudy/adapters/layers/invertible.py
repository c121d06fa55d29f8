"""Invertible adapters: what a language adapter does to the embeddings, and undoes before words are predicted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.design import Start
from understudy.adapters.layers.bottleneck import FUNCTIONS
from understudy.adapters.route import Route
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model

INVERTIBLE = "invertible_adapters"
"""What an encoder's :class:`EmbeddingSite` is called in it."""


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
        non_linearity: a name in :data:`understudy.adapters.layers.bottleneck.FUNCTIONS`.
        start: as in :class:`understudy.adapters.layers.bottleneck.Bottleneck`.

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

    def undo(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What words are scored from: the change undone, the last one first. The hook on the output table."""
        states = args[0]
        for name in reversed(self.route.stack):
            if name in self.adapters:
                coupling: Any = self.adapters[name]
                states = coupling.inverse(states)
        return (states, *args[1:])


def embedding_site(model: Any, route: Route) -> EmbeddingSite:
    """The site behind the encoder's embeddings, which is made at the first call."""
    base = base_model(model)
    if not hasattr(base, INVERTIBLE):
        base.add_module(INVERTIBLE, EmbeddingSite(route))
        base.embeddings.register_forward_hook(getattr(base, INVERTIBLE))
    return getattr(base, INVERTIBLE)


def undo_before_words(model: Any) -> None:
    """Let a masked language model undo its invertible adapters before the output table scores the words.

    Input and output table are one: what an adapter changes behind the one, it takes back before the other.

    Raises:
        ModelError: if the model has no invertible adapter, or no output table.

    Reference:
        Pfeiffer et al. 2020, "MAD-X", arXiv 2005.00052, section 3.3.
    """
    site, output = getattr(base_model(model), INVERTIBLE, None), model.get_output_embeddings()
    if site is None or not isinstance(output, nn.Module):
        raise ModelError(f"{type(model).__name__}: has no invertible adapter, or no output table.")
    output.register_forward_pre_hook(site.undo)
