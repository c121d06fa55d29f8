"""Whether a difference between two models may be chance: McNemar's exact test, and Holm's correction for many pairs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from understudy.functional.metrics import decisions
from understudy.functional.scoring import scored_rows

Pair = TypeVar("Pair", bound=Hashable)


class McNemar(NamedTuple):
    """On how many rows only one of two models is right, and how likely that is if both are right equally often."""

    only_first: int
    only_second: int
    p: float


def exact_mcnemar(only_first: int, only_second: int) -> McNemar:
    r"""McNemar's exact test, two-sided, from the rows on which exactly one of two models is right.

    .. math:: p = \min\Bigl(1,\; 2 \sum_{k=0}^{\min(b, c)} \binom{b + c}{k} 2^{-(b + c)}\Bigr)

    If both models are right equally often, each such row is a fair coin. Rows on which both are right, or both wrong, say
    nothing about which is better.

    Args:
        only_first: b, the rows on which only the first model is right.
        only_second: c, those on which only the second one is.

    Raises:
        ValueError: if a number is negative.

    Reference:
        McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12;
        Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning algorithms".

    Example:
        >>> round(exact_mcnemar(1, 5).p, 5)  # 2 · (1 + 6) / 64
        0.21875
        >>> exact_mcnemar(0, 0).p
        1.0
    """
    from scipy.special import bdtr

    if only_first < 0 or only_second < 0:
        raise ValueError(f"numbers of rows cannot be negative, but are {only_first} and {only_second}")
    rows, fewer = only_first + only_second, min(only_first, only_second)
    p = 1.0 if rows - 2 * fewer < 2 else min(1.0, 2 * float(bdtr(fewer, rows, 0.5)))
    return McNemar(only_first, only_second, p)


def mcnemar(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> McNemar | None:
    """:func:`exact_mcnemar` of two classifiers' outputs; a row with several labels is right if all of them are.

    Args:
        first, second: ``(rows, outputs)``.
        labels: of the rows; those without one are left out.

    Returns:
        None for regression, whose answers are neither right nor wrong.

    Example:
        >>> one, other = np.array([[0.0, 1.0]] * 4), np.array([[0.0, 1.0], [1.0, 0.0]] * 2)
        >>> mcnemar(one, other, np.array([1, 1, 1, 1]))
        McNemar(only_first=2, only_second=0, p=0.5)
    """
    if labels.ndim == 1 and labels.dtype.kind == "f":
        return None
    right = []
    for outputs in (first, second):
        kept, known = scored_rows(outputs, labels)
        right.append((decisions(kept, known) == known).reshape(len(known), -1).all(1))
    one, other = right
    return exact_mcnemar(int((one & ~other).sum()), int((other & ~one).sum()))


def holm(p_values: Mapping[Pair, float]) -> dict[Pair, float]:
    r"""P values adjusted for their number: if all that are below 0.05 are believed, one is wrong in at most 5 % of all cases.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1,\; (m - j + 1)\, p_{(j)}\bigr)

    with the m values in ascending order. It holds however the tests depend on each other.

    Args:
        p_values: by whatever was tested.

    Returns:
        The adjusted values under the same keys in the same order.

    Raises:
        ValueError: if one is no probability.

    Reference:
        Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    if odd := [value for value in p_values.values() if not 0 <= value <= 1]:
        raise ValueError(f"a p value lies between 0 and 1, but one is {odd[0]}")
    adjusted, largest = {}, 0.0
    for place, pair in enumerate(sorted(p_values, key=lambda pair: p_values[pair])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[pair]))
        adjusted[pair] = largest
    return {pair: adjusted[pair] for pair in p_values}
