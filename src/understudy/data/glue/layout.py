"""GLUE's official TSV files as tables: tabs and nothing else; no quoting, sometimes no header, sometimes broken rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from understudy.data.glue.tasks import GlueTask
from understudy.data.readers.cached_tables import SourceTable, read_parsed, read_table
from understudy.data.readers.delimited import format_of, open_file
from understudy.data.readers.faults import Faults
from understudy.data.readers.parsed import BATCH_BYTES, BATCH_ROWS, Lines, Parsed

_HEADERLESS = ("source", "label", "star", "sentence")
"""The columns of CoLA's training and development files, which do not name them."""
_OFFICIAL = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mrpc": ("#1 String", "#2 String"),
    "stsb": ("index", "sentence1", "sentence2"),
    "qqp": ("id", "question1", "question2"),
    "mnli": ("index", "sentence1", "sentence2"),
    "qnli": ("index", "question", "sentence"),
    "rte": ("index", "sentence1", "sentence2"),
    "wnli": ("index", "sentence1", "sentence2"),
    "ax": ("sentence1", "sentence2"),
}
"""Columns by which an official file is known. Others are read as any TSV is."""


def read_glue_table(path: Path, origin: str, task: GlueTask, faults: Faults) -> SourceTable | None:
    """A file of a task as a table; None, and a fault, if it has no rows.

    Official TSV files are read without quoting, because quote marks in them are text. In a task with broken rows, a row
    with too few or too many fields becomes a row of empty cells.
    """
    kind, zipped = format_of(path)
    if kind != "tsv" or path.is_dir():
        return read_table(path, origin, faults)
    try:
        with open_file(path, zipped) as stream:
            first = next(iter(Lines(stream, Parsed(origin, Faults()))), "")
    except (OSError, EOFError):  # said by the reader of any file
        return read_table(path, origin, faults)
    names = _names(first, task)
    if names is None:
        return read_table(path, origin, faults)
    parsed = Parsed(origin, faults)
    headed = names != _HEADERLESS
    parsed.batches = lambda: _batches(parsed, path, zipped, names, headed=headed, tolerant=task.tolerant)
    layout = [b"glue", task.name.encode(), str(zipped).encode()]
    return read_parsed(path, parsed, faults, layout=layout)


def _fields(line: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split("\t")


def _names(first: str, task: GlueTask) -> tuple[str, ...] | None:
    """The columns of an official file by its first line; None if it is another file."""
    fields = [field.strip() for field in _fields(first)]
    if task.name == "cola" and len(fields) == len(_HEADERLESS) and fields[1] in task.labels:
        return _HEADERLESS
    if set(_OFFICIAL[task.name]) <= set(fields) and not any(field.startswith('"') for field in fields):
        return tuple(fields)
    return None


def _batches(
    parsed: Parsed, path: Path, zipped: bool, names: tuple[str, ...], *, headed: bool, tolerant: bool
) -> Iterator[pa.RecordBatch]:
    rows: list[list[str]] = []
    numbers: list[int] = []
    size = 0
    make = partial(_batch, parsed)
    with open_file(path, zipped) as stream:
        lines = Lines(stream, parsed)
        for line in lines:
            if lines.number == 1 and not parsed.set_names(list(names), 1):
                return
            if lines.number == 1 and headed:
                continue
            fields = _fields(line)
            if not any(fields):
                parsed.blank += 1
                continue
            if len(fields) != len(names):
                if not tolerant:
                    parsed.faults.row(
                        parsed.origin,
                        "with too few or too many fields",
                        f"{parsed.origin}, line {lines.number}: {len(fields)} fields between tabs, but the file has {len(names)} columns. Correct the line, or get the file again.",
                    )
                    continue
                fields = [""] * len(names)
            rows.append(fields)
            numbers.append(lines.number)
            size += len(line)
            if len(rows) == BATCH_ROWS or size > BATCH_BYTES:
                yield make(rows, numbers)
                rows, numbers, size = [], [], 0
    if rows:
        yield make(rows, numbers)


def _batch(parsed: Parsed, rows: list[list[str]], numbers: list[int]) -> pa.RecordBatch:
    columns = [pa.array(column, pa.large_string()) for column in zip(*rows)]
    return parsed.batch(columns, numbers)
