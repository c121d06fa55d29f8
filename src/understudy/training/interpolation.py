"""Weights between two points of a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def interpolate(model: nn.Module, start: nn.Module, share: float) -> None:
    r"""Move a model back towards what it began with, in place.

    .. math:: \theta \leftarrow (1 - \alpha)\,\theta_{start} + \alpha\,\theta

    Where training began with a model that already answers, both ends lie in one valley of the loss, and models between them are
    often better than either.

    Args:
        model: as it is at the end. Its parameters and the stored buffers of floating-point numbers move.
        start: the same model as it was before, on any device. What is equal in both stays bit-identical.
        share: :math:`\alpha`, from 0 (the start) to 1 (the end).

    Raises:
        KeyError: if a parameter or buffer of the model is not in the start.

    Reference:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903, equation 1.

    Example:
        >>> start, model = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> _ = nn.init.constant_(start.weight, 2.0), nn.init.constant_(model.weight, 4.0)
        >>> interpolate(model, start, 0.75)
        >>> model.weight.item()
        3.5
    """
    began = _numbers(start)
    for name, value in _numbers(model).items():
        one = began[name].to(value)
        if not torch.equal(one, value):  # between two infinities of a mask there is nothing
            value.copy_(torch.lerp(one, value, share))


def _numbers(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and its stored buffers of floating-point numbers by name, each tied one once; no copies."""
    stored = model.state_dict(keep_vars=True)
    buffers = {name: value for name, value in model.named_buffers() if name in stored and value.is_floating_point()}
    return {name: value.detach() for name, value in (dict(model.named_parameters()) | buffers).items()}
