"""What a search says in words: its budget, what a model costs, and which one to ship."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from understudy.report.metric_names import human_score, metric_name
from understudy.report.numbers import human_bytes, human_milliseconds, number
from understudy.report.scores import STUDENT, TEACHER, Record, model_named, score_of, selecting_metric, shown_split


def budget_words(budget: Mapping[str, Any]) -> str:
    """A budget, as a person says it.

    Example:
        >>> budget_words({"latency_ms": 1.0, "size_bytes": 2e7, "min_share": 0.98})
        '1 ms, 20.0 MB and 98 % of the teacher'
    """
    parts = []
    if (latency := number(budget.get("latency_ms"))) is not None:
        parts.append(f"{latency:g} ms")
    if (size := number(budget.get("size_bytes"))) is not None:
        parts.append(human_bytes(size))
    if (share := number(budget.get("min_share"))) is not None:
        parts.append(f"{100 * share:g} % of the teacher")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def costs_words(known: Mapping[str, Any]) -> str:
    """What a model costs.

    Example:
        >>> costs_words({"latency_ms": 0.214, "size_bytes": 3_900_000})
        '0.21 ms and 3.9 MB'
    """
    return f"{human_milliseconds(known.get('latency_ms'))} and {human_bytes(known.get('size_bytes'))}"


def human_share(value: object) -> str:
    """A share of the teacher's score.

    Example:
        >>> human_share(0.9731), human_share(None)
        ('97.3 %', '–')
    """
    found = number(value)
    return "–" if found is None else f"{100 * found:.1f} %"


def verdict_of_search(record: Record) -> str:
    """Which model to ship, or how far the best one is from being enough, and what was not tried; empty if none is left."""
    findings = record["findings"]
    chosen = findings.get("chosen")
    if chosen is None:
        return ""
    row = next(one for one in findings["trials"] if one["name"] == chosen["name"])
    metric, wanted = findings["metric"], number(findings["budget"].get("min_share"))
    name = f"{row['name']} as {row['format']}"
    has = f"{human_score(metric, row['score'])} {metric_name(metric, short=True)} on the validation split, {human_share(row['share'])} of the teacher, with {costs_words(row)}"
    reached = number(row["share"])
    if wanted is not None and (reached is None or reached < wanted):
        begins = f"No student that fits reaches {100 * wanted:g} % of the teacher. The nearest miss is {name}: {has}"
    else:
        begins = f"Ship {name}: {has}"
    return (
        f"{begins} (budget: {budget_words(findings['budget'])}).{_reported(record)}{_late(record)} {_tried(findings)}"
    )


def _reported(record: Record) -> str:
    """The scores on the test rows, which chose nothing."""
    split, metric = shown_split(record), selecting_metric(record)
    student, teacher = (model_named(record, name) for name in (STUDENT, TEACHER))
    if split != "test" or student is None or teacher is None:
        return ""
    scores = [human_score(metric, score_of(record, model)) for model in (student, teacher)]
    return f" On the test split, which chose nothing, it has {scores[0]}, and the teacher {scores[1]}."


def _late(record: Record) -> str:
    """Whether the trained model was slower, when it was measured again, than the budget allows."""
    model, limit = model_named(record, STUDENT), number(record["findings"]["budget"].get("latency_ms"))
    latency = number(((model or {}).get("latency_ms") or {}).get("p50"))
    if limit is None or latency is None or latency <= limit:
        return ""
    return f" Measured again after training, it took {human_milliseconds(latency)}: this is close to the limit, or the machine was busy."


def _tried(findings: Mapping[str, Any]) -> str:
    """How many students were trained, and what was not tried."""
    states = Counter(str(row["state"]) for row in findings["trials"])
    trained = sum("score" in row for row in findings["trials"])
    others = [f"{states[state]} {said}" for state, said in _NOT_TRIED.items() if states[state]]
    return f"{trained} of {len(findings['trials'])} students were trained" + (
        f"; {', '.join(others)}." if others else "."
    )


_NOT_TRIED = {
    "does not fit": "did not fit",
    "cannot be built": "could not be built",
    "failed": "failed",
    "not trained": "left untrained",
}
