"""The cache folder, and Arrow files that are written once and mapped from there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from understudy.data.cache import cache_dir, map_arrow, write_arrow


def test_cache_dir_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERSTUDY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "understudy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "understudy"


def batches(rows: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"number": [row]}) for row in range(rows)]


def test_what_is_written_is_mapped_again_with_what_was_said_of_it(tmp_path: Path) -> None:
    written = write_arrow(tmp_path / "a.arrow", batches(3), about=lambda: {"unit": "line"})
    mapped = map_arrow(tmp_path / "a.arrow")
    assert written is not None
    assert mapped is not None
    for table, about in (written, mapped):
        assert table.column("number").to_pylist() == [0, 1, 2]
        assert about == {"unit": "line"}


def test_a_file_without_rows_or_not_to_be_kept_is_not_there(tmp_path: Path) -> None:
    assert write_arrow(tmp_path / "a.arrow", []) is None
    found = write_arrow(tmp_path / "b.arrow", batches(2), keep=lambda: False)
    assert found is not None
    assert len(found[0]) == 2
    assert list(tmp_path.iterdir()) == []
    assert map_arrow(tmp_path / "b.arrow") is None
