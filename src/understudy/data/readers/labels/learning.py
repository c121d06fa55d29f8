"""The labels of a task, learnt from its training rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults
from understudy.data.readers.labels.cells import (
    hot,
    joints_of,
    labels_in_cell,
    missing_in,
    number,
    printed_list,
    whole,
)
from understudy.data.readers.labels.labels import Labels
from understudy.data.readers.labels.odd import note_cells, note_classes
from understudy.data.readers.labels.values import distinct_values, label_name
from understudy.data.tasks import Kind, Task

_MOST = 0.9
"""A column counts as numbers, or as lists, if at least this share of its values are; the others are faults, not classes."""


def learn_labels(
    table: SourceTable,
    columns: Sequence[str],
    kind: Kind | None,
    faults: Faults,
    notes: list[str],
    *,
    asked: bool,
    names: Sequence[str] = (),
) -> Labels | None:
    """Find the kind and the names in the training rows; None if `faults` were added.

    Args:
        table: with a column of :func:`~understudy.data.readers.labels.values.label_name`.
        columns: the label column, or several of 0 and 1.
        asked: the user named the columns.
        names: the classes of one column, if the user named them; otherwise they are those that occur.
    """
    column, origin = label_name(columns), table.origin
    if column in table.objects:
        faults.add(f"{origin}: column '{column}' holds objects, not labels. Name another with --label.")
        return None
    values, codes = distinct_values(table, column)
    if not values:
        faults.add(
            f"{origin}: no row has a label in column '{column}'. Label some rows, or name another column with --label."
        )
        return None
    lists = column in table.lists or _share(printed_list(value) is not None for value in values) >= _MOST
    joints = joints_of(values) if lists or kind == "multi_label" else "|;"
    listed = len(columns) == 1 and (lists or kind == "multi_label")
    positions = _positions(values, joints, origin, column, faults) if listed else 0
    if positions is None:
        return None
    if lists and (kind == "regression" or (kind == "single_label" and not positions and len(columns) == 1)):
        faults.add(
            f"{origin}: column '{column}' holds lists, but {kind} labels are not lists. Leave --kind out, or name another column with --label."
        )
        return None
    if kind is None and names and not lists:
        kind = "single_label"  # numbers too, if they are among the names
    kind = kind or infer_kind(values, column, lists=lists)
    notes += note_cells(table, column, kind, values, codes, joints)
    if kind == "regression":
        targets = [found for found in map(number, values) if math.isfinite(found)]
        return Labels(column, kind, (), False, lowest=min(targets, default=-math.inf))
    labels = _named(Labels(column, kind, (), False, joints=joints), values)
    if names and positions not in (0, len(names)):
        faults.add(
            f"{origin}: {len(names)} labels are named, but the lists in column '{column}' are {positions} times 0 or 1, one for each label. Name as many, or none."
        )
        return None
    if names and len(columns) == 1:
        integers = not positions and all(whole(name) for name in names)
        labels = replace(labels, names=tuple(names), whole=integers, hot=positions > 0, given=True)
    elif len(columns) > 1:
        labels = replace(labels, names=tuple(columns), whole=False, hot=True, columns=tuple(columns))
    elif positions:
        labels = replace(labels, names=tuple(map(str, range(positions))), whole=True, hot=True)
        notes.append(
            f"{origin}: the lists in '{column}' are {positions} times 0 or 1, so they say which labels a row has; the labels are called '0' to '{positions - 1}'."
        )
    found = labels.read(table, Faults())
    if not labels.hot and not _enough(labels, values, origin, faults):
        return None
    return labels if note_classes(table, labels, found, faults, notes, asked=asked) else None


def known_labels(table: SourceTable, column: str, task: Task) -> Labels:
    """How a column of answers to a known task is read."""
    values, _ = distinct_values(table, column)
    several = task.kind == "multi_label"
    named_with_commas = any("," in name for name in task.labels)
    joints = joints_of(values) if several and not named_with_commas else "|;"
    integers = task.kind != "regression" and all(whole(name) for name in task.labels)
    labels = Labels(column, task.kind, task.labels, integers, joints=joints)
    positions = _positions(values, joints, table.origin, column, Faults()) if several else 0
    return replace(labels, hot=positions == len(task.labels) > 0)


def infer_kind(values: list[str], column: str, *, lists: bool) -> Kind:
    """The kind of a label column: lists are multi-label, fractions or a column ``score`` regression, the rest classes.

    Example:
        >>> infer_kind(["0", "1"], "label", lists=False), infer_kind(["0.5", "1"], "label", lists=False)
        ('single_label', 'regression')
    """
    if lists:
        return "multi_label"
    if column.lower() == "score":
        return "regression"
    numbers = [found for value in values if not math.isnan(found := number(value))]
    fractions = any(math.isfinite(found) and found % 1 for found in numbers)
    return "regression" if fractions and len(numbers) >= _MOST * len(values) else "single_label"


def _share(answers: Iterable[bool]) -> float:
    return float(np.mean(list(answers)))


def _positions(values: list[str], joints: str, origin: str, column: str, faults: Faults) -> int | None:
    """The length of the lists, where all are of 0 and 1 and of one length; else 0. None, and a fault, if they are odd.

    Lists of class numbers have no number twice; lists of 0 and 1 that differ in length are therefore told apart, and so
    are other numbers for each label: shares, votes, -1 for a label that is not known.
    """
    lists = [parts for value in values if (parts := labels_in_cell(value, joints))]
    binary = [digits for parts in lists if {whole(part) for part in parts} != {"-1"} for digits in [hot(parts)]]
    odd = next((value for value in values if missing_in(value) and hot(labels_in_cell(value) or [""])), None)
    if odd is None and any(digits is None for digits in binary):
        odd = _odd_numbers(lists)
    if odd is not None:
        faults.add(
            f"{origin}: column '{column}' holds lists of numbers such as {odd[:60]}, which are neither a 0 or 1 for each label nor different class numbers. Write a 0 or 1 for each label, or the names of the labels of a row."
        )
        return None
    if not binary or any(digits is None for digits in binary):
        return 0
    lengths = sorted({len(digits) for digits in binary if digits})
    if len(lengths) == 1:
        return lengths[0] if lengths[0] > 1 else 0
    if all(len(set(digits)) == len(digits) for digits in binary if digits):
        return 0
    faults.add(
        f"{origin}: the lists in column '{column}' hold 0 and 1 for each label, but differ in length ({lengths[0]} to {lengths[-1]}). Give each row one number for each label, or write the names of its labels."
    )
    return None


def _odd_numbers(lists: Sequence[Sequence[str]]) -> str | None:
    """The first list of numbers that says something of each label, in its place, other than yes or no; None if none does."""
    numbers = [[number(part) for part in parts] for parts in lists]
    if any(math.isnan(found) for row in numbers for found in row):
        return None
    shares = len({len(row) for row in numbers}) == 1 and all(0 <= found <= 1 for row in numbers for found in row)
    signs = {found for row in numbers for found in row} <= {-1, 0, 1}
    for parts, row in zip(lists, numbers):
        hidden = signs and -1 in row and len({*row}) > 1
        if len(row) > 1 and (hidden or len({*row}) < len(row) or (shares and any(found % 1 for found in row))):
            return f"[{', '.join(parts)}]"
    return None


def _named(labels: Labels, values: list[str]) -> Labels:
    """The labels with the names that occur: sorted, integers by value."""
    if labels.kind == "multi_label":
        parts = {part for value in values for part in labels_in_cell(value, labels.joints) or ()}
    else:
        parts = set(values)
    integers = all(whole(part) for part in parts)
    found = {(whole(part) or part) if integers else part for part in parts}
    return replace(labels, names=tuple(sorted(found, key=Decimal) if integers else sorted(found)), whole=integers)


def _enough(labels: Labels, values: list[str], origin: str, faults: Faults) -> bool:
    """Whether there are classes to tell apart."""
    if labels.kind == "single_label" and len(labels.names) < 2:
        faults.add(
            f"{origin}: every label in column '{labels.column}' is '{labels.names[0]}', but a classifier needs at least two classes. Add rows of another class, or name another column with --label."
        )
        return False
    if not labels.names:
        odd = [value for value in values if labels_in_cell(value, labels.joints) is None]
        if odd:
            faults.add(
                f"{origin}: '{odd[0][:60]}' in column '{labels.column}' is not a list of labels. Write a JSON list of names, or name another column with --label."
            )
            return False
        faults.add(f"{origin}: every list in column '{labels.column}' is empty. Name another column with --label.")
        return False
    return True
