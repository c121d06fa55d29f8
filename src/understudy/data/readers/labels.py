"""Labels: their kind, their names, and a label column as numbers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults, quoted
from understudy.data.tasks import NO_LABEL, Kind
from understudy.errors import nearest

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d{0,99}))(?:\.0*)?")
"""A whole number. What has more digits is a name: Python reads no number of 5,000 digits."""
_UNKNOWN = -1
"""The class index of a value that cannot be read; :data:`NO_LABEL` is a row without a value."""

_NUMBERS_SHARE = 0.9
"""A column counts as numbers if at least this share of its values are; the other values are faults, not classes."""


@dataclass(frozen=True)
class Labels:
    """How the label column of a task is read: learnt from the training rows, used on every split.

    `names` are the classes, empty for regression. `whole` means that all of them are integers, so ``1.0`` reads as
    ``1``.
    """

    column: str
    kind: Kind
    names: tuple[str, ...]
    whole: bool

    @classmethod
    def learn(cls, table: SourceTable, column: str, kind: Kind | None, faults: Faults) -> Labels | None:
        """Find the kind and the names in the training rows; None if `faults` were added."""
        values, _ = distinct_values(table, column)
        origin = table.origin
        if not values:
            faults.add(
                f"{origin}: no row has a label in column '{column}'. Label some rows, or name another column with --label."
            )
            return None
        lists = column in table.lists
        if lists and kind not in (None, "multi_label"):
            faults.add(
                f"{origin}: column '{column}' holds lists, but {kind} labels are not lists. Leave --kind out, or name another column with --label."
            )
            return None
        kind = kind or infer_kind(values, column, lists=lists)
        if kind == "regression":
            return cls(column, kind, (), False)
        if kind == "multi_label":
            parts = {part for value in values for part in labels_in_cell(value) or ()}
        else:
            parts = set(values)
        whole = all(_WHOLE.fullmatch(part) or _is_nan(part) for part in parts)
        labels = cls(column, kind, (), whole)
        found = {name for name in map(labels.name, parts) if name is not None}
        names = tuple(sorted(found, key=int) if whole else sorted(found))
        if kind == "single_label" and len(names) < 2:
            only = (
                f"every label in column '{column}' is '{names[0]}'"
                if names
                else f"no row has a label in column '{column}'"
            )
            faults.add(
                f"{origin}: {only}, but a classifier needs at least two classes. Add rows of another class, or name another column with --label."
            )
            return None
        if not names:
            faults.add(f"{origin}: every list in column '{column}' is empty. Name another column with --label.")
            return None
        return cls(column, kind, names, whole)

    def name(self, value: str) -> str | None:
        """The class name of a value; None if the value means that there is no label.

        Example:
            >>> Labels("label", "single_label", (), True).name("1.0")
            '1'
        """
        if not self.whole:
            return value
        match = _WHOLE.fullmatch(value)
        if match is None:
            return None if _is_nan(value) else value
        return str(int(match[1]))

    def read(self, table: SourceTable, faults: Faults) -> np.ndarray:
        """The label column as numbers.

        Values that cannot be read are faults. A row without a label is NO_LABEL or NaN.

        Returns:
            Class indices, int64 ``(rows,)``; targets, float32 ``(rows,)``; or 0 and 1, float32 ``(rows, classes)``.
        """
        values, codes = distinct_values(table, self.column)
        if self.kind == "single_label":
            places = {name: i for i, name in enumerate(self.names)}
            numbers = np.array([self._class(value, places) for value in [*values, None]], dtype=np.int64)
            self._report(table, values, codes, numbers == _UNKNOWN, faults)
            return numbers[codes]
        if self.kind == "regression":
            with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite and is reported
                targets = np.array([_number(value) for value in values] + [np.nan]).astype(np.float32)
            self._report(table, values, codes, ~np.isfinite(targets[:-1]), faults)
            return targets[codes]
        rows = np.full((len(values) + 1, len(self.names)), np.nan, dtype=np.float32)
        bad = np.zeros(len(values), dtype=bool)
        places = {name: i for i, name in enumerate(self.names)}
        for i, value in enumerate(values):
            parts = [self.name(part) for part in labels_in_cell(value) or ()]
            bad[i] = labels_in_cell(value) is None or any(part not in places for part in parts)
            if not bad[i]:
                rows[i] = 0
                rows[i, [places[part] for part in parts if part is not None]] = 1
        self._report(table, values, codes, bad, faults)
        return rows[codes]

    def _class(self, value: str | None, places: dict[str, int]) -> int:
        name = None if value is None else self.name(value)
        return NO_LABEL if name is None else places.get(name, _UNKNOWN)

    def _report(
        self, table: SourceTable, values: list[str], codes: np.ndarray, bad: np.ndarray, faults: Faults
    ) -> None:
        rows = np.flatnonzero(np.isin(codes, np.flatnonzero(bad)))
        what = (
            f"whose '{self.column}' is not a finite number"
            if self.kind == "regression"
            else f"with an unknown label in '{self.column}'"
        )
        faults.rows(table.origin, what, rows, lambda row: f"{table.where(row)}: {self._fault(values[codes[row]])}")

    def _fault(self, value: str) -> str:
        shown = value if len(value) <= 60 else value[:57] + "..."
        if self.kind == "regression":
            return f"'{shown}' in column '{self.column}' is not a finite number, which a regression target must be. Correct or remove the row, or give --kind single_label if these are classes."
        unknown = value
        if self.kind == "multi_label":
            parts = labels_in_cell(value)
            if parts is None:
                return f"'{shown}' in column '{self.column}' is not a list of labels. Write a JSON list of names."
            unknown = next(part for part in parts if self.name(part) not in self.names)
        guess = nearest(unknown, self.names)
        return f"label '{unknown[:60]}' is not one of {quoted(self.names)}, the labels of the training rows.{guess or ' Correct it, or add training rows with this label.'}"


def distinct_values(table: SourceTable, column: str) -> tuple[list[str], np.ndarray]:
    """The distinct values of a column, without white space around them, and each row's index into them.

    The index of a row without a value is -1.
    """
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(table.cells.column(column)).combine_chunks())
    values = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if "" in values:
        empty = values.index("")
        codes = np.where(codes == empty, -1, codes - (codes > empty))
        values.pop(empty)
    return values, codes


def missing_labels(table: SourceTable, labels: Labels) -> np.ndarray:
    """The numbers of the rows whose label cell is empty (or not-a-number, if the classes are integers)."""
    values, codes = distinct_values(table, labels.column)
    if labels.kind == "single_label":
        codes = np.where(np.isin(codes, [i for i, value in enumerate(values) if labels.name(value) is None]), -1, codes)
    return np.flatnonzero(codes < 0)


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
    numbers = [value for value in values if not math.isnan(_number(value)) or _is_nan(value)]
    fractions = any(
        not _WHOLE.fullmatch(value) and math.isfinite(_number(value)) and _number(value) % 1 for value in numbers
    )
    return "regression" if fractions and len(numbers) >= _NUMBERS_SHARE * len(values) else "single_label"


def labels_in_cell(value: str) -> list[str] | None:
    """The labels in one cell: a JSON list, or names with ``|`` or ``;`` between them; None if it is neither.

    Example:
        >>> labels_in_cell('["a", 3]'), labels_in_cell("a|b"), labels_in_cell("[]"), labels_in_cell("[oops")
        (['a', '3'], ['a', 'b'], [], None)
    """
    if not value.startswith("["):
        return [part.strip() for part in re.split(r"[|;]", value) if part.strip()]
    try:
        parts = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(part, str | int | float) for part in parts):
        return None
    return [part.strip() if isinstance(part, str) else json.dumps(part) for part in parts]


def _number(value: str) -> float:
    """The value as a number, or NaN. Python reads '1_000' as a number, but in a data file it is a name."""
    try:
        return math.nan if "_" in value else float(value)
    except ValueError:
        return math.nan


def _is_nan(value: str) -> bool:
    return value.lower() == "nan"
