"""From the raw text that the user names to training, validation and test texts, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.columns import TextColumns, blank_rows, find_text, has_columns, texts_of
from understudy.data.readers.duplicates import grouped, note_copies
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.places.in_python import named
from understudy.data.readers.places.locate import locate
from understudy.data.readers.places.source import How, check_use
from understudy.data.texts import Texts
from understudy.errors import DataError

_LONGEST = 1 << 16
"""A line with at least so many bytes is cut into several texts, so that memory does not grow with the line."""

_VALIDATION_SHARE, _VALIDATION_AT_MOST = 0.1, 2000
"""How many training texts become the validation split if there is none: a share, but at most so many."""


@dataclass(frozen=True)
class Corpus:
    """Texts to train a language model on, to select it by and to report on.

    ``notes`` are sentences about what was cut, counted or dropped, and what looks odd.
    """

    train: Texts
    validation: Texts
    test: Texts | None
    notes: tuple[str, ...]

    def texts(self) -> dict[str, Texts]:
        """The texts of each part that exists: ``train``, ``validation``, ``test``."""
        parts = {"train": self.train, "validation": self.validation}
        return parts if self.test is None else {**parts, "test": self.test}


def load_corpus(
    data: Any = None,
    *,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    text: Sequence[str] = (),
    limit_train: int | None = None,
    seed: int = 0,
    reading: Reading = AS_WRITTEN,
) -> Corpus:
    """Find, read and check raw text.

    A text is a line of a txt file or a row of a table; labels are ignored. Texts that are empty or white space are left
    out and counted. A line of more than 65,536 bytes is cut into several texts, before a space if there is one.

    Args:
        data: a file (training texts), a folder of splits, or a hub data set id; or the texts themselves, see
            :func:`understudy.data.readers.places.in_python.hold`.
        train, validation, test: files or texts; each replaces that split of `data`.
        text: the text column of tables; ``title+description`` joins columns. Empty: a column with a usual name.
        limit_train: draw so many training texts. If there is no validation split, it is cut off these texts: a tenth,
            but at most 2,000.
        seed: determines the draw and the cut.
        reading: how the files are read, where they do not say it.

    Raises:
        DataError: with every fault that was found, in all files.
        OutputError: if the cache cannot be written.
    """
    faults, notes = Faults(), list[str]()
    files = {"train": named(train, "train"), "validation": named(validation, "validation"), "test": named(test, "test")}
    sources = locate(named(data, "data"), files, faults, notes, how=How(reading, longest=_LONGEST))
    check_use(reading, list(sources.values()), faults)
    tables = {split: table for split, source in sources.items() if (table := read_source(source, faults)) is not None}
    notes += [f"{table.origin}: {what}" for table in tables.values() for what in table.said]
    parts: dict[str, Texts] = {}
    columns = _columns(list(tables.values()), text, faults)
    if text and not faults and all(table.bare for table in tables.values()):
        faults.add("--text names the column of a table, but all texts are lines of txt files. Leave it out.")
    for split, table in tables.items():
        found = _texts(table, columns, faults, notes)
        if found is not None:
            parts[split] = found
    faults.check()
    drawn = parts["train"]
    if limit_train is not None and limit_train < 2 and "validation" not in parts:
        raise DataError(
            f"--limit_train must be at least 2, but is {limit_train}: texts must be left when validation texts are cut off. Draw more, or name a file with --validation."
        )
    if limit_train is not None:
        drawn = _draw(drawn, limit_train, seed, notes)
    if "validation" not in parts:
        drawn, parts["validation"] = _cut(drawn, tables["train"].origin, seed, notes)
    _note_repeats(drawn, parts["validation"], parts.get("test"), notes)
    return Corpus(drawn, parts["validation"], parts.get("test"), tuple(notes))


def _columns(tables: Sequence[SourceTable], wanted: Sequence[str], faults: Faults) -> TextColumns | None:
    """The text columns of the first table that is not a txt file; None if there is no such table."""
    table = next((table for table in tables if not table.bare), None)
    if table is None:
        return None
    columns = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    return find_text(table.names, columns, origin=table.origin, faults=faults, arity=1, headed=table.headed)


def _texts(table: SourceTable, columns: TextColumns | None, faults: Faults, notes: list[str]) -> Texts | None:
    """The texts of a table that are not empty; None if there are faults."""
    if table.bare:
        columns = (("text",),)
    if columns is None or not has_columns(table, columns, (), faults):
        return None
    texts = texts_of(table, columns, faults)
    if texts is None:
        return None
    blank = blank_rows(table, columns)
    if len(blank) == len(texts):
        faults.add(f"{table.origin}: every text is empty. Name a file with text in it.")
        return None
    if len(blank) or table.blank:
        txt = table.bare
        number = counted(len(blank) + table.blank, "empty line" if txt else "row") + ("" if txt else " without text")
        first = f" (first: {table.where(int(blank[0]))})" if len(blank) else ""
        notes.append(f"{table.origin}: {number} left out{first}.")
        texts = texts.take(np.setdiff1d(np.arange(len(texts)), blank, assume_unique=True))
    if table.long:
        notes.append(
            f"{table.origin}: {counted(table.long, 'line')} of more than {_LONGEST:,} bytes cut into several texts, at spaces where there are some."
        )
    return texts


def _draw(texts: Texts, limit: int, seed: int, notes: list[str]) -> Texts:
    if limit >= len(texts):
        notes.append(f"train: all {len(texts):,} texts are used, --limit_train asks for {limit:,}.")
        return texts
    notes.append(f"train: {limit:,} of {len(texts):,} texts were drawn at random (seed {seed}).")
    return texts.take(np.sort(np.random.default_rng([seed, 1]).choice(len(texts), size=limit, replace=False)))


def _cut(texts: Texts, origin: str, seed: int, notes: list[str]) -> tuple[Texts, Texts]:
    """The training texts that stay, and the validation texts cut off them; all copies of a text are on one side."""
    heads, copy_of = grouped(texts)
    if len(heads) < 2:
        raise DataError(
            f"{origin}: holds a single text, so no validation part can be cut off. Put each text (an article, a paragraph) on a line of its own, or name a file with --validation."
        )
    number = min(max(1, round(_VALIDATION_SHARE * len(heads))), _VALIDATION_AT_MOST)
    drawn = np.random.default_rng([seed, 2]).choice(len(heads), size=number, replace=False)
    chosen = np.isin(copy_of, drawn)
    notes.append(f"validation: {counted(int(chosen.sum()), 'text')} cut off the training texts (seed {seed}).")
    note_copies(len(texts), len(heads), notes)
    return texts.take(np.flatnonzero(~chosen)), texts.take(np.flatnonzero(chosen))


def _note_repeats(train: Texts, validation: Texts, test: Texts | None, notes: list[str]) -> None:
    """Note the validation and test texts that are also training texts; they are kept."""
    for name, part in (("validation", validation), ("test", test)):
        shared = 0 if part is None else int(np.isin(part.keys(), train.keys()).sum())
        if shared:
            are = "text is" if shared == 1 else "texts are"
            notes.append(f"{name}: {shared:,} {are} also among the training texts; its scores may be too good.")
