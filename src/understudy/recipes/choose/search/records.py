"""Where the trials of a search lie, and what they scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from understudy.functional.scoring import higher_is_better
from understudy.record import RunRecord
from understudy.report.scores import STUDENT
from understudy.runs.seeds import finished_record
from understudy.settings.choose.candidates import candidate


def folder_of(name: str, number: int) -> str:
    """The folder of a trial in that of its search.

    Example:
        >>> folder_of("static:128+bpe:8000", 2)
        'rung-2-static-128+bpe-8000'
    """
    return f"rung-{number}-{candidate(name).folder}"


def trial_record(folder: Path, name: str, number: int) -> RunRecord | None:
    """The record of a trial that is finished; None if it is not."""
    return finished_record(folder / folder_of(name, number))


def validation_score(record: RunRecord) -> float:
    """The score of a trial by the metric that selects."""
    metrics: Mapping[str, float] = record.model(STUDENT)["metrics"]["validation"]
    return float(metrics[record.task["metrics"][0]])


def scores_on(folder: Path, names: Sequence[str], number: int) -> dict[str, float]:
    """The validation scores on a rung of the students that finished it; more is better, so a loss has the other sign."""
    found = {}
    for name in names:
        record = trial_record(folder, name, number)
        if record is not None:
            sign = 1 if higher_is_better(record.task["metrics"][0]) else -1
            found[name] = sign * validation_score(record)
    return found
