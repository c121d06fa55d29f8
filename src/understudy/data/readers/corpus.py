"""Raw text as the user names it in; training, validation and test texts out, and what was noted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.data.readers.columns import TextColumns, blank_rows, find_text, has_columns, texts_of
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.files import format_of
from understudy.data.readers.locate import Source, locate
from understudy.data.readers.tables import SourceTable, read_dataset, read_table
from understudy.data.texts import Texts
from understudy.errors import DataError

_LONGEST = 1 << 16
"""Bytes of a line from which on it is cut into several texts, so that memory does not grow with it."""
_VALIDATION_SHARE, _VALIDATION_AT_MOST = 0.1, 2000
"""Of the training texts, where there is no validation split."""


@dataclass(frozen=True)
class Corpus:
    """Texts to train a language model on, to choose by and to report on. ``notes`` are sentences: what was cut,
    counted, dropped or looks odd."""

    train: Texts
    validation: Texts
    test: Texts | None
    notes: tuple[str, ...]

    def texts(self) -> dict[str, Texts]:
        """What there is of each part: ``train``, ``validation``, ``test``."""
        parts = {"train": self.train, "validation": self.validation}
        return parts if self.test is None else {**parts, "test": self.test}


def load_corpus(
    data: str | None = None,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    text: Sequence[str] = (),
    limit_train: int | None = None,
    seed: int = 0,
) -> Corpus:
    """Find, read and check raw text.

    One text is a line of a txt file, or a row of a table, whose labels are not looked at. Texts without a character
    but white space are left out and counted. A line of more than 65,536 bytes is cut into several texts, before white
    space where there is some.

    Args:
        data: a file (training texts), a folder of splits, or a hub data set id.
        train, validation, test: files, each in place of what `data` has for that split.
        text: the text column of tables, ``title+description`` to join some. Empty: a column with a usual name.
        limit_train: draw so many training texts; a validation split that has to be cut is cut off these.
        seed: of the draw and the cut. Where there is no validation split, a tenth of the training texts, 2,000 at
            most, becomes one.

    Raises:
        DataError: with every fault that was found, in all files.
        OutputError: if the cache cannot be written.
    """
    faults, notes = Faults(), list[str]()
    sources = locate(data, {"train": train, "validation": validation, "test": test}, faults)
    tables = {split: table for split, source in sources.items() if (table := _read(source, faults)) is not None}
    parts: dict[str, Texts] = {}
    columns = _columns(list(tables.values()), text, faults)
    if text and not faults and all(map(_is_txt, tables.values())):
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


def _read(source: Source, faults: Faults) -> SourceTable | None:
    if source.path is None:
        return read_dataset(source.dataset, source.origin, faults)
    return read_table(source.path, source.origin, faults, longest=_LONGEST)


def _is_txt(table: SourceTable) -> bool:
    return format_of(Path(table.origin))[0] == "txt"


def _columns(tables: Sequence[SourceTable], wanted: Sequence[str], faults: Faults) -> TextColumns | None:
    """The text columns, as the first table shows them that is not a txt file."""
    table = next((table for table in tables if not _is_txt(table)), None)
    if table is None:
        return None
    named = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    return find_text(table.names, named, origin=table.origin, faults=faults, arity=1)


def _texts(table: SourceTable, columns: TextColumns | None, faults: Faults, notes: list[str]) -> Texts | None:
    """The texts of a table that are not empty."""
    if _is_txt(table):
        columns = (("text",),)
    if columns is None or not has_columns(table, columns, None, faults):
        return None
    texts = texts_of(table, columns, faults)
    if texts is None:
        return None
    blank = blank_rows(table, columns)
    if len(blank) == len(texts):
        faults.add(f"{table.origin}: every text is empty. Name a file with text in it.")
        return None
    if len(blank) or table.blank:
        what = "empty line" if _is_txt(table) else "row"
        number = counted(len(blank) + table.blank, what) + ("" if _is_txt(table) else " without text")
        first = f" (first: {table.where(int(blank[0]))})" if len(blank) else ""
        notes.append(f"{table.origin}: {number} left out{first}.")
        texts = texts.take(np.setdiff1d(np.arange(len(texts)), blank, assume_unique=True))
    if table.long:
        notes.append(
            f"{table.origin}: {counted(table.long, 'line')} of more than {_LONGEST:,} bytes cut into several texts, at white space where there is some."
        )
    return texts


def _draw(texts: Texts, limit: int, seed: int, notes: list[str]) -> Texts:
    if limit >= len(texts):
        notes.append(f"train: all {len(texts):,} texts are used, --limit_train asks for {limit:,}.")
        return texts
    notes.append(f"train: {limit:,} of {len(texts):,} texts were drawn at random (seed {seed}).")
    return texts.take(np.sort(np.random.default_rng([seed, 1]).choice(len(texts), size=limit, replace=False)))


def _cut(texts: Texts, origin: str, seed: int, notes: list[str]) -> tuple[Texts, Texts]:
    """Training texts and the validation texts cut off them."""
    if len(texts) < 2:
        raise DataError(
            f"{origin}: holds a single text, so that no validation part can be cut off. Put one text (an article, a paragraph) on a line, or name a file with --validation."
        )
    number = min(max(1, round(_VALIDATION_SHARE * len(texts))), _VALIDATION_AT_MOST)
    chosen = np.sort(np.random.default_rng([seed, 2]).choice(len(texts), size=number, replace=False))
    notes.append(f"validation: {counted(number, 'text')} cut off the training texts (seed {seed}).")
    return texts.take(np.setdiff1d(np.arange(len(texts)), chosen, assume_unique=True)), texts.take(chosen)


def _note_repeats(train: Texts, validation: Texts, test: Texts | None, notes: list[str]) -> None:
    """Count training texts that a model is also judged by; they are kept."""
    for name, part in (("validation", validation), ("test", test)):
        shared = 0 if part is None else int(np.isin(part.keys(), train.keys()).sum())
        if shared:
            stand = "text stands" if shared == 1 else "texts stand"
            notes.append(f"{name}: {shared:,} {stand} among the training texts, too; its scores may be too good.")
