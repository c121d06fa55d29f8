"""Labels: their kind, their names, and a label column as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.labels.cells import JOINTS, has_decimal_comma, hot, labels_in_cell, number, whole
from understudy.data.readers.labels.values import distinct_values, without
from understudy.data.tasks import NO_LABEL, Kind
from understudy.errors import nearest

_UNKNOWN = -1
"""The class index of a value that cannot be read; :data:`NO_LABEL` is a row without a value."""


@dataclass(frozen=True)
class Labels:
    """How the label column of a task is read: learnt from the training rows, used on every split.

    `names` are the classes, empty for regression. `whole` means that all of them are integers, so ``1.0`` reads as
    ``1``. `hot` means that a cell is a list of 0 and 1, one for each name.
    """

    column: str
    kind: Kind
    names: tuple[str, ...]
    whole: bool
    hot: bool = False
    joints: str = JOINTS
    """What may stand between the labels of a cell."""
    lowest: float = -math.inf
    """The smallest target of the training rows."""
    given: bool = False
    """Whether the user named the classes; otherwise they are those of the training rows."""
    columns: tuple[str, ...] = ()
    """The columns that `column` is made of, where there are several."""

    def name(self, value: str) -> str:
        """The class name of a value.

        Example:
            >>> Labels("label", "single_label", (), True).name("1.0")
            '1'
        """
        return (whole(value) or value) if self.whole else value

    def read(self, table: SourceTable, faults: Faults, *, may_hide: bool = False) -> np.ndarray:
        """The label column as numbers.

        Values that cannot be read are faults. A row without a label is NO_LABEL or NaN.

        Args:
            may_hide: a column of nothing but -1 holds no labels.

        Returns:
            Class indices, int64 ``(rows,)``; targets, float32 ``(rows,)``; or 0 and 1, float32 ``(rows, classes)``.
        """
        values, codes = self.cells(table, may_hide=may_hide)
        if self.kind == "single_label":
            numbers = np.array([*map(self._class, values), NO_LABEL], dtype=np.int64)
            self._report(table, values, codes, numbers[:-1] == _UNKNOWN, faults)
            return numbers[codes]
        if self.kind == "regression":
            with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite and is reported
                targets = np.array([number(value) for value in values] + [np.nan]).astype(np.float32)
            self._report(table, values, codes, ~np.isfinite(targets[:-1]), faults)
            return targets[codes]
        rows = np.full((len(values) + 1, len(self.names)), np.nan, dtype=np.float32)
        found = [self._places(value) for value in values]
        for i, places in enumerate(found):
            if places is not None:
                rows[i] = 0
                rows[i, places] = 1
        self._report(table, values, codes, np.array([places is None for places in found], dtype=bool), faults)
        return rows[codes]

    def cells(self, table: SourceTable, *, may_hide: bool = False) -> tuple[list[str], np.ndarray]:
        """The distinct values and each row's index into them, -1 for a row without a label.

        An empty cell of a multi-label column says that the row has none of the labels, unless all cells are empty.
        """
        values, codes = distinct_values(table, self.column, empty=self.kind == "multi_label")
        if not any(values):
            return without(values, codes, lambda value: True)
        if self.hot:
            values, codes = without(values, codes, _is_minus_one)
        unheard = self.lowest >= 0 if self.kind == "regression" else "-1" not in self.names
        if may_hide and unheard and all(map(_is_minus_one, values)):
            return without(values, codes, lambda value: True)
        return values, codes

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each class."""
        return {name: i for i, name in enumerate(self.names)}

    def _class(self, value: str) -> int:
        if self.hot:
            places = self._places(value) or []
            return places[0] if len(places) == 1 else _UNKNOWN
        return self.places.get(self.name(value), _UNKNOWN)

    def _places(self, value: str) -> list[int] | None:
        """The places of a cell's labels among the names; None if it cannot be read."""
        parts = labels_in_cell(value, self.joints)
        if self.hot and parts:
            digits = hot(parts)
            return [i for i, digit in enumerate(digits) if digit] if digits and len(digits) == len(self.names) else None
        named = None if parts is None else [self.name(part) for part in parts]
        if named is None or any(name not in self.places for name in named):
            return None
        return [self.places[name] for name in named]

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
            comma = f" Write {value.replace(',', '.')}." * has_decimal_comma(value)
            return f"'{shown}' in column '{self.column}' is not a finite number, which a regression target must be.{comma} Correct or remove the row, or give --kind single_label if these are classes."
        if self.hot:
            one = ", a single 1 among them" if self.kind == "single_label" else ""
            if self.columns:
                return f"the label columns {quoted(self.columns)} hold {shown}, but each must hold 0 or 1{one}. Correct the row, or empty all of them if it has no label."
            return f"'{shown}' in column '{self.column}' is not a list of {len(self.names)} numbers, each 0 or 1{one}, as in the training rows. Correct it."
        unknown = value
        if self.kind == "multi_label":
            parts = labels_in_cell(value, self.joints)
            if parts is None:
                return f"'{shown}' in column '{self.column}' is not a list of labels. Write a JSON list of names."
            unknown = next(part for part in parts if self.name(part) not in self.names)
        guess = "" if self.whole and whole(unknown) else nearest(unknown, self.names)
        whose, way = ("of the training rows", "add training rows with this label")
        if self.given:
            whose, way = ("that were named", "name it too")
        return f"label '{unknown[:60]}' is not one of {quoted(self.names)}, the labels {whose}.{guess or f' Correct it, or {way}.'}"


def _is_minus_one(value: str) -> bool:
    """Whether a cell holds -1, or a list of nothing else: what stands for a label that is kept back."""
    return {whole(part) for part in labels_in_cell(value) or []} == {"-1"}
