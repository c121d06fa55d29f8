"""Which heads or neurons stay: the least important go first, but no layer loses all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.errors import ModelError


def normalised(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    r"""Scores divided by the 2-norm of their layer, so that layers compare: :math:`I_h / \sqrt{\sum_{h'} I_{h'}^2}`.

    Args:
        scores: for each layer ``(units,)``. A layer of zeros stays as it is.

    Reference:
        Michel, Levy & Neubig 2019, arXiv 1905.10650, section 3.2; Molchanov et al. 2017, arXiv 1611.06440, section 2.2.

    Example:
        >>> [part.tolist() for part in normalised([np.array([3.0, 4.0]), np.array([0.0, 0.0])])]
        [[0.6, 0.8], [0.0, 0.0]]
    """
    norms = [np.linalg.norm(part) for part in scores]
    return [part / norm if norm > 0 else part for part, norm in zip(scores, norms)]


def strongest(scores: Sequence[np.ndarray], *, remove: int, even: bool = False) -> list[list[int]]:
    """The units of each layer that are kept when `remove` of them go, the least important ones; each layer keeps one.

    Equal scores go in the order of layers and units.

    Args:
        scores: for each layer ``(units,)``.
        remove: how many go, of all layers together.
        even: the same number in each layer, rather than the least important of all.

    Returns:
        For each layer the numbers of the units, rising.

    Raises:
        ModelError: if so many cannot go.

    Example:
        >>> scores = [np.array([0.1, 0.2, 0.9]), np.array([0.6, 0.8, 0.7])]
        >>> strongest(scores, remove=2), strongest(scores, remove=2, even=True)
        ([[2], [0, 1, 2]], [[1, 2], [1, 2]])
    """
    total, layers = sum(map(len, scores)), len(scores)
    if not 0 <= remove <= total - layers:
        raise ModelError(
            f"{remove} of {total} cannot be removed, because each of {layers} layers keeps at least one. Remove {total - layers} of them or fewer."
        )
    if even:
        if remove % layers or any(len(part) <= remove // layers for part in scores):
            raise ModelError(
                f"{remove} of {total} cannot be removed from {layers} layers evenly. Remove a multiple of {layers}, or leave out --per_layer."
            )
        return [sorted(np.argsort(part, kind="stable")[remove // layers :].tolist()) for part in scores]
    kept = [set(range(len(part))) for part in scores]
    order = sorted((float(score), layer, unit) for layer, part in enumerate(scores) for unit, score in enumerate(part))
    for _, layer, unit in order:
        if not remove:
            break
        if len(kept[layer]) > 1:
            kept[layer].remove(unit)
            remove -= 1
    return [sorted(part) for part in kept]


def removed_by(total: int, share: float, *, done: float = 1.0, layers: int | None = None) -> int:
    """How many of so many units a share is, when this part of the pruning is done.

    Args:
        share: of all units.
        done: from 0 to 1; the share grows with it.
        layers: where each of so many layers loses the same number.

    Example:
        >>> removed_by(72, 0.5), removed_by(72, 0.5, done=1 / 3), removed_by(12, 0.4, layers=3)
        (36, 12, 3)
    """
    each = total // (layers or 1)
    return int(each * share * done + 1e-9) * (layers or 1)
