"""The curves of a page's models, from the ``progress.csv`` of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from understudy.report.comparison.pace import evaluations, evaluations_began
from understudy.report.curves import read_progress
from understudy.report.page.charts.curves import ModelCurve
from understudy.report.page.models import ModelLine
from understudy.report.page.runs import PageRun
from understudy.report.scores import main_name

_MOST_OF_A_LOSS = 120
"""Points of a curve of losses that are drawn; of more, the means of neighbours."""

Columns = Mapping[str, np.ndarray]


def curves_of(
    runs: Sequence[PageRun], lines: Sequence[ModelLine], metric: str
) -> tuple[list[ModelCurve], list[ModelCurve]]:
    """The scores on the validation split, and the losses of training, of every model of these runs.

    Args:
        metric: the one that selects; where the files have none of that name, the first one that they have.
    """
    scores, losses = list[ModelCurve](), list[ModelCurve]()
    for run in runs:
        seen: dict[int, int] = {}
        for name, seed, columns in _trainings(run):
            place = _place(lines, run, name)
            if place is None:
                continue
            shown = lines[place].shown + (f", {seed}" if seed else "")
            again = seen.setdefault(place, 0) > 0
            seen[place] += 1
            scores += _scores(columns, metric, shown, place, faint=again)
            losses += [] if again else _losses(columns, shown, place)
    return scores, losses


def _place(lines: Sequence[ModelLine], run: PageRun, name: str) -> int | None:
    return next((place for place, line in enumerate(lines) if (line.run, line.name) == (run.name, name)), None)


def _trainings(run: PageRun) -> Iterator[tuple[str, str, Columns]]:
    """Every training: the name of its model, that of its run in a family, and its columns."""
    if run.is_comparison:
        for name, folders in (run.record["findings"].get("runs") or {}).items():
            for folder in folders:
                for columns in list(_phases(run.folder / folder).values())[:1]:
                    yield str(name), folder if len(folders) > 1 else "", columns
        return
    if run.is_search:  # each of its trials has a student: the page shows the one that was chosen
        folders = {"": (run.folder / run.chosen_trial, run.children[run.chosen_trial])} if run.chosen_trial else {}
    else:
        folders = {name: (run.folder / name, record) for name, record in run.children.items()} or {
            "": (run.folder, run.record)
        }
    for seed, (folder, record) in folders.items():
        names = [str(model["name"]) for model in record.get("models") or []]
        phases = _phases(folder)
        for phase, columns in phases.items():
            if phase in names:
                yield phase, seed, columns
            elif names and (len(phases) == 1 or phase in ("train", "student", "joint")):
                yield main_name(record), seed, columns


def _phases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    path = folder / "progress.csv"
    try:
        return read_progress(path) if path.is_file() else {}
    except (OSError, ValueError):  # what is damaged is not drawn
        return {}


def _scores(columns: Columns, metric: str, name: str, place: int, *, faint: bool) -> Iterator[ModelCurve]:
    if f"validation_{metric}" not in columns:
        others = [column.removeprefix("validation_") for column in columns if column.startswith("validation_")]
        if metric not in ("loss", "perplexity") or not others:
            return
        metric = others[0]
    steps, seconds, values = evaluations(columns, metric)
    if steps.size:
        yield ModelCurve(name, place, steps, seconds, values, evaluations_began(columns, metric), faint)


def _losses(columns: Columns, name: str, place: int) -> Iterator[ModelCurve]:
    if "loss" not in columns or "step" not in columns:
        return
    there = np.isfinite(columns["loss"]) & np.isfinite(columns["step"])
    if not there.any():
        return
    values, steps = columns["loss"][there], columns["step"][there]
    seconds = columns["seconds"][there] if "seconds" in columns else np.full(len(steps), np.nan)
    if len(values) > _MOST_OF_A_LOSS:
        parts = np.array_split(np.arange(len(values)), _MOST_OF_A_LOSS)
        steps, seconds, values = (
            np.array([column[part].mean() for part in parts]) for column in (steps, seconds, values)
        )
    yield ModelCurve(name, place, steps, seconds, values)
