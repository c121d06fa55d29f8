"""Which models are worth their price: the front of quality against cost, what it dominates, and its knee."""

from __future__ import annotations

import math
from collections.abc import Mapping


def dominated(costs: Mapping[str, float], scores: Mapping[str, float]) -> dict[str, str]:
    """The models that another one makes superfluous: it costs no more, scores no less, and is better in one of both.

    Args:
        costs: by model; less is better.
        scores: by model; more is better. Models without a score or without a cost are left out.

    Returns:
        By dominated model, the best-scoring (then the cheapest) one that dominates it.

    Example:
        >>> dominated({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.8, "b": 0.7, "c": 0.9})
        {'b': 'a'}
    """
    names = [name for name in costs if name in scores]
    found = {}
    for name in names:
        others = [
            other
            for other in names
            if costs[other] <= costs[name]
            and scores[other] >= scores[name]
            and (costs[other], scores[other]) != (costs[name], scores[name])
        ]
        if others:
            found[name] = max(others, key=lambda other: (scores[other], -costs[other]))
    return found


def pareto_front(costs: Mapping[str, float], scores: Mapping[str, float]) -> list[str]:
    """The models that no other one dominates, the cheapest first.

    Example:
        >>> pareto_front({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.8, "b": 0.7, "c": 0.9})
        ['a', 'c']
    """
    left_out = dominated(costs, scores)
    names = [name for name in costs if name in scores and name not in left_out]
    return sorted(names, key=lambda name: (costs[name], scores[name]))


def knee(costs: Mapping[str, float], scores: Mapping[str, float]) -> str | None:
    r"""The model of the front after which more cost buys the least: the one farthest above the line between its ends.

    .. math:: \arg\max_i \; \frac{y_i - y_1}{y_n - y_1} - \frac{\log c_i - \log c_1}{\log c_n - \log c_1}

    Costs are taken by their logarithms, because models differ in them by powers of ten.

    Args:
        costs: by model, positive; less is better.
        scores: by model; more is better.

    Returns:
        None if the front has fewer than three models, or none of them lies above the line.

    Raises:
        ValueError: if a cost is not positive.

    Reference:
        Satopää et al. 2011, "Finding a 'kneedle' in a haystack: detecting knee points in system behavior".

    Example:
        >>> knee({"a": 1.0, "b": 10.0, "c": 100.0}, {"a": 0.5, "b": 0.89, "c": 0.9})
        'b'
    """
    if odd := [name for name, cost in costs.items() if cost <= 0]:
        raise ValueError(f"costs must be positive, but that of {odd[0]} is {costs[odd[0]]}")
    front = pareto_front(costs, scores)
    if len(front) < 3:
        return None
    first, last = front[0], front[-1]
    width, height = math.log(costs[last] / costs[first]), scores[last] - scores[first]
    if width <= 0 or height <= 0:
        return None
    above = {
        name: (scores[name] - scores[first]) / height - math.log(costs[name] / costs[first]) / width
        for name in front[1:-1]
    }
    best = max(above, key=above.__getitem__)
    return best if above[best] > 1e-12 else None
