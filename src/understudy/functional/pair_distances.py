"""Distances between the vectors of a batch, pair by pair: pure and unreduced."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pairwise_cosine_error(vectors: Tensor, alike: Tensor) -> Tensor:
    r"""Squared error of the cosine of every pair of a batch, which should be 1 if both are alike and 0 otherwise.

    .. math:: \left( \frac{v_i \cdot v_j}{\lVert v_i \rVert \, \lVert v_j \rVert} - a_{ij} \right)^2

    One product of matrices gives all pairs, so a text is encoded once however many pairs it is in. A vector of zeros
    has the cosine 0 with every other. Half precision is computed in float32.

    Args:
        vectors: ``(texts, width)``.
        alike: ``(texts, texts)`` of bool: which pairs are alike.

    Returns:
        ``(texts, texts)``, from 0 to 4, symmetric where `alike` is. The diagonal is the error of each text with itself.

    Raises:
        ValueError: if there is not one row and one column of `alike` for each vector.

    Reference:
        Reimers & Gurevych 2019, "Sentence-BERT", arXiv 1908.10084, section 3 (regression objective function);
        Tunstall et al. 2022, "SetFit", arXiv 2209.11055, section 3.1, for pairs from labels.

    Example:
        >>> vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> pairwise_cosine_error(vectors, torch.tensor([[True, True], [True, True]]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    texts = len(vectors)
    if alike.shape != (texts, texts):
        raise ValueError(
            f"alike must have a row and a column for each of the {texts} vectors, but its shape is {tuple(alike.shape)}"
        )
    precise = vectors if vectors.dtype == torch.float64 else vectors.float()
    directions = F.normalize(precise, dim=-1)
    return (directions @ directions.T - alike.to(precise.dtype)).square()
