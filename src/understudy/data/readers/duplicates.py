"""Texts that occur more than once: under different labels, in training and test, in the pool. Found by their hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import counted
from understudy.data.splits import Rows
from understudy.data.texts import Texts


def note_conflicts(rows: Rows, table: SourceTable, notes: list[str]) -> None:
    """Note the texts of one file that have different labels; `rows` are all rows of `table`."""
    assert rows.labels is not None
    places = np.flatnonzero(rows.labelled)
    labels = rows.labels[places].reshape(len(places), -1)
    codes = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    texts = np.unique(rows.texts.keys()[places], return_inverse=True)[1].reshape(-1)
    order = np.lexsort((codes, texts))  # equal texts are neighbours, sorted by label
    differs = (texts[order][1:] == texts[order][:-1]) & (codes[order][1:] != codes[order][:-1])
    if not differs.any():
        return
    first = int(np.flatnonzero(differs)[0])
    one, other = sorted(int(places[order[i]]) for i in (first, first + 1))
    number = len(np.unique(texts[order][1:][differs]))
    occur = "text occurs" if number == 1 else "texts occur"
    places_said = (
        f"in {table.where(one)} and {table.where(other)}"
        if table.shards or table.unit in ("position", "file")
        else f"on {table.unit}s {table.lines[one]} and {table.lines[other]}"
    )
    notes.append(
        f"{table.origin}: {number:,} {occur} more than once with different labels, as {places_said}; all are kept."
    )


def grouped(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct text, in order, and for every row the index of its text among these."""
    _, first, group = np.unique(texts.keys(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return first[order], places[group.reshape(-1)]


def note_copies(rows: int, distinct: int, notes: list[str]) -> None:
    """Note that the copies of a text were not cut apart, if there are any."""
    if distinct < rows:
        notes.append(
            f"train: {counted(rows - distinct, 'row')} repeat the text of another one; the cut keeps all copies of a text on one side."
        )


def drop_leaked(rows: Rows, drawn: np.ndarray, table: SourceTable, test: Rows, notes: list[str]) -> np.ndarray:
    """The drawn training rows without the unlabelled ones that are also in the test split.

    Labelled rows that are also in the test split are kept. Both are noted and counted.

    Args:
        rows: all training rows, read from `table`.
        drawn: ``(drawn,)``, the numbers of those in use.
    """
    leaked = np.isin(rows.texts.keys()[drawn], test.texts.keys())
    labelled = rows.labelled[drawn]
    kept = drawn[leaked & labelled]
    if len(kept):
        notes.append(
            f"{rows.origin}: {counted(len(kept), 'training row')} also in the test split {test.origin}, kept (first: {table.where(int(kept[0]))}). Test scores may be too good."
        )
    dropped = drawn[leaked & ~labelled]
    if len(dropped):
        notes.append(
            f"{rows.origin}: {counted(len(dropped), 'unlabelled row')} also in the test split {test.origin}, dropped (first: {table.where(int(dropped[0]))})."
        )
    return drawn[~leaked | labelled]


def note_repeats(
    rows: Rows, others: Rows, notes: list[str], *, split: str = "validation", are: str = "training"
) -> None:
    """Note the rows whose text is also in a split of its own that models are scored on; they are kept.

    Args:
        split: that of `others`.
        are: what the rows are.
    """
    number = int(np.isin(rows.texts.keys(), others.texts.keys()).sum())
    if number:
        notes.append(
            f"{rows.origin}: {counted(number, f'{are} row')} also in the {split} split {others.origin}, kept. {split.capitalize()} scores may be too good."
        )


def clean_pool(pool: Texts, test: Rows | None, others: Sequence[Texts], notes: list[str]) -> Texts | None:
    """The pool without texts of the test split, texts in `others`, and repeated texts; None if nothing is left."""
    keys = pool.keys()
    leaked = np.zeros(len(pool), dtype=bool) if test is None else np.isin(keys, test.texts.keys())
    known = ~leaked & np.isin(keys, np.concatenate([texts.keys() for texts in others]))
    left = np.flatnonzero(~leaked & ~known)
    first = left[np.unique(keys[left], return_index=True)[1]]
    for number, why in (
        (leaked.sum(), "the text is in the test split"),
        (known.sum(), "the text is in the training or validation rows"),
        (len(left) - len(first), "the text repeats another one in the pool"),
    ):
        if number:
            notes.append(f"unlabeled: {counted(int(number), 'row')} dropped: {why}.")
    if not len(first):
        notes.append("unlabeled: no row is left in the pool.")
        return None
    return pool if len(first) == len(pool) else pool.take(np.sort(first))
