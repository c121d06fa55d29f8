"""Weights between two points of a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def numbers_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and its stored buffers of floating-point numbers by name, each tied one once; no copies."""
    stored = model.state_dict(keep_vars=True)
    buffers = {name: value for name, value in model.named_buffers() if name in stored and value.is_floating_point()}
    return {name: value.detach() for name, value in (dict(model.named_parameters()) | buffers).items()}


@torch.no_grad()
def interpolate(model: nn.Module, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    r"""Give a model the weights between two points, in place.

    .. math:: \theta = (1 - \alpha)\,\theta_{start} + \alpha\,\theta_{end}

    Where training began with a model that already answers, both ends lie in one valley of the loss, and models between them are
    often better than either.

    Args:
        start, end: two states of the model, as :func:`numbers_of` names them, on any device. What is equal in both stays
            bit-identical.
        share: :math:`\alpha`, from 0 (the start) to 1 (the end).

    Raises:
        KeyError: if a parameter or buffer of the model is not in both.

    Reference:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903, equation 1.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> interpolate(model, {"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[4.0]])}, 0.75)
        >>> model.weight.item()
        3.5
    """
    for name, value in numbers_of(model).items():
        one, other = start[name].to(value), end[name].to(value)
        value.copy_(one if torch.equal(one, other) else torch.lerp(one, other, share))
