"""The leaderboard's submission: eleven TSV files in a zip, written and checked."""

from __future__ import annotations

import lzma
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from understudy.atomic import OUTPUT, new_file, write_bytes
from understudy.data.glue.tasks import GLUE, GlueTask
from understudy.data.readers.formats.streams import DAMAGED
from understudy.errors import nearest

HEADER = "index\tprediction"
FILES = {answers.file: (task, answers.rows) for task in GLUE.values() for answers in task.answers}
"""The eleven files by their names without ``.tsv``: the task whose labels they hold, and their rows."""
_MOST_BYTES = 64 << 20
_SHOWN = 3
_SCORE = re.compile(r"[0-9]+(?:\.[0-9]+)?")
"""A score, as the leaderboard reads it."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a zip, so that one submission is always the same bytes."""


def predictions(logits: np.ndarray, task: GlueTask) -> list[str]:
    """A model's outputs as the leaderboard writes them.

    Args:
        logits: ``(rows, outputs)``, in the order of the task's labels.

    Returns:
        The name of the likeliest label of each row; of a regression the score, cut to its range, to three decimals.

    Example:
        >>> predictions(np.array([[0.1, 0.9]]), GLUE["rte"]), predictions(np.array([[5.3]]), GLUE["stsb"])
        (['not_entailment'], ['5.000'])
    """
    if task.score_range is not None:
        return [f"{score:.3f}" for score in np.clip(logits.reshape(len(logits)).astype(np.float64), *task.score_range)]
    return [task.labels[place] for place in logits.argmax(1)]


def write_answers(folder: Path, file: str, answers: Sequence[str]) -> Path:
    """Write one file of a submission.

    Args:
        file: its name without ``.tsv``.
        answers: one for each row of the test file, in its order.

    Raises:
        OutputError: if it cannot be written.
    """
    path = folder / f"{file}.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{HEADER}\n" + "".join(f"{index}\t{answer}\n" for index, answer in enumerate(answers))
    write_bytes(path, text.encode())
    return path


def write_zip(path: Path, files: Mapping[str, Path]) -> None:
    """Put the files of a submission into a zip, the same bytes for the same answers.

    Args:
        files: by name without ``.tsv``.
    """
    with new_file(path, remedy=OUTPUT) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{name}.tsv", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name].read_bytes())


def submission_faults(name: str) -> list[str]:
    """What the leaderboard would refuse in a zip, a sentence each; empty if it is in order."""
    path = Path(name).expanduser()
    if path.is_dir():
        return [f"{name}: is a folder, but a submission is a zip. Zip the files in it, and name the zip."]
    if not path.is_file():
        return [f"{name}: no such file. Name the zip of a submission."]
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_faults(name, archive))
    except (*DAMAGED, lzma.LZMAError, NotImplementedError, RuntimeError, OSError) as error:
        return [f"{name}: is not a zip that can be read ({error}). Make it again."]


def _faults(name: str, archive: zipfile.ZipFile) -> Iterator[str]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename]
    names = [entry.filename for entry in entries]
    known = {f"{file}.tsv" for file in FILES}
    for other in sorted({one for one in names if one not in known}):
        base = other.rpartition("/")[2]
        if base in known:
            yield f"{name}: {other} lies in a folder, but the files must lie at the top of the zip. Zip the files, not their folder."
        else:
            yield f"{name}: {other} is no file of a submission.{nearest(base, known) or ' Leave it out.'}"
    for file in sorted(known - set(names) - {one.rpartition("/")[2] for one in names}):
        yield f"{name}: {file} is missing. A submission has all {len(known)} files; for a task that is not meant to count, answer one class throughout."
    for file in sorted(known & set(names)):
        if names.count(file) > 1:
            yield f"{name}: {file} is in the zip {names.count(file)} times. Keep one."
            continue
        entry = archive.getinfo(file)
        if entry.file_size > _MOST_BYTES:
            yield f"{name}: {file} has {entry.file_size:,} bytes, more than any answers need. Make it again."
            continue
        task, rows = FILES[file.removesuffix(".tsv")]
        yield from _file_faults(f"{name}: {file}", archive.read(entry), task, rows)


def _file_faults(place: str, content: bytes, task: GlueTask, rows: int) -> Iterator[str]:
    try:
        lines = re.split(r"\r?\n", content.decode())  # str.splitlines also ends a line at form feeds and the like
    except UnicodeDecodeError as error:
        yield f"{place}: is not UTF-8 (byte {error.start}). Save it as UTF-8."
        return
    if not lines[-1]:
        lines.pop()
    if not lines or lines[0].split("\t") != HEADER.split("\t"):
        first = lines[0][:60] if lines else "nothing"
        yield f"{place}, line 1: the header must be index, a tab, prediction, but is '{first}'. Correct it."
        return
    if len(lines) - 1 != rows:
        yield f"{place}: has {len(lines) - 1:,} rows, but the test set has {rows:,}. Answer for every row of the test file, in its order."
    found = [fault for fault in (_row_fault(i, line, task) for i, line in enumerate(lines[1:])) if fault]
    yield from (f"{place}, line {line}: {fault}" for line, fault in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"{place}: {len(found) - _SHOWN:,} more rows with a fault."


def _row_fault(index: int, line: str, task: GlueTask) -> tuple[int, str] | None:
    fields = line.split("\t")
    if len(fields) != 2:
        return index + 2, f"must be an index, a tab and a prediction, but has {len(fields)} fields. Correct it."
    number, answer = fields
    if number != str(index):
        return (
            index + 2,
            f"the index is '{number[:20]}', but must be {index}: the rows are numbered from 0. Correct it.",
        )
    if task.score_range is None:
        if answer in task.labels:
            return None
        guess = nearest(answer, task.labels) or " Write one of them."
        return index + 2, f"'{answer[:40]}' is not one of {', '.join(task.labels)}, the labels of {task.folder}.{guess}"
    low, high = task.score_range
    if _SCORE.fullmatch(answer) and low <= float(answer) <= high:
        return None
    return (
        index + 2,
        f"'{answer[:40]}' is not a number from {low:g} to {high:g}, in digits and a point. Write it so, cut to that range.",
    )
