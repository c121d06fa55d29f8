"""Which columns of a table hold the text and the label, and the texts that they make."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.arrow_columns import EMPTY, string_column, true_rows
from understudy.data.cache import cache_dir, map_arrow, write_arrow
from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults, counted, quoted
from understudy.data.readers.usual_names import LABELS, PAIRS, TEXTS, no_header
from understudy.data.texts import Texts
from understudy.errors import nearest

TextColumns = tuple[tuple[str, ...], ...]
"""One entry for each text of a row: the names of the columns that are joined into it."""


def find_text(
    names: Sequence[str],
    wanted: Sequence[str],
    *,
    origin: str,
    faults: Faults,
    label: str | Sequence[str] | None = None,
    arity: int | None = None,
    remedy: str = "Name what to read with --text",
    known: Sequence[str] = (),
    headed: bool = False,
) -> TextColumns | None:
    """The text columns that were asked for, or those with usual names.

    Args:
        names: the columns of the table.
        wanted: one entry for each text of a row; ``title+description`` joins columns. Empty: look for usual names.
        label: columns that are never taken for text.
        arity: how many texts a row must have, if that is known.
        remedy: the way out in the message, if no column has a usual name.
        known: columns that would have been read, for that message.
        headed: the names are those in the first line of a file, which may be a row of data.

    Returns:
        The columns, or None if `faults` were added.

    Example:
        >>> find_text(["label", "title", "description"], (), origin="a.csv", faults=Faults())
        (('title', 'description'),)
    """
    if wanted:
        entries = tuple(
            (entry,) if entry in names else tuple(part.strip() for part in entry.split("+")) for entry in wanted
        )
        missing = [name for entry in entries for name in entry if name not in names]
        for name in dict.fromkeys(missing):
            faults.add(
                f"{origin}: no column '{name}'. The columns are {quoted(names)}.{nearest(name, names)} Name the text columns with --text."
            )
        if len(entries) > 2 or (arity is not None and len(entries) != arity):
            way = (
                "Name two columns"
                if len(entries) < (arity or 1)
                else "Join columns into one text with '+', as in --text title+description"
            )
            faults.add(
                f"--text names {counted(len(entries), 'text')} ({' '.join(wanted)}), but a row has {arity or 'one or two'}. {way}."
            )
            return None
        return None if missing else entries
    labels = {label} if isinstance(label, str) else set(label or ())
    usual = {name.lower(): name for name in reversed(names) if name not in labels}
    if arity != 1:
        for first, second in PAIRS:
            if first in usual and second in usual:
                return (usual[first],), (usual[second],)
    if arity != 2:
        for name in TEXTS:
            if name in usual:
                both = name == "description" and "title" in usual
                return ((usual["title"], usual[name]),) if both else ((usual[name],),)
    kind = "pair of text columns" if arity == 2 else "text column"
    kind = f"column {quoted(known)} and no {kind}" if known else kind
    faults.add(
        f"{origin}: no {kind} with a usual name. The columns are {quoted(names)}. {remedy}{no_header(names) if headed else ''}."
    )
    return None


def task_columns(
    names: Sequence[str],
    trained: TextColumns,
    wanted: Sequence[str],
    *,
    origin: str,
    faults: Faults,
    notes: list[str],
    label: str | None = None,
    remedy: str = "Name what to read with --text",
    headed: bool = False,
) -> TextColumns | None:
    """The text columns for a task that is known: those that were asked for, else the task's own, else the usual ones.

    Args:
        trained: the task's own columns, in its order.
        notes: is told where other columns are read than the task's own, though none were asked for.
        label, remedy, headed: as in :func:`find_text`.

    Returns:
        The columns, or None if `faults` were added.

    Example:
        >>> known, notes = (("headline",),), []
        >>> task_columns(["text", "headline"], known, (), origin="a.csv", faults=Faults(), notes=notes), notes
        ((('headline',),), [])
        >>> task_columns(["text", "title"], known, (), origin="a.csv", faults=Faults(), notes=notes)
        (('text',),)
        >>> notes
        ["a.csv: there is no column 'headline', so 'text' is read. Name what to read with --text, if that is wrong."]
    """
    missing = [name for entry in trained for name in entry if name not in names]
    if not wanted and not missing:
        return trained
    found = find_text(
        names,
        wanted,
        origin=origin,
        faults=faults,
        label=label,
        arity=len(trained),
        remedy=remedy,
        known=missing,
        headed=headed,
    )
    if found is not None and not wanted:
        notes.append(
            f"{origin}: there is no column {quoted(missing)}, so {_in_words(found)} is read. {remedy}, if that is wrong."
        )
    return found


def said_of_columns(name: str, trained: TextColumns, read: TextColumns) -> list[str]:
    """A sentence about a model that reads other columns than it was trained on, or the same in another order.

    Example:
        >>> said_of_columns("runs/a", (("premise",), ("hypothesis",)), (("hypothesis",), ("premise",)))[0]
        "runs/a: was trained on 'premise' and 'hypothesis', but reads 'hypothesis' and 'premise' here."
    """
    if trained == read:
        return []
    return [f"{name}: was trained on {_in_words(trained)}, but reads {_in_words(read)} here."]


def _in_words(text: TextColumns) -> str:
    return " and ".join(f"'{'+'.join(entry)}'" for entry in text)


def find_label(
    names: Sequence[str],
    wanted: str | None,
    *,
    text: Sequence[str],
    origin: str,
    faults: Faults,
    remedy: str = "Name the right one with --label.",
) -> str | None:
    """The label column that was asked for, or one with a usual name; None if `faults` were added.

    Args:
        text: columns that are never taken for the label.
        remedy: the way out in the message, if no column has a usual name.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        faults.add(
            f"{origin}: no column '{wanted}'. The columns are {quoted(names)}.{nearest(wanted, names)} Name the label column with --label."
        )
        return None
    usual = {name.lower(): name for name in reversed(names) if name not in text}
    for name in LABELS:
        if name in usual:
            return usual[name]
    faults.add(f"{origin}: no label column with a usual name. The columns are {quoted(names)}. {remedy}")
    return None


def said_of_label(origin: str, own: str, found: str, remedy: str = "Name what to read with --label") -> str:
    """A sentence about a label column that is read in place of the task's own."""
    return f"{origin}: there is no column {quoted([own])}, so {quoted([found])} is read. {remedy}, if that is wrong."


def find_labels(
    names: Sequence[str], wanted: Sequence[str], *, text: Sequence[str], origin: str, faults: Faults
) -> tuple[str, ...]:
    """The label columns that were asked for, or the one with a usual name; empty if `faults` were added."""
    found = [find_label(names, name, text=text, origin=origin, faults=faults) for name in dict.fromkeys(wanted)]
    if not wanted:
        found = [find_label(names, None, text=text, origin=origin, faults=faults)]
    for name in {*wanted} & {*text}:
        faults.add(
            f"{origin}: column '{name}' is named as text and as label. Name one of them otherwise, with --text or --label."
        )
    return () if None in found else tuple(name for name in found if name is not None)


def has_columns(table: SourceTable, text: TextColumns, labels: Sequence[str], faults: Faults) -> bool:
    """Whether a table has the columns found in another one, usually the training file. A missing column is a fault."""
    wanted = [(name, "text") for entry in text for name in entry] + [(name, "label") for name in labels]
    missing = [(name, role) for name, role in wanted if name not in table.names]
    for name, role in missing:
        faults.add(
            f"{table.origin}: no {role} column '{name}', as the other rows have. The columns are {quoted(table.names)}.{nearest(name, table.names)} Rename the column, or name others with --{role}."
        )
    return not missing


def pairs_unfolded(table: SourceTable) -> SourceTable:
    """A table with columns ``sentence1`` and ``sentence2`` where each ``text`` is a list of two texts.

    ``understudy predict`` writes pairs so to JSON lines. Other tables are returned unchanged.
    """
    if "text" not in table.lists or set(PAIRS[0]) & set(table.names):
        return table
    rows = [json.loads(cell) if cell and cell.startswith("[") else [] for cell in table.cells["text"].to_pylist()]
    if not all(len(row) == 2 and all(isinstance(part, str) for part in row) for row in rows):
        return table
    cells = table.cells
    for name, column in zip(PAIRS[0], zip(*rows)):
        cells = cells.append_column(name, pa.chunked_array([string_column(column)]))
    return replace(table, names=(*table.names, *PAIRS[0]), cells=cells)


def texts_of(table: SourceTable, text: TextColumns, faults: Faults) -> Texts | None:
    """The texts of a table, mapped from the cache. Columns of one text are joined with a space, without empty cells."""
    columns = [name for entry in text for name in entry]
    other = {name: kind for kind in ("lists", "objects") for name in columns if name in getattr(table, kind)}
    for name, kind in other.items():
        faults.add(
            f"{table.origin}: column '{name}' holds {kind}, not text. Name another with --text, or give the text a column of its own."
        )
    if other:
        return None
    if len(columns) == len(text) and not any(table.cells.column(name).null_count for name in columns):
        return Texts(table.cells.select(columns))
    chosen = hashlib.sha256(json.dumps([table.key, text]).encode()).hexdigest()
    file = cache_dir() / "sources" / f"{chosen}.arrow"
    known = map_arrow(file) or write_arrow(file, _joined(table, text))
    assert known is not None  # a table has rows
    return Texts(known[0])


def _joined(table: SourceTable, text: TextColumns) -> Iterator[pa.RecordBatch]:
    """The joined columns of each text, batch by batch, so that memory does not grow with the file."""
    for batch in table.cells.to_batches():
        arrays = []
        for entry in text:
            parts = [pc.fill_null(batch.column(name), EMPTY) for name in entry]
            arrays.append(
                parts[0] if len(parts) == 1 else functools.reduce(_join, parts, _repeated("", batch.num_rows))
            )
        yield pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])


def _join(left: pa.Array, right: pa.Array) -> pa.Array:
    """Join two columns row by row: with a space between two texts, and without a blank one."""
    # One separator for each row: with a scalar one and null_handling="skip", Arrow drops rows in which all is null.
    nothing = _repeated("", len(left))
    left, right = (pc.if_else(_blank(part), nothing, part) for part in (left, right))
    space = pc.if_else(pc.or_(_blank(left), _blank(right)), nothing, _repeated(" ", len(left)))
    return pc.binary_join_element_wise(left, right, space)


def _repeated(text: str, rows: int) -> pa.Array:
    return pa.repeat(string_column([text])[0], rows)


def _blank(column: pa.Array) -> pa.Array:
    return pc.equal(pc.utf8_trim_whitespace(pc.fill_null(column, EMPTY)), EMPTY)


def blank_rows(table: SourceTable, text: TextColumns) -> np.ndarray:
    """The numbers of the rows in which a text is empty or white space."""
    found: list[np.ndarray] = []
    start = 0
    for batch in table.cells.to_batches():
        blank = [functools.reduce(pc.and_, [_blank(batch.column(name)) for name in entry]) for entry in text]
        found.append(start + true_rows(functools.reduce(pc.or_, blank)))
        start += batch.num_rows
    return np.concatenate(found) if found else np.array([], dtype=np.int64)
