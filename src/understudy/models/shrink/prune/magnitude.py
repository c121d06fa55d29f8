"""Magnitude pruning: the smallest weights of each matrix become zero. The matrices stay as large as they are."""

from __future__ import annotations

import copy
import zlib
from typing import Any

import torch
from torch import Tensor

from understudy.models.shrink.prune.blocks import headed_blocks


def smallest_to_zero(weight: Tensor, share: float) -> Tensor:
    """A copy of a matrix in which a share of the entries, those of the smallest magnitude, is zero.

    Of equal magnitudes the first ones go.

    Example:
        >>> smallest_to_zero(torch.tensor([[1.0, -3.0], [2.0, 0.5]]), 0.5)
        tensor([[ 0., -3.],
                [ 2.,  0.]])
    """
    flat = weight.detach().clone().flatten()
    count = int(share * flat.numel() + 1e-9)
    flat[flat.abs().argsort(stable=True)[:count]] = 0
    return flat.view_as(weight)


def magnitude_prune(model: Any, share: float) -> Any:
    """A copy of a model whose blocks' matrices have a share of zeros, each the same. Embeddings and heads stay.

    Raises:
        ModelError: if the blocks of the family are not known.

    Reference:
        Han et al. 2015, arXiv 1506.02626; Zhu & Gupta 2017, arXiv 1710.01878.
    """
    made = copy.deepcopy(model)
    with torch.no_grad():
        for weight in matrices(made):
            weight.copy_(smallest_to_zero(weight, share))
    return made


def matrices(model: Any) -> list[Tensor]:
    """The matrices of a model's blocks."""
    return [part.weight for block in headed_blocks(model) for part in block[1:]]


def keep_zeros(model: Any) -> None:
    """Make the zeros of a model's matrices stay zeros while it is trained: their gradients are zero from now on.

    With no gradient Adam's moments are zero, and weight decay of zero is zero, so no step moves them.
    """
    for weight in matrices(model):
        weight.register_hook(_Kept(weight.detach() != 0))


class _Kept:
    """Multiplies a gradient by a mask; a class, so that models with it can be copied."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient * self.mask.to(gradient.device)


def zero_share(model: Any) -> float:
    """The share of zeros in the matrices of a model's blocks."""
    found = matrices(model)
    return sum(int((weight == 0).sum()) for weight in found) / sum(weight.numel() for weight in found)


def compressed_bytes(model: Any) -> int:
    """The bytes of a model's weights as zlib packs them: what zeros save in a download, and nowhere else."""
    packer, total = zlib.compressobj(6), 0
    for tensor in model.state_dict().values():
        total += len(packer.compress(tensor.detach().cpu().contiguous().numpy().tobytes()))
    return total + len(packer.flush())
