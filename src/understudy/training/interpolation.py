"""Weights between two points of a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's parameters by name, each tied one once."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def interpolate(model: nn.Module, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    r"""Give a model the weights between two points, in place.

    .. math:: \theta = (1 - \alpha)\,\theta_{start} + \alpha\,\theta_{end}

    Where training began with a model that already answers, both ends lie in one valley of the loss, and models between them are
    often better than either.

    Args:
        start, end: two states of the model's parameters, on any device. Those that are equal in both stay bit-identical.
        share: :math:`\alpha`, from 0 (the start) to 1 (the end).

    Raises:
        KeyError: if a parameter of the model is in neither or only one of them.

    Reference:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903, equation 1.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> interpolate(model, {"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[4.0]])}, 0.75)
        >>> model.weight.item()
        3.5
    """
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.lerp(start[name].to(parameter), end[name].to(parameter), share))
