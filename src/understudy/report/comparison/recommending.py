"""Which model of a comparison to ship, by rules that are stated.

1. The best model is the one with the highest mean score.
2. A model is as good as the best if their difference is not significant: its p value, after Holm's correction over all
   pairs, is at least 0.05. Of these, the smallest on disk is shipped. If that is TF-IDF, TF-IDF is enough.
   But where the best leads it by two points or more and the interval is wider than ten (of an error: by a tenth of it, and
   half of it), they cannot be told apart, and this is said.
3. The knee of the front of quality against size is named where it is another model.
4. A distilled model is held against the same one without a teacher: whether distilling helped is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from understudy.report.metric_names import LOWER_IS_BETTER, human_score, is_share, metric_name
from understudy.report.numbers import human_bytes, number
from understudy.report.scores import TFIDF, Record, model_named, selecting_metric, shown_split
from understudy.report.verdict import MUCH, WIDE

ALARM = 0.05
"""A difference is significant below this, after Holm's correction."""


class Compared(NamedTuple):
    """How one model's score is above another's."""

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    rows: int
    seeds: int

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_holm < ALARM


def compared(record: Record, one: str, other: str) -> Compared | None:
    """The comparison of two models, in either order; None where there is none.

    Example:
        >>> entry = {"model": "a", "other": "b", "difference": 0.5, "interval": [0.25, 0.75], "p": 0.01, "p_holm": 0.02}
        >>> compared({"comparisons": [entry | {"rows": 80, "seeds": 1}]}, "b", "a")[:3]
        (-0.5, -0.75, -0.25)
    """
    for entry in record.get("comparisons") or []:
        if {entry["model"], entry["other"]} != {one, other}:
            continue
        values = [number(value) for value in (entry["difference"], *entry["interval"], entry["p"], entry["p_holm"])]
        if any(value is None for value in values):
            return None
        middle, low, high, p, p_holm = (float(value) for value in values if value is not None)
        if entry["model"] == other:
            middle, low, high = -middle, -high, -low
        # 0 has no sign
        return Compared(middle + 0.0, low + 0.0, high + 0.0, p, p_holm, entry["rows"], entry["seeds"])
    return None


def mean_score(record: Record, name: str) -> float | None:
    """A model's mean score over its seeds."""
    return number((((record.get("findings") or {}).get("scores") or {}).get(name) or {}).get("mean"))


def best_model(record: Record) -> str | None:
    """The model with the best mean score; the smallest of equals."""
    sign = -1 if selecting_metric(record) in LOWER_IS_BETTER else 1
    scores = {str(model["name"]): mean_score(record, str(model["name"])) for model in record["models"]}
    known = {name: sign * score for name, score in scores.items() if score is not None}
    return max(known, key=lambda name: (known[name], -_size(record, name)), default=None)


def as_good_as_best(record: Record) -> list[str]:
    """The best model, and those whose difference from it is not significant, the smallest first."""
    best = best_model(record)
    if best is None:
        return []
    names = [str(model["name"]) for model in record["models"]]
    tied = [
        name
        for name in names
        if name == best or ((found := compared(record, name, best)) is not None and not found.is_significant)
    ]
    return sorted(tied, key=lambda name: _size(record, name))


def shipped(record: Record) -> str | None:
    """The model that the rules choose; None if there is no score, or if it and the best one cannot be told apart."""
    chosen, best = _smallest(record), best_model(record)
    return None if chosen is None or best is None or _is_open(record, chosen, best) else chosen


def _smallest(record: Record) -> str | None:
    """The smallest model that is as good as the best."""
    return next(iter(as_good_as_best(record)), None)


def _is_open(record: Record, chosen: str, best: str) -> bool:
    """Whether a model whose difference from the best one is not significant may still be much worse than it."""
    found = compared(record, chosen, best)
    if found is None:
        return False
    if selecting_metric(record) in LOWER_IS_BETTER:  # no unit says what is much: a tenth of the best one's error is
        error = mean_score(record, best) or 0.0
        return found.difference >= 0.1 * error and found.high - found.low > 0.5 * error
    return -found.difference >= MUCH and found.high - found.low > WIDE


def recommendation(record: Record) -> list[str]:
    """What the rules say, a sentence or two a rule.

    Args:
        record: the parsed ``record.json`` of a comparison.

    Example:
        >>> models = [{"name": "tfidf", "size_bytes": 10_000, "metrics": {"test": {"accuracy": 0.9}}}]
        >>> models += [{"name": "bert", "size_bytes": 10**8, "metrics": {"test": {"accuracy": 0.91}}}]
        >>> entry = {"model": "tfidf", "other": "bert", "difference": -0.01, "interval": [-0.03, 0.01], "p": 0.3}
        >>> findings = {"scores": {"tfidf": {"mean": 0.9}, "bert": {"mean": 0.91}}, "seeds": [0, 1, 2]}
        >>> compared_with = [entry | {"p_holm": 0.3, "rows": 500, "seeds": 3}]
        >>> record = {"task": {"metrics": ["accuracy"]}, "models": models, "comparisons": compared_with, "findings": findings}
        >>> recommendation(record)[0]
        'TF-IDF is enough: ship it. It has 10.0 kB and 90.0 %; the best, bert, has 100 MB and 91.0 %, which is not significantly better (-1.0 points, -3.0 to +1.0; p = 0.30 after Holm; 500 test rows, 3 seeds; more rows or seeds may tell).'
    """
    chosen, best = _smallest(record), best_model(record)
    if chosen is None or best is None:
        return []
    said = [_chosen(record, chosen, best)]
    knee = (record.get("findings") or {}).get("knee")
    if knee is not None and knee not in (chosen, best):
        said.append(
            f"The knee of quality against size is {knee} ({_has(record, knee)}): beyond it, more bytes buy the least."
        )
    said += _distilled(record)
    seeds = (record.get("findings") or {}).get("seeds") or []
    if len(seeds) == 1 and len(record["models"]) > 1:
        said.append("One seed: what another seed would change is in none of these intervals (--seeds 0 1 2).")
    return said


def _chosen(record: Record, chosen: str, best: str) -> str:
    name = "TF-IDF" if chosen == TFIDF else chosen
    begins = "TF-IDF is enough: ship it. It" if chosen == TFIDF else f"Ship {chosen}: it"
    if chosen == best:
        smaller = [
            str(model["name"]) for model in record["models"] if _size(record, str(model["name"])) < _size(record, best)
        ]
        if len(record["models"]) == 1:
            return f"{name} has {_has(record, chosen)}; there is nothing to compare it with."
        why = "and every smaller one is significantly worse" if smaller else "and it is the smallest"
        if untested := [other for other in smaller if compared(record, other, best) is None]:
            why += f", but for {', '.join(untested)}: no seed was trained with both"
        return f"{begins} has the best score ({_has(record, chosen)}), {why}."
    found = compared(record, chosen, best)
    assert found is not None
    apart = _apart(record, found, chosen, best)
    if _is_open(record, chosen, best):
        told = f"{name} and the best, {best}, cannot be told apart on so few rows and seeds: test with more"
        return f"{told}. {name} has {_has(record, chosen)}; {best} has {_has(record, best)} ({apart})."
    return f"{begins} has {_has(record, chosen)}; the best, {best}, has {_has(record, best)}, which is not significantly better ({apart})."


def _distilled(record: Record) -> list[str]:
    """Of each distilled model, whether its teacher was of use."""
    said = []
    findings = record.get("findings") or {}
    pairs: Mapping[str, str] = findings.get("distilled") or {}
    began = findings.get("began_as_teacher") or []
    for name, alone in pairs.items():
        found = compared(record, name, alone)
        if found is None:
            continue
        gained = -found.difference if selecting_metric(record) in LOWER_IS_BETTER else found.difference
        how = "helped" if gained > 0 else "did harm"
        verdict = f"Distilling {how}" if found.is_significant else "Distilling did not help"
        start = ", which began as layers of its teacher," if name in began else ""
        said.append(f"{verdict}: {name}{start} against {alone} ({_apart(record, found, name, alone)}).")
    return said


def _has(record: Record, name: str) -> str:
    return f"{human_bytes(_size(record, name))} and {human_score(selecting_metric(record), mean_score(record, name))}"


def _apart(record: Record, found: Compared, one: str, other: str) -> str:
    """The difference of two models with its interval and its p value."""
    metric = selecting_metric(record)
    scale, unit = (100, " points") if is_share(metric) else (1, f" {metric_name(metric, short=True)}")
    digits = 1 if scale == 100 else 3
    numbers = f"{scale * found.difference:+.{digits}f}{unit}, {scale * found.low:+.{digits}f} to {scale * found.high:+.{digits}f}"
    seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}"
    scores = (record.get("findings") or {}).get("scores") or {}
    if len({(scores.get(name) or {}).get("n") for name in (one, other)}) > 1:  # their means are over other seeds
        seeds += " that both have"
    worst = -found.high if metric in LOWER_IS_BETTER else found.low
    more = "; more rows or seeds may tell" if not found.is_significant and worst < -MUCH else ""
    return f"{numbers}; p {human_p(found.p_holm)} after Holm; {found.rows:,} {shown_split(record)} rows, {seeds}{more}"


def human_p(p: float) -> str:
    """A p value with its sign of comparison.

    Example:
        >>> human_p(0.3), human_p(0.0312), human_p(0.00001)
        ('= 0.30', '= 0.031', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"= {p:.2f}" if p >= 0.095 else f"= {p:.3f}"


def _size(record: Record, name: str) -> float:
    model: Mapping[str, Any] = model_named(record, name) or {}
    size = number(model.get("size_bytes"))
    return float("inf") if size is None else size


def names_of(record: Record) -> Sequence[str]:
    """The models of a comparison, in the order of ``--models``."""
    return [str(model["name"]) for model in record["models"]]
