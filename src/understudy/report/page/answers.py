"""What models answered for each row that reports, where runs keep that."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.folders.contents import ANSWERS
from understudy.inference.answers import probabilities
from understudy.report.page.runs import PageRun
from understudy.report.scores import Record

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of several models for the same rows.

    Attributes:
        names: of the models, as the page calls them.
        shares: ``(models, rows, outputs)``, probabilities; numbers for regression.
        labels: of the rows, as in :class:`understudy.data.splits.Rows`.
        source: the record that says which rows these are.
        main: the number of the model that is to be shipped, or that the run was for.
        missing: what could not be read, and whose answers these are, in sentences.
    """

    names: list[str]
    shares: np.ndarray
    labels: np.ndarray
    task: Task
    source: Record
    main: int = 0
    missing: list[str] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence[tuple[str, KeptAnswers]]) -> KeptAnswers:
        """The answers of several runs for the same rows; models are named with their run.

        Args:
            parts: names of runs, and their answers.
        """
        (_, first), *others = parts
        if not others:
            return first
        return cls(
            names=[f"{run}: {name}" for run, kept in parts for name in kept.names],
            shares=np.concatenate([kept.shares for _, kept in parts]),
            labels=first.labels,
            task=first.task,
            source=first.source,
            main=first.main,
            missing=[sentence for _, kept in parts for sentence in kept.missing],
        )


def kept_answers(run: PageRun, *, chosen: Sequence[str] = ()) -> KeptAnswers | list[str]:
    """The answers of a run's models; of a comparison, those of each model's first seed; of a family, those of its first run.

    Args:
        chosen: the models that are to be shipped.

    Returns:
        The answers, or sentences that say why there are none.
    """
    names: list[str] = []
    outputs: list[np.ndarray] = []
    missing: list[str] = []
    labels: np.ndarray | None = None
    source: Record = {}
    for name, folder, record in _kept(run):
        try:
            answers, of_rows = _read(folder / ANSWERS, name)
            task = _task(record)
            if not _fits(answers, of_rows, task):
                raise ValueError("it does not fit the task of the record")
        except FileNotFoundError:
            missing.append(f"{name}: its file {ANSWERS} is not there.")
            continue
        except _UNREADABLE as error:
            reason = getattr(error, "strerror", None) or error
            missing.append(f"{name}: its file {ANSWERS} cannot be read ({reason}).")
            continue
        if labels is not None and not np.array_equal(labels, of_rows, equal_nan=of_rows.dtype.kind == "f"):
            missing.append(f"{name}: its answers are for other rows.")
            continue
        labels, source = of_rows, source or record
        names.append(name)
        outputs.append(probabilities(answers.astype(np.float64), task, temperature=_temperature(record, name)))
    if labels is None:
        return missing or [_why_none(run)]
    missing += _whose(run)
    main = next((place for place, name in enumerate(names) if name in chosen), 0)
    return KeptAnswers(names, np.stack(outputs), labels, _task(source), source, main, missing)


def _kept(run: PageRun) -> Iterator[tuple[str, Path, Record]]:
    """The models that may have answers: a name, a folder and its record."""
    if run.is_comparison:
        for name, folders in ((run.record["findings"] or {}).get("runs") or {}).items():
            if folders and folders[0] in run.children:
                yield str(name), run.folder / folders[0], run.children[folders[0]]
        return
    folder, record = run.one()
    if (folder / ANSWERS).is_file():
        for model in record.get("models") or []:
            if _has(folder / ANSWERS, str(model["name"])):
                yield str(model["name"]), folder, record


def _whose(run: PageRun) -> list[str]:
    """Which of several runs the answers are of."""
    if run.is_comparison:
        several = any(len(folders) > 1 for folders in ((run.record["findings"] or {}).get("runs") or {}).values())
        return ["Answers are those of the first seed of each model."] if several else []
    return [f"Answers are those of one run of the family, {run.one()[0].name}."] if run.is_family else []


def _why_none(run: PageRun) -> str:
    kept = " and the mistakes that its model is most certain of" if run.one()[1].get("mistakes") else ""
    return (
        f"{run.name}: has no file {ANSWERS}, so it is not known what its models answer for each row: the record "
        f"has the scores{kept}. Runs of earlier versions, and of several tasks, have none."
    )


def _has(path: Path, name: str) -> bool:
    """Whether a file has the answers of a model; one that cannot be read is told of when it is."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return "names" not in file or name in file["names"].tolist()
    except _UNREADABLE:
        return True


def _read(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The answers of a model and the labels of the rows; a run of a comparison has one model, without a name."""
    with np.load(path, allow_pickle=False) as file:
        if "names" not in file:
            return file["answers"], file["labels"]
        return file["answers"][file["names"].tolist().index(name)], file["labels"]


def _fits(answers: np.ndarray, labels: np.ndarray, task: Task) -> bool:
    """Whether answers and labels are as a run of this task writes them."""
    if answers.shape != (len(labels), task.outputs) or not np.isfinite(answers).all():
        return False
    if task.kind == "single_label":
        return labels.ndim == 1 and labels.dtype.kind == "i" and bool((labels < task.outputs).all())
    return labels.dtype.kind == "f" and labels.shape in ((len(labels),), (len(labels), task.outputs))


def _task(record: Record) -> Task:
    known: Mapping[str, Any] = record["task"]
    return Task.from_dict({key: known[key] for key in ("text", "label", "kind", "labels", "metrics")})


def _temperature(record: Record, name: str) -> float:
    models = record.get("models") or []
    entry = next((model for model in models if model["name"] == name), models[0] if models else {})
    return float((entry.get("calibration") or {}).get("temperature") or 1.0)
