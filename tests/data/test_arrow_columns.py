"""Columns of Arrow against pyarrow's own, and no pandas on the way."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from understudy.data.arrow_columns import number_column, string_column, true_rows, whole_numbers

CELLS = [[], [None], ["a"], ["", "é", None, "日本", "x" * 100_000, None], [str(i) for i in range(5000)]]


@pytest.mark.parametrize("cells", CELLS, ids=["nothing", "null", "one", "mixed", "many"])
def test_strings_are_those_of_pyarrow(cells: list[str | None]) -> None:
    found = string_column(cells)
    found.validate(full=True)
    assert found.equals(pa.array(cells, pa.large_string()))
    whole = pa.array([None if cell is None else len(cell) for cell in cells], pa.int32())
    assert whole_numbers(whole[1:]).tolist() == [-1 if cell is None else len(cell) for cell in cells[1:]]
    mask = pa.array([None if cell is None else cell == "" for cell in cells], pa.bool_())
    assert true_rows(pa.chunked_array([mask, mask])).tolist() == [
        row for row, cell in enumerate([*cells, *cells]) if cell == ""
    ]


def test_half_a_character_is_refused_as_pyarrow_does() -> None:
    with pytest.raises(UnicodeEncodeError):
        string_column(["a", "\ud800"])


def test_numbers_are_those_of_pyarrow() -> None:
    for numbers in (range(3, 9), [5, 6], np.arange(4, dtype=np.int32)):
        assert number_column(numbers).equals(pa.array(list(numbers), pa.int64()))


def test_pandas_stays_away() -> None:
    code = (
        "import sys; import pyarrow.compute as pc; from understudy.data.arrow_columns import *; "
        "cells = string_column(['a', None, 'b']); true_rows(pc.equal(pc.fill_null(cells, EMPTY), EMPTY)); "
        "number_column([1]); whole_numbers(pc.dictionary_encode(cells).indices); assert 'pandas' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert pc.fill_null(string_column([None]), "").to_pylist() == [""]
