"""From the data that the user names to checked splits: a task, labelled rows, a pool of texts, and notes.

Files are streamed into memory-mapped tables in the cache. The faults of all files are reported together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.columns import TextColumns, find_text, pairs_unfolded, task_columns, texts_of
from understudy.data.readers.drawing import check_classes, draw
from understudy.data.readers.duplicates import clean_pool, drop_leaked, grouped, note_copies, note_repeats
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.labels.labels import Labels
from understudy.data.readers.places.in_python import named
from understudy.data.readers.places.locate import locate, locate_file
from understudy.data.readers.places.source import How, Source, check_use
from understudy.data.readers.rows import labelled_rows, learn_columns, pool_texts, txt_columns
from understudy.data.splits import Rows, Splits
from understudy.data.subsets import cut_validation
from understudy.data.tasks import Kind, Task
from understudy.data.texts import Texts
from understudy.errors import DataError


def load_splits(
    data: Any = None,
    *,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    unlabeled: Any = None,
    text: Sequence[str] = (),
    label: str | Sequence[str] | None = None,
    kind: Kind | None = None,
    labels: Sequence[str] = (),
    limit_train: int | None = None,
    pool_rest: bool = False,
    seed: int = 0,
    allow_unlabelled: bool = False,
    validation_share: float = 0.1,
    reading: Reading = AS_WRITTEN,
) -> Splits:
    """Find, read and check the splits of a task.

    Args:
        data: a file (training rows), a folder of splits, or a hub data set id; or the rows themselves, see
            :func:`understudy.data.readers.places.in_python.hold`.
        train, validation, test: files or rows; each replaces that split of `data`.
        unlabeled: a file of further texts, or the texts: the pool.
        text: one entry for each text of a row; ``title+description`` joins columns. Empty: columns with usual names.
        label: the label column, or several of 0 and 1, one for each label. None: the one with a usual name.
        kind: the kind of the labels. None: integers and names are classes, fractions or a column ``score`` are
            regression, lists are multi-label.
        labels: the classes of one column in their order. Empty: those of the training rows, sorted.
        limit_train: draw so many labelled training rows, balanced over the classes. If there is no validation split, it
            is cut off these rows.
        pool_rest: add the texts of the training rows that are not drawn to the pool.
        seed: determines the draw and the cut.
        allow_unlabelled: keep training rows without a label as unlabelled rows; otherwise they are faults.
        validation_share: the share of the training rows that becomes the validation split if there is none.
        reading: how the files are read, where they do not say it.

    Raises:
        DataError: with every fault that was found, in all files.
        OutputError: if the cache cannot be written.
    """
    faults, notes = Faults(), list[str]()
    _check_limits(limit_train, validation_share, faults)
    files = {"train": named(train, "train"), "validation": named(validation, "validation"), "test": named(test, "test")}
    tables = _read_tables(named(data, "data"), files, named(unlabeled, "unlabeled"), reading, faults, notes)
    wanted = (text,) if isinstance(text, str) else tuple(text)
    of_labels = (label,) if isinstance(label, str) else tuple(label or ())
    columns, known = learn_columns(tables.splits["train"], wanted, of_labels, kind, faults, notes, names=labels)
    rows: dict[str, Rows] = {}
    pool = None
    if columns is not None:
        rows = _read_rows(tables, columns, known, faults, notes, allow_unlabelled=allow_unlabelled)
        pool = None if tables.pool is None else pool_texts(tables.pool, columns, faults, notes)
    check_classes(limit_train, 0 if known is None or known.kind != "single_label" else len(known.names), faults)
    faults.check()
    assert columns is not None  # otherwise there was a fault
    assert known is not None
    train_rows, validation_rows, rest = _select(
        rows, tables.splits["train"], limit_train, validation_share, seed, notes
    )
    if pool_rest and len(rest):
        notes.append(f"unlabeled: {len(rest):,} training rows that were not drawn join the pool, without their labels.")
        pool = rest if pool is None else Texts.concat([pool, rest])
    if pool is not None:
        pool = clean_pool(pool, rows.get("test"), [train_rows.texts, validation_rows.texts], notes)
    task = Task(text=columns, label=known.column, kind=known.kind, labels=known.names)
    labelled = int(rows["train"].labelled.sum())
    return Splits(task, train_rows, validation_rows, rows.get("test"), pool, tuple(notes), labelled)


def read_texts(
    path: Any,
    *,
    text: Sequence[str] = (),
    trained: TextColumns | None = None,
    notes: list[str] | None = None,
    reading: Reading = AS_WRITTEN,
) -> Texts:
    """All texts of one file in order, empty ones included, for a model to answer.

    Args:
        path: a file in any format, or a list of texts, a DataFrame and what else :func:`load_splits` takes.
        text: as in :func:`load_splits`; a txt file has the single column ``text``.
        trained: the columns of the model's task. They are read where the file has them and `text` names no others; a
            row has as many texts as they. None: one text or two, by the usual names.
        notes: is told what was understood of the file, and where other columns are read than the task's own, though
            `text` names none.
        reading: how the file is read, where it does not say it.

    Raises:
        DataError: with every fault of the file.
    """
    faults = Faults()
    heard: list[str] = []
    source = locate_file(str(named(path, "input")), faults, How(reading))
    check_use(reading, [] if source is None else [source], faults)
    table = None if source is None else _read(source, faults, heard)
    if notes is not None and table is not None:
        notes += [*heard, *(f"{table.origin}: {what}" for what in table.said)]
    found = None
    if table is not None:
        wanted = (text,) if isinstance(text, str) else tuple(text)
        table = pairs_unfolded(table)
        columns: TextColumns | None
        if table.bare:
            columns = txt_columns(table, faults, arity=len(trained or wanted) or 1)
        elif trained is None:
            columns = find_text(table.names, wanted, origin=table.origin, faults=faults, headed=table.headed)
        else:
            said = [] if notes is None else notes
            columns = task_columns(
                table.names,
                trained,
                wanted,
                origin=table.origin,
                faults=faults,
                notes=said,
                headed=table.headed,
            )
        found = None if columns is None else texts_of(table, columns, faults)
    faults.check()
    assert found is not None
    return found


class _Tables(NamedTuple):
    splits: dict[str, SourceTable]
    pool: SourceTable | None


def _check_limits(limit_train: int | None, validation_share: float, faults: Faults) -> None:
    if limit_train is not None and limit_train < 2:
        faults.add(
            f"--limit_train must be at least 2, but is {limit_train}: rows must be left when validation rows are cut off."
        )
    if not 0 < validation_share < 1:
        faults.add(f"--validation_share must lie between 0 and 1, but is {validation_share}.")


def _read_tables(
    data: str | None,
    files: dict[str, str | None],
    unlabeled: str | None,
    reading: Reading,
    faults: Faults,
    notes: list[str],
) -> _Tables:
    """Every table that can be read, the training table among them.

    Raises:
        DataError: if the training table cannot be read.
    """
    sources = locate(data, files, faults, notes, pool=unlabeled, how=How(reading, table=True))
    pool_source = None if unlabeled is None else locate_file(unlabeled, faults, How(reading), notes, role="unlabeled")
    check_use(reading, [*sources.values(), *([] if pool_source is None else [pool_source])], faults)
    splits: dict[str, SourceTable] = {}
    for split, source in sources.items():
        table = _read(source, faults, notes)
        if table is not None and table.bare:
            faults.add(
                f"{table.origin}: a txt file holds texts without labels, but the {split} split needs labels. Nothing separates columns in it. Write a csv with a text and a label column, or give it to distill as --unlabeled."
            )
        elif table is not None:
            splits[split] = table
    pool = None if pool_source is None else _read(pool_source, faults, notes)
    if "train" not in splits:
        faults.check()  # a table that cannot be read is a fault, so this always raises
    return _Tables(splits, pool)


def _read_rows(
    tables: _Tables,
    columns: TextColumns,
    labels: Labels | None,
    faults: Faults,
    notes: list[str],
    *,
    allow_unlabelled: bool,
) -> dict[str, Rows]:
    """The rows of every split without faults."""
    rows: dict[str, Rows] = {}
    for split, table in tables.splits.items():
        # Training rows that could not be read may have had labels that only they have: other splits cannot be checked.
        known = labels if split == "train" or tables.splits["train"].whole else None
        found = labelled_rows(table, split, columns, known, faults, notes, allow_unlabelled=allow_unlabelled)
        if found is not None:
            rows[split] = found
    return rows


def _read(source: Source, faults: Faults, notes: list[str]) -> SourceTable | None:
    table = read_source(source, faults)
    if table is None:
        return None
    notes += [f"{table.origin}: {what}" for what in table.said]
    if table.blank:
        notes.append(f"{table.origin}: {counted(table.blank, 'empty line')} skipped.")
    if table.joined:
        notes.append(
            f"{table.origin}: quote marks are read as plain text; as quoting, they would join {counted(table.joined, 'row')} to others."
        )
    return table


def _select(
    rows: dict[str, Rows], table: SourceTable, limit: int | None, share: float, seed: int, notes: list[str]
) -> tuple[Rows, Rows, Texts]:
    """The training rows in use, the validation rows, and the texts of the training rows that were not drawn."""
    everything, test, validation = rows["train"], rows.get("test"), rows.get("validation")
    drawn, rest = draw(everything, limit, seed, notes)
    if test is not None:
        drawn = drop_leaked(everything, drawn, table, test, notes)
    train = everything.take(drawn)
    if validation is None:
        train, validation = _cut(train, share, seed, limit is not None, notes)
    else:
        note_repeats(train, validation, notes)
        if test is not None:  # what chooses the weights would be what reports
            note_repeats(validation, test, notes, split="test", are="validation")
    return train, validation, everything.texts.take(rest)


def _cut(rows: Rows, share: float, seed: int, limited: bool, notes: list[str]) -> tuple[Rows, Rows]:
    """The training rows that stay, and the validation rows cut off them; all copies of a text are on one side.

    Copies of a text without a label stay in training, and the labelled ones with them.
    """
    heads, copy_of = grouped(rows.texts)
    unlabelled = np.bincount(copy_of, ~rows.labelled, minlength=len(heads)) > 0
    heads = np.where(unlabelled, -1, heads)
    free = np.flatnonzero(heads >= 0)
    _, drawn = cut_validation(rows.labels[heads[free]], share, seed)
    chosen = np.isin(copy_of, free[drawn])
    if not len(drawn):
        single = rows.labels.dtype.kind == "i" and len(free) > 1
        why = "no class has a second text, so none can be spared for" if single else "they are too few to cut off"
        raise DataError(
            f"{rows.origin}: {int(rows.labelled.sum())} labelled rows, but {why} a validation split. Add rows, or name a file with --validation."
        )
    stay, off = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    within = f", so that train and validation hold {int(rows.labelled.sum()):,} labels together" if limited else ""
    note_copies(len(rows), len(heads), notes)
    notes.append(f"validation: {counted(len(off), 'row')} cut off the training split (seed {seed}){within}.")
    return rows.take(stay), rows.take(off)
