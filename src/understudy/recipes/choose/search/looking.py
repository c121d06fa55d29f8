"""Before a search trains: what it measured, what fits, which rungs there will be and how long they may take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.data.splits import Splits
from understudy.errors import ConfigError
from understudy.evaluation.halving import rung, used
from understudy.recipes.choose.search.measuring import (
    formats_of,
    least_used,
    measure_all,
    measure_teacher,
    nearest_miss,
    teacher_of,
)
from understudy.recipes.choose.search.trials import texts_of
from understudy.record import RunRecord
from understudy.report.searching.sentences import budget_words, costs_words
from understudy.runs.plans import duration, say_plan
from understudy.settings.choose.search import FORMATS, Format, SearchSettings


def begun(settings: SearchSettings) -> dict[str, Any] | None:
    """What the search that is resumed had measured; None if there is none, or it had not come so far."""
    record = Path(settings.output or "").expanduser() / "record.json"
    if not settings.resume or not settings.output or not record.exists():
        return None
    return RunRecord.load(record).findings or None


def look(settings: SearchSettings, splits: Splits) -> dict[str, Any]:
    """Measure the teacher and every student.

    Raises:
        UnderstudyError: if the teacher cannot teach, or no student fits the budget.
    """
    began, teachers = time.perf_counter(), teacher_of(settings, splits)
    formats, note = formats_of(settings)
    found = {
        "budget": settings.limits() | ({} if settings.min_share is None else {"min_share": settings.min_share}),
        "metric": splits.task.metrics[0],
        "formats": formats,
        "eta": settings.eta,
        "notes": [] if note is None else [note],
        "teacher": measure_teacher(teachers, splits),
        "measured": measure_all(settings, splits, formats=formats),
    }
    found["measuring_s"] = time.perf_counter() - began
    if not fitting(found):
        raise ConfigError(_nothing_fits(found))
    return found


def limits_of(found: Mapping[str, Any]) -> dict[str, float]:
    """The limits of what is measured of a model."""
    return {name: limit for name, limit in found["budget"].items() if name != "min_share"}


def costs_of(found: Mapping[str, Any]) -> dict[str, float]:
    """How much of the budget each student uses, in the format in which it uses the least."""
    limits = limits_of(found)
    shares = {name: least_used(known, limits) for name, known in found["measured"].items()}
    return {name: best[1] for name, best in shares.items() if best is not None}


def fitting(found: Mapping[str, Any]) -> list[str]:
    """The students that fit the budget in one of their formats, the cheapest first."""
    costs = costs_of(found)
    return sorted((name for name, cost in costs.items() if cost <= 1), key=lambda name: (costs[name], name))


def formats_that_fit(found: Mapping[str, Any], name: str) -> list[Format]:
    """The formats in which a student fits the budget."""
    limits = limits_of(found)
    measured = found["measured"][name]["formats"]
    return [kind for kind in FORMATS if kind in measured and used(measured[kind], limits) <= 1]


def _nothing_fits(found: Mapping[str, Any]) -> str:
    miss, limits = nearest_miss(found["measured"], limits_of(found)), limits_of(found)
    if miss is None:
        reasons = dict.fromkeys(known["cannot"] for known in found["measured"].values() if "cannot" in known)
        return f"--students: none of them can be built. {' '.join(reasons)}"
    name, kind = miss
    known = found["measured"][name]["formats"][kind]
    over = [
        flag
        for flag, key in (("--max_latency_ms", "latency_ms"), ("--max_size_mb", "size_bytes"))
        if key in limits and known[key] > limits[key]
    ]
    return (
        f"{' and '.join(over)}: none of {len(found['measured'])} students fits {budget_words(limits)}. The nearest miss is "
        f"{name} as {kind}, with {costs_words(known)}, measured untrained on this machine. Allow more, or name smaller students with --students."
    )


def say_search(settings: SearchSettings, splits: Splits, found: Mapping[str, Any], counts: Sequence[int]) -> None:
    """Print the space, the rungs and an estimate."""
    names, measured, texts = fitting(found), found["measured"], texts_of(splits)
    lines = {
        "teacher": f"{settings.teacher}, {costs_words(found['teacher'])}",
        "budget": budget_words(found["budget"]),
        "students": f"{len(measured)}, of which {len(names)} fit in one of the formats {', '.join(found['formats'])}",
    }
    total = 0.0
    for number, count in enumerate(counts, 1):
        steps = {
            name: rung(number, of=len(counts), eta=settings.eta, texts=texts, epochs=measured[name]["epochs"])
            for name in names
        }
        whole = {name: measured[name]["seconds"] / (texts * measured[name]["epochs"]) for name in names}
        dearest = sorted(whole[name] * step.texts * step.epochs for name, step in steps.items())
        total += sum(dearest[-count:])
        read, passes = (_range([step[part] for step in steps.values()]) for part in (0, 1))
        goes_on = f"; one in {settings.eta} goes on" if number < len(counts) else ""
        lines[f"rung {number}"] = f"{count} students, {read} of {texts:,} texts, {passes} epochs{goes_on}"
    labelling = texts / found["teacher"]["texts_per_second"]
    lines["labelling"] = f"about {duration(labelling)} for what the teacher has not labelled before"
    lines["training"] = f"at most about {duration(total / settings.parallel)}, if the dearest students go on"
    lines["threads"] = "chosen for each trial" if settings.threads is None else f"{settings.threads}, as --threads says"
    say_plan(lines)


def _range(numbers: Sequence[int]) -> str:
    """Numbers as a range.

    Example:
        >>> _range([3, 2, 3]), _range([1000])
        ('2 to 3', '1,000')
    """
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
