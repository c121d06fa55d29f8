"""The models of a page, one line each, whatever kind of run they come from; numbers stay numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.report.comparison.recommending import mean_score, shipped
from understudy.report.numbers import number
from understudy.report.page.runs import PageRun
from understudy.report.scores import BEFORE_TRAINING, interval_of, main_name, score_of, shown_split

_MEASURED = ("parameters", "size_bytes", "texts_per_second")
_COSTS = ("seconds", "seconds_to_best", "steps_to_best", "train_rows_per_second", "peak_memory_bytes", "energy_wh")


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """A model: what it is worth and what it costs; None where a number is not known."""

    run: str
    name: str
    shown: str
    """How the page calls it: with its run, if there are several."""
    score: float | None
    """Of the metric that selects; of several seeds their mean."""
    interval: tuple[float, float] | None = None
    sd: float | None = None
    seeds: int = 1
    others: Mapping[str, float | None] = field(default_factory=dict)
    """The other metrics, by name."""
    costs: Mapping[str, float | None] = field(default_factory=dict)
    """``parameters``, ``size_bytes``, ``texts_per_second``, ``p50``, ``p99``, ``seconds`` and so on."""
    chosen: bool = False
    """Whether it is to be shipped; in a single run, whether the run was for it."""
    dominated: Mapping[str, str] = field(default_factory=dict)
    """By ``size`` and ``latency``: the model that is cheaper and no worse."""


def model_lines(runs: Sequence[PageRun]) -> list[ModelLine]:
    """The models of all runs, in their order."""
    return [line for run in runs for line in _lines(run, several=len(runs) > 1)]


def _lines(run: PageRun, *, several: bool) -> Iterator[ModelLine]:
    made = _of_comparison if run.is_comparison else _of_family if run.is_family else _of_run
    for values in made(run):
        name = str(values["name"])
        yield ModelLine(run=run.name, shown=f"{run.name}: {name}" if several else name, **values)


def _of_comparison(run: PageRun) -> Iterator[dict[str, Any]]:
    record, findings = run.record, run.record["findings"]
    chosen, split = shipped(record), shown_split(record)
    metric = run.metrics[0]
    for model in record["models"]:
        name = str(model["name"])
        score = (findings.get("scores") or {}).get(name) or {}
        spread = ((record.get("aggregate") or {}).get(name) or {}).get(metric) or {}
        scores = (model.get("metrics") or {}).get(split) or {}
        dominated = findings.get("dominated") or {}
        yield {
            "name": name,
            "score": mean_score(record, name),
            "interval": _ends(score.get("interval")),
            "sd": number(spread.get("sd")),
            "seeds": int(number(score.get("n")) or 1),
            "others": {other: number(scores.get(other)) for other in run.metrics[1:]},
            "costs": _costs(model, model.get("training") or {}),
            "chosen": name == chosen,
            "dominated": {axis: str(found[name]) for axis, found in dominated.items() if name in (found or {})},
        }


def _of_family(run: PageRun) -> Iterator[dict[str, Any]]:
    record = run.record
    metrics, main = run.metrics, main_name(record)
    for name, scores in record["aggregate"].items():
        first = scores.get(metrics[0]) if metrics else None
        entries = [
            _costs(model, _training(child, str(model["name"])))
            for child in run.children.values()
            for model in child.get("models") or []
            if model["name"] == name
        ]
        yield {
            "name": name,
            "score": number((first or {}).get("mean")),
            "sd": number((first or {}).get("sd")),
            "seeds": max((int(entry["n"]) for entry in scores.values()), default=1),
            "others": {other: number((scores.get(other) or {}).get("mean")) for other in metrics[1:]},
            "costs": _means(entries),
            "chosen": name == main,
        }


def _of_run(run: PageRun) -> Iterator[dict[str, Any]]:
    record, metrics = run.record, run.metrics
    main = main_name(record) if record.get("models") else ""
    for model in record.get("models") or []:
        name = str(model["name"])
        yield {
            "name": name,
            "score": score_of(record, model) if metrics else None,
            "interval": interval_of(record, model) if metrics else None,
            "others": {other: score_of(record, model, other) for other in metrics[1:]},
            "costs": _costs(model, _training(record, name)),
            "chosen": name == main,
        }


def _training(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """How the training of a model went: its phase has its name, or is the only one."""
    phases: Mapping[str, Any] = record.get("training") or {}
    if name.endswith(BEFORE_TRAINING):
        return {}
    only = next(iter(phases.values())) if len(phases) == 1 and name == main_name(record) else {}
    found: Mapping[str, Any] = phases.get(name) or only or {}
    return {**found, **(found.get("pace") or {})}


def _costs(model: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, float | None]:
    latency = model.get("latency_ms") or {}
    measured = {key: number(model.get(key)) for key in _MEASURED}
    trained = {key: number(training.get(key)) for key in _COSTS}
    return measured | {"p50": number(latency.get("p50")), "p99": number(latency.get("p99"))} | trained


def _means(entries: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key in dict.fromkeys(key for entry in entries for key in entry):
        known = [value for entry in entries if (value := entry.get(key)) is not None]
        found[key] = statistics.fmean(known) if known else None
    return found


def _ends(ends: Any) -> tuple[float, float] | None:
    low, high = (number(end) for end in ends) if ends else (None, None)
    return None if low is None or high is None else (low, high)
