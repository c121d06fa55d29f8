from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.texts import Texts

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
rows_of = {1: st.lists(st.tuples(words), max_size=30), 2: st.lists(st.tuples(words, words), max_size=30)}


def chunked(rows: list[tuple[str, ...]], size: int) -> Texts:
    """The same rows in an Arrow table of many small chunks, as read from a long file."""
    columns = [
        pa.chunked_array(
            [pa.array(c[i : i + size], pa.large_string()) for i in range(0, len(c), size)], pa.large_string()
        )
        for c in zip(*rows)
    ]
    return Texts(pa.table(columns, names=[str(i) for i in range(len(columns))]))


@settings(deadline=None, derandomize=True)
@given(data=st.data(), arity=st.sampled_from([1, 2]))
def test_a_selection_is_the_list_of_its_rows(data: st.DataObject, arity: int) -> None:
    rows = data.draw(rows_of[arity].filter(bool))
    texts = chunked(rows, data.draw(st.integers(1, 7)))
    assert list(texts) == rows
    indices = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=40)), dtype=np.int64)
    taken = texts.take(indices)
    expected = [rows[i] for i in indices]
    assert list(taken) == expected
    assert [taken[i] for i in range(len(taken))] == expected
    assert list(taken[1::2]) == expected[1::2]
    again = np.arange(len(expected))[::-1]
    assert list(taken.take(again)) == expected[::-1]
    joined = Texts.concat([texts, taken, texts])
    assert list(joined) == rows + expected + rows
    assert joined.arity == arity
    if expected:
        assert taken[-1] == expected[-1]


@settings(deadline=None, derandomize=True)
@given(data=st.data(), arity=st.sampled_from([1, 2]))
def test_keys_are_equal_exactly_where_rows_are(data: st.DataObject, arity: int) -> None:
    few = st.text("ab\0", max_size=3)
    rows = data.draw(st.lists(st.tuples(*[few] * arity), min_size=1, max_size=30))
    keys = chunked(rows, 4).keys()
    assert keys.shape == (len(rows),)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(keys == keys[i], [other == row for other in rows])


def test_keys_of_a_selection_are_the_selected_keys() -> None:
    texts = Texts.of(["a", "b", "c"])
    before = texts.take(np.array([2, 0])).keys()
    np.testing.assert_array_equal(texts.keys()[[2, 0]], before)
    np.testing.assert_array_equal(texts.take(np.array([2, 0])).keys(), before)


def test_fingerprint_is_of_the_contents_in_order() -> None:
    rows = [("a", "bc"), ("ab", "c"), ("", "d")]
    texts = Texts.of(rows)
    assert texts.fingerprint == chunked(rows, 1).fingerprint == Texts.of(rows + rows).take(np.arange(3)).fingerprint
    assert len(texts.fingerprint) == 64
    assert texts.fingerprint != texts.take(np.array([1, 0, 2])).fingerprint
    assert Texts.of([("ab", "c")]).fingerprint != Texts.of([("a", "bc")]).fingerprint
    assert Texts.of(["a"]).fingerprint != Texts.of(["a", "a"]).fingerprint
    assert Texts.of(["a"]).fingerprint == Texts.of([("a",)]).fingerprint


def test_taking_copies_no_text() -> None:
    texts = Texts.of(["x" * 1000] * 2000)
    before = pa.total_allocated_bytes()
    half = texts.take(np.arange(0, 2000, 2))
    both = Texts.concat([half, texts])
    assert len(both) == 3000
    assert pa.total_allocated_bytes() - before < 100_000


def test_empty() -> None:
    texts = Texts.of([])
    assert len(texts) == 0
    assert list(texts) == []
    assert texts.keys().shape == (0,)
    assert list(Texts.of(["a"]).take(np.array([], dtype=int))) == []


def test_misuse_is_said() -> None:
    with pytest.raises(ValueError, match="rows of"):
        Texts.of([("a",), ("a", "b")])
    with pytest.raises(ValueError, match="pairs"):
        Texts.concat([Texts.of(["a"]), Texts.of([("a", "b")])])
    with pytest.raises(ValueError, match="no texts"):
        Texts.concat([])
    with pytest.raises(IndexError):
        Texts.of(["a"])[1]
    with pytest.raises(IndexError):
        Texts.of(["a"]).take(np.array([-1]))


@pytest.mark.parametrize("arity", [1, 2])
def test_cached_rows_are_made_once_and_not_held_in_memory(arity: int) -> None:
    made, held = [], []
    before = pa.total_allocated_bytes()

    def rows() -> Iterator[tuple[str, ...]]:
        for i in range(30_000):
            made.append(i)
            held.append(pa.total_allocated_bytes() - before)
            yield (f"{i} " + "x" * 500,) * arity

    first, again = (Texts.cached(f"{arity} texts a row", rows) for _ in range(2))
    held.append(pa.total_allocated_bytes() - before)
    assert len(made) == len(first) == len(again) == 30_000
    assert first.fingerprint == again.fingerprint == Texts.of(list(first)).fingerprint
    assert max(held) < 30_000 * 500 / 2  # the strings of one text column alone take twice as much
    assert again[29_999][0].startswith("29999 ")
    assert len(Texts.cached("none", lambda: iter(()))) == 0
