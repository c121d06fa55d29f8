"""Leaks through a teacher: rows that report or choose weights, and that a model which the run is given learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from understudy.checksums import DamagedFile
from understudy.data.learnt_rows import LearntRows
from understudy.data.readers.faults import counted
from understudy.data.splits import Rows
from understudy.folders.contents import LEARNT_ROWS, model_folders
from understudy.record import RunRecord
from understudy.runs.subject import Subject

_TOO_GOOD = "may be too good"


def leak_notes(subject: Subject, names: Iterable[str]) -> list[str]:
    """A note for each model and part of the data that is not to be learnt from, but was.

    Nothing is said of models whose run did not write down what it learnt from, such as those of a hub.

    Args:
        subject: of the run that is to begin.
        names: of the models and teachers that it is given.
    """
    notes = []
    for name in dict.fromkeys(names):
        try:
            learnt = _learnt(name)
        except DamagedFile as error:
            notes.append(f"{name}: which rows it learnt from is not known, because {LEARNT_ROWS} is damaged: {error}.")
            continue
        if learnt is None:
            continue
        for part, texts in subject.texts.items():
            kind = part.rpartition(", ")[2]
            if part not in subject.labels or kind == "train":
                continue
            number, exact = learnt.among(texts.keys())
            if number:
                about = "" if exact else "about "
                notes.append(
                    f"{part}: {name} learnt from {about}{counted(number, 'row')} of these {len(texts):,}, so scores on them {_TOO_GOOD}. Give the --data and --seed of its run, or other rows for this part."
                )
    return notes


def note_learnt(folder: Path, subject: Subject, names: Iterable[str]) -> None:
    """Write down which labelled rows the model of a run learns from, those of its teachers included.

    Args:
        folder: of the run.
        subject: what the run is about; without labels nothing is written.
        names: of the models and teachers that it is given.
    """
    rows = [
        Rows(texts, subject.labels[part], part)
        for part, texts in subject.texts.items()
        if part in subject.labels and part.rpartition(", ")[2] == "train"
    ]
    if not rows:
        return
    known = [LearntRows.of(part.texts.keys()[np.flatnonzero(part.labelled)]) for part in rows]
    for name in dict.fromkeys(names):
        try:
            learnt = _learnt(name)
        except DamagedFile:
            continue
        known += [] if learnt is None else [learnt]
    LearntRows.united(known).save(folder)


def doubts_of(children: Mapping[str, RunRecord]) -> list[str]:
    """What the runs of a family say of scores that may be too good: each note once, with the runs it is of if not all.

    Args:
        children: their records, by name.

    Example:
        >>> one = RunRecord(command="distill", config={}, notes=["test: scores may be too good.", "other"])
        >>> doubts_of({"seed-0": one, "seed-1": RunRecord(command="distill", config={})})
        ['seed-0: test: scores may be too good.']
    """
    said: dict[str, list[str]] = {}
    for name, record in children.items():
        for note in record.notes:
            if _TOO_GOOD in note.lower():
                said.setdefault(note, []).append(name)
    return [note if len(names) == len(children) else f"{', '.join(names)}: {note}" for note, names in said.items()]


def _learnt(name: str) -> LearntRows | None:
    """What a model learnt from, by its run or its model folder; None where that is not known."""
    path = Path(name).expanduser()
    places = [path, *([path.parent] if path.name in model_folders({}) else [])]
    for place in places:
        try:
            return LearntRows.load(place / LEARNT_ROWS)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None
