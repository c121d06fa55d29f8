"""The values that the templates of several cards use."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from understudy.report.card.markdown import Markdown, one_line
from understudy.report.metric_names import capitalised, metric_name
from understudy.report.numbers import ABSENT, human_bytes, human_count, human_seconds, number
from understudy.report.scores import (
    Record,
    gap_sentence,
    interval_method,
    is_distilled,
    little_told,
    main_model,
    selecting_metric,
    shown_split,
)
from understudy.report.shown_settings import shareable, shown_settings
from understudy.report.tables.models import model_rows
from understudy.report.verdict import verdict

_PLOTS = {
    "quality-latency": "Quality against latency",
    "quality-size": "Quality against size",
    "learning-curves": "Learning curves",
    "confusion": "Confusion matrix",
    "reliability": "Reliability diagram",
    "transfer": "Which task helps which",
}
"""Titles by file name, in the order in which a card shows them."""
_MOST_WEIGHTS = 12
"""Classes whose weights a card shows; the record has all."""


def folder_path(folder: Path) -> str:
    """A run folder as its card names it, for who stands where the run was begun; of a path elsewhere only the last part."""
    if folder.is_absolute() and Path.cwd() in folder.parents:
        folder = folder.relative_to(Path.cwd())
    return folder.name if folder.is_absolute() else str(folder)


def facts_of_every_card(folder: Path, record: Record) -> dict[str, Any]:
    """What the cards of runs and of families show alike."""
    config = record.get("config") or {}
    return {
        "absent": ABSENT,
        "name": folder.resolve().name,
        "path": folder_path(folder),
        "rerun": Markdown(_rerun(one_line(record["command"]), one_line(folder_path(folder)))),
        "origin": {key: shareable(config[key]) if config.get(key) else "" for key in ("teacher", "student", "model")},
        "distilled": is_distilled(record),
        "split": shown_split(record),
        "settings": shown_settings(record),
        "timings": [
            (name.removesuffix("_s").replace("_", " "), human_seconds(seconds))
            for name, seconds in (record.get("timings") or {}).items()
        ],
        "data": [
            (split, f"{number(entry.get('rows')) or 0:,.0f}", str(entry.get("fingerprint") or ABSENT))
            for split, entry in (record.get("data") or {}).items()
        ],
        "notes": list(record.get("notes") or []),
        "environment": [
            (name.replace("_", " "), value)
            for part in ("versions", "hardware")
            for name, value in (record.get(part) or {}).items()
            if value is not None
        ],
    }


def _rerun(command: str, path: str) -> str:
    """The command that runs it again into a folder beside it, where the paths in its settings hold, for a shell."""
    return f"understudy {command} --config {shlex.quote(f'{path}/config.yaml')} --output {shlex.quote(f'{path}-again')}"


def facts_of_a_run(folder: Path, record: Record) -> dict[str, Any]:
    """What the card of a single run shows, whatever its model does."""
    rows, judged = list(model_rows(record)), verdict(record)
    return facts_of_every_card(folder, record) | {
        "size": human_count(main_model(record).get("parameters")),
        "own": _own(main_model(record)),
        "metric": metric_name(selecting_metric(record)),
        "others": [capitalised(metric_name(other, short=True)) for other in record["task"]["metrics"][1:]],
        "has_kept": any(row.kept != ABSENT for row in rows),
        "rows": rows,
        "gap": gap_sentence(record),
        "method": interval_method(record),
        "few": little_told(record) or "",
        "verdict": "" if judged is None else judged.sentence,
        "calibrations": list(_calibrations(record)),
        "plots": plot_links(folder),
        "phases": [*_weights(record), *phase_lines(record)],
        "labelling": _labelling(record) if is_distilled(record) else "",
    }


def _own(model: Mapping[str, Any]) -> str:
    """Of a base with an adapter, what belongs to the task alone: a sentence; empty for any other model."""
    own, all_of_them, size = (number(model.get(key)) for key in ("own_parameters", "parameters", "own_bytes"))
    if not own or not all_of_them or size is None:
        return ""
    return f"{human_count(own)} of them ({100 * own / all_of_them:.2g} %, {human_bytes(size)}) are the adapter and the head that were trained; the others are those of the base."


def plot_links(folder: Path) -> list[tuple[str, Markdown]]:
    """The plots of a run: titles and relative links."""
    return [
        (_PLOTS.get(plot.stem, plot.stem), Markdown(f"plots/{quote(plot.name)}"))
        for plot in sorted((folder / "plots").glob("*.png"), key=_plot_order)
    ]


def _weights(record: Record) -> Iterator[str]:
    """What a row of each class counted in training, where they did not count alike: a sentence."""
    entry = (record.get("data") or {}).get("train") or {}
    if weights := entry.get("class_weights"):
        shown = [f"{name} {weight:.3g}" for name, weight in list(weights.items())[:_MOST_WEIGHTS]]
        more = f" and {len(weights) - _MOST_WEIGHTS} more" if len(weights) > _MOST_WEIGHTS else ""
        yield f"A row's weight in the loss, by its class: {', '.join(shown)}{more}."


def phase_lines(record: Record) -> list[str]:
    """How each phase of training went, a sentence each."""
    return [_phase(name, result) for name, result in (record.get("training") or {}).items()]


def _phase(name: str, result: Mapping[str, Any]) -> str:
    """How a phase of training went, in a sentence."""
    steps, epochs, best, rate = (number(result.get(key)) for key in ("steps", "epochs", "best_step", "learning_rate"))
    stages = len(result.get("stages") or [])
    parts = [_counted(steps, "step") if steps else "", _counted(epochs, "epoch") if epochs else ""]
    parts += [_counted(stages, "stage") if stages > 1 else ""]
    start = result.get("start") or {}
    share = number(start.get("share")) if start.get("kept") == "fine-tuned" else None
    towards = f"{share:g} of the way to " if share not in (None, 1) else ""
    kept = f"{towards}the last evaluation's weights, step" if result.get("keep") == "last" else f"{towards}best at step"
    parts += [f"peak learning rate {rate:g}" if rate else "", f"{kept} {best:,.0f}" if best else ""]
    parts += [f"ended by the {result['stopped_by']}" if result.get("stopped_by", "epochs") != "epochs" else ""]
    return f"Training of {name}: " + ", ".join(part for part in parts if part) + "."


def _calibrations(record: Record) -> Iterator[str]:
    """Each model's expected calibration error before and after its temperature, where one was fitted."""
    for model in record["models"]:
        known = model.get("calibration") or {}
        before, after, temperature = (number(known.get(key)) for key in ("ece_before", "ece", "temperature"))
        if before is not None and after is not None and temperature not in (None, 1):
            yield f"{model['name']} {100 * before:.1f} % → {100 * after:.1f} % (temperature {temperature:g})"


def _counted(count: float, noun: str) -> str:
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"


def _labelling(record: Record) -> str:
    """What the teacher did in this run, and how much of its work had been done before."""
    count, known = number(record.get("teacher_forward_texts")) or 0, sum((record.get("answered_before") or {}).values())
    if record.get("command") == "distill-lm":
        did = f"read {_counted(count, 'text')} in training"
    else:
        did = f"labelled {_counted(count, 'distinct text')} in this run"
    cached = f"; its answers for {_counted(known, 'text')} were in the cache already" if known else ""
    return f"The teacher {did}{cached}."


def _plot_order(path: Path) -> tuple[int, str]:
    known = list(_PLOTS)
    return (known.index(path.stem) if path.stem in known else len(known)), path.name
