"""The hashes of the rows that a model learnt from, against sets of the texts themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.checksums import DamagedFile
from understudy.data.learnt_rows import LearntRows
from understudy.data.texts import Texts

some = st.lists(st.text(max_size=4), min_size=1, max_size=40)


def keys(texts: list[str]) -> np.ndarray:
    return Texts.of(texts).keys()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(learnt=some, asked=some)
def test_rows_are_found_as_in_a_set(learnt: list[str], asked: list[str]) -> None:
    expected = sum(text in set(learnt) for text in asked)
    assert LearntRows.of(keys(learnt)).among(keys(asked)) == (expected, True)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(one=some, other=some, most=st.integers(1, 20))
def test_a_union_of_samples_is_the_sample_of_the_union(one: list[str], other: list[str], most: int) -> None:
    """Whatever the order, and however many are kept of each."""
    united = LearntRows.united([LearntRows.of(keys(texts), most=most) for texts in (one, other)], most=most)
    whole = LearntRows.of(keys([*other, *one]), most=most)
    assert united.hashes.tolist() == whole.hashes.tolist()
    assert united.among(keys(one)) == whole.among(keys(one))


def test_many_rows_are_a_sample_of_bounded_size() -> None:
    """5,000 of 20,000 texts are kept: of 4,000 rows, a quarter of them learnt from, about a quarter is found."""
    texts = [f"text {i}" for i in range(20_000)]
    learnt = LearntRows.of(keys(texts), most=5_000)
    assert len(learnt.hashes) == 5_000
    assert learnt.hashes.tolist() == LearntRows.of(keys(texts[::-1]), most=5_000).hashes.tolist()
    number, exact = learnt.among(keys([*texts[:1_000], *(f"other {i}" for i in range(3_000))]))
    assert not exact
    assert abs(number - 1_000) < 4 * np.sqrt(1_000 / 0.25)  # four standard errors of a sample of a quarter


def test_the_file_holds_what_was_saved_and_no_text(tmp_path: Path) -> None:
    learnt = LearntRows.of(keys(["a quiet film", "a loud film"]))
    learnt.save(tmp_path)
    (path,) = tmp_path.iterdir()
    again = LearntRows.load(path)
    assert (again.hashes.tolist(), again.below) == (learnt.hashes.tolist(), learnt.below)
    assert b"film" not in path.read_bytes()
    assert path.stat().st_size < 64
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile):
        LearntRows.load(path)
    with pytest.raises(FileNotFoundError):
        LearntRows.load(tmp_path / "nowhere" / "learnt_rows.bin")
