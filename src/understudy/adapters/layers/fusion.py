"""Fusion: attention over what several trained adapters add in one place."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from understudy.adapters.layers.bottleneck import Bottleneck


class Fusion(nn.Module):
    r"""The sum that several adapters of one place add together, weighed for each token by attention.

    .. math:: F(z) = \sum_n \alpha_n \, V A_n(z), \qquad \alpha = \mathrm{softmax}_n \big( (Q z)^\top K A_n(z) \big)

    It stands where a single adapter would, and reads and adds what that would. The adapters stay as they are; only Q, K and V
    learn. V is the identity at first, so that a weighted mean of the adapters is added.

    Args:
        width: of the encoder's states.
        fused: the adapters, by name.

    Reference:
        Pfeiffer et al. 2021, "AdapterFusion", arXiv 2005.00247, section 3.2.2.

    Example:
        >>> one = Bottleneck(4, 2, non_linearity="relu", start="normal")
        >>> fusion, states = Fusion(4, {"a": one, "b": one}), torch.ones(1, 3, 4)
        >>> bool(torch.allclose(fusion(states), one(states)))
        True
    """

    def __init__(self, width: int, fused: Mapping[str, Bottleneck]) -> None:
        super().__init__()
        self.fused = nn.ModuleDict(fused)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.value.weight)

    def forward(self, states: Tensor) -> Tensor:
        """What is added for states ``(rows, tokens, width)``; the same shape."""
        added = torch.stack([adapter(states) for adapter in self.fused.values()], dim=-2)
        scores = (self.key(added) * self.query(states)[..., None, :]).sum(-1)
        weights = scores.softmax(-1)[..., None]
        return self.value((weights * added).sum(-2))


def is_fused(name: str) -> bool:
    """Whether a parameter of an adapter is one of an adapter that a :class:`Fusion` holds, by its name there.

    Example:
        >>> is_fused("layer.0.output.fused.news.down.weight"), is_fused("layer.0.output.query.weight")
        (True, False)
    """
    return ".fused." in name
