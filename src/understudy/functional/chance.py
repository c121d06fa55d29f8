"""The loss of an answer that knows only how often each label occurs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor


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


def chance_distance(answers: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> float:
    r"""The mean distance of a teacher's answers from one that is the same for every text: their mean.

    .. math:: \frac1n \sum_i d(\bar t, t_i), \qquad \bar t = \frac1n \sum_i t_i

    For the squared error of logits no constant answer is nearer. What :func:`chance_loss` is for labels, this is for the
    answers of a teacher.

    Args:
        answers: logits ``(rows, outputs)``; rows that are NaN throughout are left out.
        distance: from two sets of logits to one number a row.

    Returns:
        0.0 where all answers are equal, or where there is none. A weight is not to be made of it as it is: that of a teacher
        which answers nearly alike would outweigh all others.

    Example:
        >>> import torch
        >>> chance_distance(torch.tensor([[1.0], [3.0]]), lambda s, t: (s - t).square().mean(-1))
        1.0
    """
    answers = answers[~answers.isnan().any(-1)].double()
    if not len(answers):
        return 0.0
    return float(distance(answers.mean(0, keepdim=True).expand_as(answers), answers).mean())
