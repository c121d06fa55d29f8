"""GLUE's official TSV files as tables: tabs and nothing else; no quoting, sometimes no header, sometimes broken rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa

from understudy.data.arrow_columns import string_column
from understudy.data.glue.tasks import GlueTask
from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.dialects import is_quoted
from understudy.data.readers.formats.files import format_of
from understudy.data.readers.formats.parsed import BATCH_BYTES, BATCH_ROWS, Lines, Opener, Parsed
from understudy.data.readers.formats.streams import DAMAGED, open_bytes
from understudy.data.readers.places.source import Source

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
_NAMES = {*_HEADERLESS, "text", "index", "id", "idx"}
"""One of these in the first line of CoLA says that the line names the columns."""


def read_glue_table(source: Source, task: GlueTask, faults: Faults, *, in_place: bool = False) -> SourceTable | None:
    """The rows of a task's source as a table; None, and a fault, if it has no rows.

    Official TSV files are read without quoting, because quote marks in them are text. In a task with broken rows, a row
    with too few or too many fields becomes a row of empty cells.

    Args:
        in_place: keep rows whose fields are all empty, because answers are numbered by the place of a row.
    """
    kind, zipped = (None, False) if source.path is None else format_of(source.path)
    if kind != "tsv" or source.path is None:
        return read_source(source, faults)
    origin, opened = source.origin, partial(open_bytes, source.path, zipped=zipped, origin=source.origin)
    try:
        with opened() as stream:
            first = next(iter(Lines(stream, Parsed(origin, Faults()))), "")
    except (OSError, *DAMAGED):  # said by the reader of any file
        return read_source(source, faults)
    fields = [field.strip() for field in _fields(first)]
    headed = not _is_data(fields, task)
    names = tuple(fields) if headed else _HEADERLESS
    if headed and not (_is_official(fields, task) and (task.tolerant or not _is_written_as_csv(opened))):
        return read_source(source, faults)

    def parse(found: Faults) -> Parsed:
        parsed = Parsed(origin, found)
        parsed.batches = lambda: _batches(
            parsed, opened, names, headed=headed, tolerant=task.tolerant, in_place=in_place
        )
        return parsed

    layout = b"\0".join([b"glue", task.name.encode(), str(zipped).encode(), b"in place" * in_place])
    return read_source(replace(source, parse=parse, key=layout), faults)


def _fields(line: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split("\t")


def _is_data(fields: list[str], task: GlueTask) -> bool:
    """Whether the first line of a file is a row of CoLA, whose label may be wrong, and names no columns."""
    named = any(field.strip('"').lower() in _NAMES for field in fields)
    return task.name == "cola" and len(fields) == len(_HEADERLESS) and not named


def _is_official(fields: list[str], task: GlueTask) -> bool:
    """Whether a file is an official one by the columns that its first line names."""
    return set(_OFFICIAL[task.name]) <= set(fields) and not any(field.startswith('"') for field in fields)


def _is_written_as_csv(opened: Opener) -> bool:
    """Whether a file quotes fields and doubles the quote marks in them, as pandas does.

    Of official files only QQP's do, whose broken rows are quoted questions with a line break. Everyone reads them with the
    quote marks, so of QQP it is not asked.
    """
    with opened() as stream:
        doubled = any(b'""' in line for line in stream)
    if not doubled:
        return False
    with opened() as stream:
        return is_quoted(stream)[0]


def _batches(
    parsed: Parsed, opened: Opener, names: tuple[str, ...], *, headed: bool, tolerant: bool, in_place: bool
) -> Iterator[pa.RecordBatch]:
    rows: list[list[str]] = []
    numbers: list[int] = []
    size = 0
    make = partial(_batch, parsed)
    with opened() as stream:
        lines = Lines(stream, parsed)
        for line in lines:
            if lines.number == 1 and not parsed.set_names(list(names), 1):
                return
            if lines.number == 1 and headed:
                continue
            fields = _fields(line)
            if not any(fields) and not (in_place and len(fields) > 1):
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
    columns = [string_column(column) for column in zip(*rows)]
    return parsed.batch(columns, numbers)
