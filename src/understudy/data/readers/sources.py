"""Data as the user names it in, checked splits out: a task, rows with labels, a pool of texts, and what was noted.

Reading is streaming and leaves memory-mapped tables in the cache; every fault of every file is reported together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from understudy.data.draws import cut, draw
from understudy.data.readers import duplicates
from understudy.data.readers.columns import TextColumns, blank_rows, find_label, find_text, has_columns, texts_of
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.files import format_of
from understudy.data.readers.labels import Labels, missing_labels
from understudy.data.readers.locate import Source, locate, locate_file
from understudy.data.readers.tables import SourceTable, cache_dir, read_dataset, read_table
from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Kind, Task
from understudy.data.texts import Texts
from understudy.errors import DataError

__all__ = ["Rows", "Splits", "Texts", "cache_dir", "load_splits", "read_texts"]


def load_splits(
    data: str | None = None,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    unlabeled: str | None = None,
    text: Sequence[str] = (),
    label: str | None = None,
    kind: Kind | None = None,
    limit_train: int | None = None,
    pool_rest: bool = False,
    seed: int = 0,
    allow_unlabelled: bool = False,
    validation_share: float = 0.1,
) -> Splits:
    """Find, read and check the splits of a task.

    Args:
        data: a file (training rows), a folder of splits, or a hub data set id.
        train, validation, test: files, each in place of what `data` has for that split.
        unlabeled: a file of further texts, the pool.
        text: one entry a text; ``title+description`` joins columns. Empty: columns with the usual names.
        label: the label column. None: the one with a usual name.
        kind: of the labels. None: integers and names are classes, fractions or a column ``score`` regression, lists
            multi-label.
        limit_train: draw so many labelled training rows, balanced over the classes. A validation split that has to be
            cut is cut off these.
        pool_rest: the texts of the training rows that are not drawn join the pool.
        seed: of the draw and the cut.
        allow_unlabelled: training rows without a label are kept as unlabelled ones instead of being a fault.
        validation_share: how much of the training rows becomes the validation split where there is none.

    Raises:
        DataError: with every fault that was found, in all files.
        OutputError: if the cache cannot be written.
    """
    faults, notes = Faults(), list[str]()
    if limit_train is not None and limit_train < 2:
        faults.add(
            f"--limit_train must be at least 2, but is {limit_train}: rows must be left when validation rows are cut off."
        )
    if not 0 < validation_share < 1:
        faults.add(f"--validation_share must lie between 0 and 1, but is {validation_share}.")
    sources = locate(data, {"train": train, "validation": validation, "test": test}, faults)
    pool_source = None if unlabeled is None else locate_file(unlabeled, faults)

    tables: dict[str, SourceTable] = {}
    for split, source in sources.items():
        table = _read(source, faults, notes) if _may_be_labelled(source, split, faults) else None
        if table is not None:
            tables[split] = table
    pool_table = None if pool_source is None else _read(pool_source, faults, notes)
    if "train" not in tables:
        faults.check()  # what cannot be read is a fault, so this always raises
    wanted = (text,) if isinstance(text, str) else tuple(text)
    columns, labels = _learn(tables["train"], wanted, label, kind, faults)

    rows: dict[str, Rows] = {}
    if columns is not None:
        for split, table in tables.items():
            lenient = sources[split].dataset is not None and split != "train"
            # rows that could not be read may have had labels of their own
            known = labels if split == "train" or tables["train"].whole else None
            found = _rows(
                table, split, columns, known, faults, notes, allow_unlabelled=allow_unlabelled, may_be_bare=lenient
            )
            if found is not None:
                rows[split] = found
    pool = None if pool_table is None or columns is None else _pool_texts(pool_table, columns, faults, notes)
    classes = 0 if labels is None or labels.kind != "single_label" else len(labels.names)
    if limit_train is not None and limit_train < classes:
        faults.add(
            f"--limit_train {limit_train} is fewer rows than there are classes ({classes}). Draw at least one of each."
        )
    faults.check()
    assert columns is not None  # else there was a fault
    assert labels is not None

    everything, test_rows = rows["train"], rows.get("test")
    drawn, rest = _draw(everything, limit_train, seed, notes)
    if test_rows is not None:
        drawn = duplicates.against_test(everything, drawn, tables["train"], test_rows, notes)
    train_rows = everything.take(drawn)
    validation_rows = rows.get("validation")
    if validation_rows is None:
        train_rows, validation_rows = _cut(train_rows, validation_share, seed, limit_train is not None, notes)
    if pool_rest and len(rest):
        undrawn = everything.texts.take(rest)
        pool = undrawn if pool is None else Texts.concat([pool, undrawn])
        notes.append(f"unlabeled: {len(rest):,} training rows that were not drawn join the pool, without their labels.")
    if pool is not None:
        pool = duplicates.clean_pool(pool, test_rows, [train_rows.texts, validation_rows.texts], notes)
    task = Task(text=columns, label=labels.column, kind=labels.kind, labels=labels.names)
    return Splits(task, train_rows, validation_rows, test_rows, pool, tuple(notes))


def read_texts(path: str | Path, *, text: Sequence[str] = (), arity: int | None = None) -> Texts:
    """The texts of one file, in order and complete, empty ones included: a pool, or what to predict on.

    Args:
        path: a csv, tsv, jsonl, parquet or txt file, or its ``.gz``.
        text: as in :func:`load_splits`; a txt file has the one column ``text``.
        arity: how many texts a row must have.

    Raises:
        DataError: with every fault of the file.
    """
    faults = Faults()
    source = locate_file(str(path), faults)
    table = None if source is None else _read(source, faults, [])
    found = None
    if table is not None:
        wanted = (text,) if isinstance(text, str) else tuple(text)
        columns = (
            _txt_columns(table, faults, arity=arity or len(wanted) or 1)
            if _is_txt(table.origin)
            else find_text(table.names, wanted, origin=table.origin, faults=faults, arity=arity)
        )
        found = None if columns is None else texts_of(table, columns, faults)
    faults.check()
    assert found is not None
    return found


def _is_txt(origin: str) -> bool:
    return format_of(Path(origin))[0] == "txt"


def _may_be_labelled(source: Source, split: str, faults: Faults) -> bool:
    if source.path is not None and _is_txt(source.origin):
        faults.add(
            f"{source.origin}: a txt file holds texts without labels, but the {split} split needs labels. Give it as --unlabeled, or write a csv with a text and a label column."
        )
        return False
    return True


def _read(source: Source, faults: Faults, notes: list[str]) -> SourceTable | None:
    if source.path is None:
        return read_dataset(source.dataset, source.origin, faults)
    table = read_table(source.path, source.origin, faults)
    if table is not None and table.blank:
        notes.append(f"{table.origin}: {counted(table.blank, 'empty line')} skipped.")
    return table


def _learn(
    table: SourceTable, wanted: Sequence[str], label: str | None, kind: Kind | None, faults: Faults
) -> tuple[TextColumns | None, Labels | None]:
    """Text columns and labels, as the training rows show them."""
    columns = find_text(table.names, wanted, origin=table.origin, faults=faults, label=label)
    taken = [name for entry in columns or () for name in entry]
    column = find_label(table.names, label, text=taken, origin=table.origin, faults=faults)
    return columns, None if column is None else Labels.learn(table, column, kind, faults if table.whole else Faults())


def _rows(
    table: SourceTable,
    split: str,
    columns: TextColumns,
    labels: Labels | None,
    faults: Faults,
    notes: list[str],
    *,
    allow_unlabelled: bool,
    may_be_bare: bool,
) -> Rows | None:
    """One labelled split, checked row by row; None if it has faults or, where that is allowed, no labels at all."""
    before = faults.count
    if not has_columns(table, columns, labels.column if labels else None, faults):
        return None
    texts = texts_of(table, columns, faults)
    said = " and ".join("+".join(entry) for entry in columns)
    faults.rows(
        table.origin,
        "with an empty text",
        blank_rows(table, columns),
        lambda row: f"{table.where(row)}: the text ({said}) is empty. Fill it in, or remove the row.",
    )
    if labels is None or texts is None:
        return None
    rows = Rows(texts, labels.read(table, faults), table.origin)
    # A value that cannot be read has been reported; what is missing here is a cell without any value.
    bare = missing_labels(table, labels)
    if len(bare) == len(rows) and split != "train" and (may_be_bare or allow_unlabelled):
        notes.append(f"{table.origin}: no row has a label, so it is not used as the {split} split.")
        return None
    if len(bare) and not allow_unlabelled:
        faults.rows(
            table.origin,
            "without a label",
            bare,
            lambda row: (
                f"{table.where(row)}: no label in column '{labels.column}'. Label the row or remove it (distill takes such training rows as unlabelled)."
            ),
        )
    if faults.count > before:
        return None
    if len(bare):
        fate = "taken as unlabelled" if split == "train" else "left out"
        notes.append(
            f"{table.origin}: {counted(len(bare), 'row')} without a label, {fate} (first: {table.where(int(bare[0]))})."
        )
    duplicates.note_conflicts(rows, table, notes)
    return rows if split == "train" else rows.take(np.flatnonzero(rows.labelled))


def _txt_columns(table: SourceTable, faults: Faults, *, arity: int) -> TextColumns | None:
    if arity == 1:
        return (("text",),)
    faults.add(
        f"{table.origin}: a txt file has one text a line, but pairs of texts are needed. Give a csv, tsv, jsonl or parquet file with two text columns."
    )
    return None


def _pool_texts(table: SourceTable, columns: TextColumns, faults: Faults, notes: list[str]) -> Texts | None:
    """The texts of the unlabelled file that are not empty."""
    found: TextColumns | None = columns
    if _is_txt(table.origin):
        found = _txt_columns(table, faults, arity=len(columns))
    elif not has_columns(table, columns, None, faults):
        found = None
    texts = None if found is None else texts_of(table, found, faults)
    if found is None or texts is None:
        return None
    blank = blank_rows(table, found)
    if len(blank) == len(texts):
        faults.add(f"{table.origin}: every text is empty. Name another file with --unlabeled.")
        return None
    if len(blank):
        notes.append(
            f"{table.origin}: {counted(len(blank), 'row')} without text dropped (first: {table.where(int(blank[0]))})."
        )
        texts = texts.take(np.setdiff1d(np.arange(len(texts)), blank, assume_unique=True))
    return texts


def _draw(rows: Rows, limit: int | None, seed: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training rows that are used, and of the labelled ones that are not. Rows without a label stay."""
    everything = np.arange(len(rows))
    labelled = np.flatnonzero(rows.labelled)
    if limit is None:
        return everything, everything[:0]
    if limit >= len(labelled):
        notes.append(f"train: all {len(labelled):,} labelled rows are used, --limit_train asks for {limit:,}.")
        return everything, everything[:0]
    assert rows.labels is not None
    single = rows.labels.dtype.kind == "i"
    drawn = draw(labelled, rows.labels[labelled] if single else None, limit, seed)
    how = f"balanced over {len(np.unique(rows.labels[labelled]))} classes" if single else "at random"
    notes.append(f"train: {limit:,} of {len(labelled):,} labelled rows were drawn {how} (seed {seed}).")
    left_out = np.setdiff1d(labelled, drawn, assume_unique=True)
    return np.setdiff1d(everything, left_out, assume_unique=True), left_out


def _cut(rows: Rows, share: float, seed: int, limited: bool, notes: list[str]) -> tuple[Rows, Rows]:
    """Training rows and the validation rows cut off them."""
    assert rows.labels is not None
    stay, off = cut(rows.labels, share, seed)
    if not len(off):
        raise DataError(
            f"{rows.origin}: {int(rows.labelled.sum())} labelled rows are too few to cut a validation split off. Add rows, or name a file with --validation."
        )
    within = f", so that train and validation hold {int(rows.labelled.sum()):,} labels together" if limited else ""
    notes.append(f"validation: {counted(len(off), 'row')} cut off the training split (seed {seed}){within}.")
    return rows.take(stay), rows.take(off)
