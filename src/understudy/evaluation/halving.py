"""Successive halving under a budget: how much each rung trains, who goes on, what fits, and what is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FEWEST = 256
"""Texts below which a rung says nothing: a lower rung has at least so many, where there are so many."""


class Rung(NamedTuple):
    """How much every model of a rung is trained."""

    texts: int
    epochs: int


def rung(number: int, *, of: int, eta: int, texts: int, epochs: int, fewest: int | None = None) -> Rung:
    r"""The texts and epochs of a rung, counted from 1; the last one has all of both.

    The work, texts times epochs, grows by the factor :math:`\eta` from rung to rung. Both have their share in it: the
    epochs grow by :math:`\sqrt\eta`, rounded, and the texts make up the rest.

    .. math:: e_k = \max(1, [E \eta^{-(K-k)/2}]), \qquad n_k = \lceil N E \eta^{-(K-k)} / e_k \rceil

    Args:
        of: K, the number of rungs.
        eta: the factor.
        texts: N.
        epochs: E.
        fewest: texts that a rung has at least, by default :data:`FEWEST`.

    Raises:
        ValueError: if there is no such rung.

    Reference:
        Jamieson & Talwalkar 2016, arXiv 1502.07943.

    Example:
        >>> [tuple(rung(k, of=3, eta=3, texts=20_000, epochs=3)) for k in (1, 2, 3)]
        [(6667, 1), (10000, 2), (20000, 3)]
    """
    if not 1 <= number <= of:
        raise ValueError(f"rungs are counted from 1 to {of}, but this is {number}")
    below = of - number
    passes = max(1, round(epochs / eta ** (below / 2)))
    wanted = math.ceil(texts * epochs / eta**below / passes)
    return Rung(min(texts, max(wanted, FEWEST if fewest is None else fewest)), passes)


def rungs(models: int, *, eta: int, most: int, work: float = math.inf, fewest: int | None = None) -> int:
    """How many rungs there are: as many as leave at least one model on the last, and enough to read on the first.

    Args:
        models: how many there are to choose from.
        eta: of each rung, one in so many goes on.
        most: rungs at most.
        work: texts times epochs of the last rung.
        fewest: texts that the first one must have, by default :data:`FEWEST`.

    Example:
        >>> [rungs(models, eta=3, most=3) for models in (1, 2, 3, 8, 9, 12, 100)]
        [1, 1, 2, 2, 3, 3, 3]
        >>> [rungs(12, eta=3, most=3, work=texts * 3) for texts in (200, 300, 1000)]
        [1, 2, 3]
    """
    count, least = 1, FEWEST if fewest is None else fewest
    while count < most and models >= eta**count and work / eta**count >= least:
        count += 1
    return count


def sizes(models: int, *, eta: int, of: int) -> list[int]:
    """How many models each rung has: of each rung, one in eta goes on, and at least one.

    Example:
        >>> sizes(12, eta=3, of=3)
        [12, 4, 1]
    """
    found = [models]
    while len(found) < of:
        found.append(max(1, found[-1] // eta))
    return found


def promoted(scores: Mapping[str, float], costs: Mapping[str, float], count: int) -> list[str]:
    """The best models of a rung, the cheapest first; of equal ones the cheaper goes on.

    Args:
        scores: by model, more is better; those without a score failed, and do not go on.
        costs: by model, see :func:`used`.

    Example:
        >>> promoted({"a": 0.8, "b": 0.9, "c": 0.9}, {"a": 1.0, "b": 3.0, "c": 2.0}, 2)
        ['c', 'b']
    """
    best = sorted(scores, key=lambda name: (-scores[name], costs[name], name))[:count]
    return sorted(best, key=lambda name: (costs[name], name))


def used(measured: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """How much of a budget a model uses: the largest share of a limit; above 1 it does not fit.

    Args:
        measured: by what is limited, all positive.
        limits: by the same; what has no limit is left out. Without any limit a model uses nothing.

    Example:
        >>> used({"latency_ms": 0.5, "size_bytes": 3e7}, {"latency_ms": 1.0, "size_bytes": 2e7})
        1.5
    """
    return max((measured[name] / limit for name, limit in limits.items()), default=0.0)


def share(score: float, teacher: float, *, higher_is_better: bool) -> float | None:
    """What a model reaches of its teacher's score; of a metric of which less is better, the other way round.

    None where the ratio says nothing: one of both is not positive.

    Example:
        >>> share(0.9, 0.6, higher_is_better=True), share(0.25, 0.125, higher_is_better=False)
        (1.5, 0.5)
        >>> share(0.5, -0.1, higher_is_better=True) is None
        True
    """
    if score <= 0 or teacher <= 0:
        return None
    return score / teacher if higher_is_better else teacher / score


class Offer(NamedTuple):
    """A trained model in one of its formats, as it can be chosen."""

    name: str
    format: str
    score: float
    """More is better."""
    used: float
    """How much of the budget it uses, see :func:`used`."""


def best_offer(offers: Sequence[Offer]) -> Offer | None:
    """The best of what fits; of equally good ones, what uses the least of the budget. None if nothing fits.

    Example:
        >>> best_offer([Offer("a", "pytorch", 0.9, 1.2), Offer("a", "int8", 0.89, 0.3), Offer("b", "int8", 0.89, 0.5)])
        Offer(name='a', format='int8', score=0.89, used=0.3)
    """
    fitting = [offer for offer in offers if offer.used <= 1]
    return min(fitting, key=lambda offer: (-offer.score, offer.used, offer.name, offer.format), default=None)
