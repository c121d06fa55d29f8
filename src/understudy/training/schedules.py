"""Learning-rate schedules: from a step to the multiplier of the learning rate.

Steps count from 0; `total` is the number of optimizer steps.
"""

from __future__ import annotations

import math


def constant(step: int, total: int) -> float:
    """Always 1.

    Example:
        >>> constant(7, 10)
        1.0
    """
    _check(step, total)
    return 1.0


def linear(step: int, total: int, *, warmup: float = 0.1) -> float:
    r"""Linear rise from 0 over the warm-up, then linear fall to 0 at `total`.

    .. math:: \begin{cases} k / w & k < w \\ (K - k) / (K - w) & k \ge w \end{cases},
              \quad w = \min(\lceil K \cdot warmup \rceil, K - 1)

    Args:
        step: k, from 0 to `total`.
        total: K.
        warmup: share of the steps, from 0 to 1.

    Reference:
        Devlin et al. 2019, arXiv 1810.04805, appendix A.2.

    Example:
        >>> [linear(step, 10, warmup=0.2) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    _check(step, total, warmup=warmup)
    rising = _rising(total, warmup)
    return step / rising if step < rising else _remaining(step, total, rising)


def cosine(step: int, total: int, *, warmup: float = 0.1) -> float:
    r"""Linear rise from 0 over the warm-up, then half a cosine down to 0 at `total`.

    .. math:: \begin{cases} k / w & k < w \\ \tfrac12 (1 + \cos \pi \frac{k - w}{K - w}) & k \ge w \end{cases}

    Args:
        step: k, from 0 to `total`.
        total: K.
        warmup: share of the steps, from 0 to 1; w is that many steps, rounded up, but at most total - 1.

    Reference:
        Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5, a single period.

    Example:
        >>> [round(cosine(step, 10, warmup=0.2), 4) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    _check(step, total, warmup=warmup)
    rising = _rising(total, warmup)
    return step / rising if step < rising else (1 - math.cos(math.pi * _remaining(step, total, rising))) / 2


def slanted_triangular(step: int, total: int, *, cut_frac: float = 0.1, ratio: float = 32) -> float:
    r"""A short steep rise and a long fall, between 1/ratio and 1.

    .. math:: cut = \lfloor K \cdot cut\_frac \rfloor, \quad
              p = \begin{cases} k / cut & k < cut \\ 1 - \frac{k - cut}{cut \cdot (1 / cut\_frac - 1)} & k \ge cut \end{cases},
              \quad \frac{1 + p \cdot (ratio - 1)}{ratio}

    Two details differ from the paper. `cut` is at least one step. And p stays at 0 where rounding `cut` down would push
    it below 0 at the end of a short run (with 19 steps: to -0.9, a negative learning rate).

    Args:
        step: k (the paper's t), from 0 to `total`.
        total: K (the paper's T).
        cut_frac: share of the steps that rise, between 0 and 1.
        ratio: how much smaller the lowest rate is than the highest, at least 1.

    Reference:
        Howard & Ruder 2018, "ULMFiT", arXiv 1801.06146, equation 3.

    Example:
        >>> [slanted_triangular(step, 100) for step in (0, 10, 100)]
        [0.03125, 1.0, 0.03125]
    """
    _check(step, total, cut_frac=cut_frac)
    if not 0 < cut_frac < 1:
        raise ValueError(f"cut_frac must lie between 0 and 1, but is {cut_frac}")
    if ratio < 1:
        raise ValueError(f"ratio must be at least 1, but is {ratio}")
    cut = max(1, math.floor(total * cut_frac))
    share = step / cut if step < cut else max(0.0, 1 - (step - cut) / (cut * (1 / cut_frac - 1)))
    return (1 + share * (ratio - 1)) / ratio


def one_cycle(step: int, total: int, *, div: float = 25.0, final_div: float = 1e4, pct_start: float = 0.3) -> float:
    """Half a cosine up from 1/div to 1, then half a cosine down to 1/(div · final_div) at the last step, total - 1.

    Args:
        step: from 0 to `total`.
        total: optimizer steps.
        div: the highest rate divided by the first.
        final_div: the first rate divided by the last, as in torch. (fastai divides the highest by the last.)
        pct_start: share of the steps that rise.

    Reference:
        Smith 2018, arXiv 1803.09820, section 4, with the cosine curves of fastai and of torch's ``OneCycleLR``.

    Example:
        >>> [round(one_cycle(step, 10), 4) for step in (0, 2, 9)]
        [0.04, 1.0, 0.0]
    """
    _check(step, total, pct_start=pct_start)
    if not (div > 0 and final_div > 0):
        raise ValueError(f"div and final_div must be positive, but are {div} and {final_div}")
    return _up_and_down(step, total, pct_start, 1 / div, 1.0, 1 / (div * final_div))


def one_cycle_momentum(
    step: int, total: int, *, high: float = 0.95, low: float = 0.85, pct_start: float = 0.3
) -> float:
    """The momentum (Adam's first beta) that goes with :func:`one_cycle`: low where the rate is high.

    Args:
        step: from 0 to `total`.
        total: optimizer steps.
        high: the momentum at both ends.
        low: the momentum where the learning rate peaks.
        pct_start: share of the steps in which the momentum falls.

    Returns:
        The momentum itself, not a multiplier.

    Reference:
        Smith 2018, arXiv 1803.09820, section 4.3 (cyclical momentum).

    Example:
        >>> [one_cycle_momentum(step, 10) for step in (0, 2, 9)]
        [0.95, 0.85, 0.95]
    """
    _check(step, total, pct_start=pct_start)
    return _up_and_down(step, total, pct_start, high, low, high)


def _rising(total: int, warmup: float) -> int:
    """Steps of the warm-up, at most total - 1: a run of a single step would otherwise have a rate of 0."""
    return min(math.ceil(total * warmup), total - 1)


def _remaining(step: int, total: int, rising: int) -> float:
    return (total - step) / max(1, total - rising)


def _up_and_down(step: int, total: int, pct_start: float, first: float, peak: float, last: float) -> float:
    """Two half cosines that meet at ``pct_start * total - 1``, which need not be a whole number (as in torch)."""
    if total == 1:
        return peak
    turn = pct_start * total - 1
    if step <= turn:
        start, end, done = first, peak, step / turn if turn > 0 else 1.0
    else:
        start, end, done = peak, last, min(1.0, (step - turn) / (total - 1 - turn) if total - 1 > turn else 1.0)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def _check(step: int, total: int, **share: float) -> None:
    if total < 1 or not 0 <= step <= total:
        raise ValueError(
            f"step must lie between 0 and total, and total must be at least 1, but they are {step} and {total}"
        )
    for name, value in share.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, but is {value}")
