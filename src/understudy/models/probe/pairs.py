"""Linear models on compared vectors of pairs, which are told that the values of the product speak together: arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.data.tasks import Task
from understudy.models.linear import fit_linear
from understudy.models.probe.choice import GRID, Probe, cross_validated

_COPIES = 100
"""How often the cosine stands among the features of a fit. On 600 rows of STS-B, MRPC, RTE and SICK, kept from the training
files, with 16 and 100 labels it is worth up to 4 points and costs at most 0.2; with 1,000 it changes little."""


def with_cosine(features: np.ndarray) -> np.ndarray:
    """Features of pairs, and their cosine many times: a penalty then hardly holds what the cosine alone can say.

    Args:
        features: of :func:`understudy.models.students.apart.compared`, ``(rows, 2 * width)``.

    Returns:
        ``(rows, 2 * width + copies)``.
    """
    cosine = features[:, features.shape[1] // 2 :].mean(1, keepdims=True)
    return np.hstack([features, np.repeat(cosine, _COPIES, axis=1)])


def without_cosine(weight: np.ndarray) -> np.ndarray:
    """The weights ``(outputs, 2 * width)`` of the features alone that answer as those of :func:`with_cosine` do.

    The cosine is the mean of the products, so its weight is spread evenly over them.

    Example:
        >>> features = np.array([[1.0, 0.0, 0.5, -1.5]])
        >>> weight = np.arange(4.0 + _COPIES)[None]
        >>> a, b = with_cosine(features) @ weight.T, features @ without_cosine(weight).T
        >>> bool(np.allclose(a, b))
        True
    """
    size = weight.shape[1] - _COPIES
    own = weight[:, :size].copy()
    own[:, size // 2 :] += weight[:, size:].sum(1, keepdims=True) / (size - size // 2)
    return own


def cross_validated_pairs(
    features: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    seed: int,
    grid: Sequence[float] = GRID,
    class_weights: Sequence[float] | None = None,
    groups: np.ndarray | None = None,
) -> Probe:
    """As :func:`understudy.models.probe.choice.cross_validated`, of compared vectors.

    Args:
        features: of :func:`understudy.models.students.apart.compared`, ``(rows, 2 * width)``.

    Raises:
        DataError: if no row has a label.
    """
    told = with_cosine(features)
    found = cross_validated(told, labels, task, seed=seed, grid=grid, class_weights=class_weights, groups=groups)
    return found._replace(weight=without_cosine(found.weight))


def fit_linear_pairs(
    features: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    validation: tuple[np.ndarray, np.ndarray],
    class_weights: Sequence[float] | None = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`understudy.models.linear.fit_linear`, of compared vectors.

    Args:
        features: of :func:`understudy.models.students.apart.compared`, ``(rows, 2 * width)``.
        validation: features and labels to choose the penalty on.

    Raises:
        DataError: if no row has a label.
    """
    told = (with_cosine(validation[0]), validation[1])
    weight, bias = fit_linear(
        with_cosine(features), labels, task, validation=told, class_weights=class_weights, groups=groups
    )
    return without_cosine(weight), bias
