"""The loss of an answer that knows only how often each label occurs."""

from __future__ import annotations

import numpy as np


def chance_loss(labels: np.ndarray) -> float:
    r"""The least loss that a constant answer can have on these labels.

    .. math:: -\sum_c p_c \log p_c, \qquad \text{or} \quad \operatorname{Var}(y)

    Several tasks' losses are divided by it, so that none outweighs the others by its unit alone.

    Args:
        labels: class indices, int ``(rows,)``, negative where there is none; numbers, float ``(rows,)``; or 0 and 1, float
            ``(rows, labels)``. NaN where there is none.

    Returns:
        The entropy in nats, the variance in squared units, or the mean entropy of the labels; 1.0 where that is 0, because
        all labels are equal.

    Example:
        >>> round(chance_loss(np.array([0, 1, 0, 1])), 4), chance_loss(np.array([1.0, 3.0])), chance_loss(np.array([2, 2]))
        (0.6931, 1.0, 1.0)
    """
    if labels.dtype.kind == "i":
        counts = np.bincount(labels[labels >= 0])
        shares = counts[counts > 0] / max(counts.sum(), 1)
        found = float(-(shares * np.log(shares)).sum())
    elif labels.ndim == 1:
        found = float(np.var(labels[~np.isnan(labels)].astype(np.float64))) if (~np.isnan(labels)).any() else 0.0
    else:
        share = np.clip(np.nanmean(labels.astype(np.float64), axis=0), 1e-12, 1 - 1e-12)
        found = float(-(share * np.log(share) + (1 - share) * np.log(1 - share)).mean())
    return found if found > 1e-9 else 1.0
