"""A byte that changes after a file was written: noticed wherever it stands, in whatever file."""

from __future__ import annotations

import csv
import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.tokens.test_encode import make_tokenizer

from understudy.checksums import DamagedFile, check_listed, list_checksums, saved_files, seal, still_sound, verified
from understudy.data.cache import cache_dir
from understudy.data.readers.cached_tables import read_table
from understudy.data.readers.faults import Faults
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.errors import ConfigError
from understudy.inference.predictor import LinearPredictor
from understudy.models.tfidf import Tfidf
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.training.checkpoint import load_checkpoint, random_state, save_checkpoint

ROWS = [(f"a {word} film {number}",) for number, word in enumerate(["good", "bad"] * 10)]


def written(path: Path, content: bytes) -> Path:
    """A file with its checksum."""
    with open(path, "w+b") as file:
        file.write(content)
        seal(file)
    return path


@settings(deadline=None, derandomize=True, max_examples=30)
@given(content=st.binary(max_size=40), data=st.data())
def test_every_change_is_noticed(tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject) -> None:
    path = written(tmp_path_factory.mktemp("sealed") / "file", content)
    whole = path.read_bytes()
    assert verified(path) == len(content)
    assert whole.startswith(content)
    at, bits = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    changed = [whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :], whole[:at], whole + bytes([bits])]
    for damaged in changed:
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            verified(path)


def test_a_cached_file_is_sound_or_damaged_or_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "set.npy", b"12345678" * 100_000)  # more than is read at once
    assert still_sound(path) == 800_000
    assert still_sound(tmp_path / "nothing") is None
    assert capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes().replace(b"1", b"3", 1))
    assert still_sound(path) is None
    assert capsys.readouterr().err == f"  {path}: is damaged (its checksum is wrong). It is made again.\n"
    path.write_bytes(b"as earlier versions wrote it")
    assert still_sound(path, remove=path) is None
    assert "it has no checksum: its end is lost, or an earlier version wrote it" in capsys.readouterr().err
    assert not path.exists()
    assert still_sound(path / "below a file that is not there") is None
    assert still_sound(tmp_path) is None
    assert f"{tmp_path}: is damaged (it cannot be read: Is a directory)" in capsys.readouterr().err


def test_a_folder_lists_its_checksums(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("12345")
    check_listed(tmp_path, weights=True)  # without a list nothing is compared
    list_checksums(tmp_path, without="config.json")
    (tmp_path / "config.json").write_text("edited")
    (tmp_path / "added").touch()
    for weights, name in ((True, "model.safetensors"), (False, "tokenizer.json")):
        check_listed(tmp_path, weights=weights)
        (tmp_path / name).write_text("12346")
        with pytest.raises(DamagedFile, match=f"{name} is not what was saved"):
            check_listed(tmp_path, weights=weights)
        (tmp_path / name).unlink()
        with pytest.raises(DamagedFile, match=f"{name} was saved there, but is missing"):
            check_listed(tmp_path, weights=weights)
    assert saved_files(tmp_path) == {"checksums.json", "config.json", "model.safetensors", "tokenizer.json"}
    for damaged in ("[", "[1]"):
        (tmp_path / "checksums.json").write_text(damaged)
        with pytest.raises(DamagedFile, match="cannot be read"):
            check_listed(tmp_path, weights=True)
        assert saved_files(tmp_path) == set()


# --- one byte of the cache, wherever it stands ---------------------------------------------------------------------------


def table(folder: Path) -> Any:
    """A source file, through its Arrow table."""
    path = folder / "train.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((*row, "x") for row in ROWS)])
    found = read_table(path, "train.csv", Faults())
    assert found is not None
    return found.cells.to_pylist(), found.lines.to_pylist()


def copies(folder: Path) -> Any:
    """Rows that are made once, such as copies of augmentation."""
    return list(Texts.cached("copies", lambda: iter(ROWS)))


def encodings(folder: Path) -> Any:
    """Token ids of pairs, which have segments."""
    found = encode(Texts.of([(text, "a b") for (text,) in ROWS]), make_tokenizer(), max_length=16)
    assert found.segments is not None
    return found.ids.tolist(), found.offsets.tolist(), found.segments.tolist(), found.pad_id, found.padding_side


def answers(folder: Path) -> Any:
    """A teacher's logits."""
    return CachedTeacher.label(teacher(), Texts.of(ROWS))(np.arange(len(ROWS))).tolist()


@functools.cache
def teacher() -> LinearPredictor:
    """TF-IDF, which answers quickly."""
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))
    return LinearPredictor(Tfidf.fit(ROWS[:2], np.array([1, 0]), task))


def shards(folder: Path) -> Any:
    """The same from the shards of its jobs, without the assembled set."""
    for path in cache_dir().glob("teacher_logits/*/sets/*"):
        path.unlink()
    return answers(folder)


def flipped(path: Path, rng: random.Random) -> bytes:
    """Change a bit of a file; what it held before."""
    before = path.read_bytes()
    content = bytearray(before)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return before


@pytest.mark.parametrize("made", [table, copies, encodings, answers, shards])
def test_a_damaged_cache_is_made_again(
    made: Callable[[Path], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = made(tmp_path)
    files = sorted(path for path in cache_dir().rglob("*") if path.is_file())
    if made is shards:
        files = [path for path in files if path.parent.parent.name == "jobs"]
    if made is answers:
        files = [path for path in files if path.parent.name == "sets"]
    rng = random.Random(0)
    for number in range(40):
        path = files[number % len(files)]
        before = flipped(path, rng)
        assert made(tmp_path) == expected
        assert f"  {path}: is damaged (" in capsys.readouterr().err
        assert path.read_bytes() == before
    assert made(tmp_path) == expected
    assert capsys.readouterr().err == ""


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path, rng = tmp_path / "train.pt", random.Random(1)
    save_checkpoint(path, {"model": {"w": torch.randn(30)}, "random": random_state(), "step": 4})
    for _ in range(100):
        before = flipped(path, rng)
        with pytest.raises(ConfigError, match=r"train\.pt: the checkpoint is damaged .* Give --overwrite in place of"):
            load_checkpoint(path)
        path.write_bytes(before)
    assert load_checkpoint(path) is not None
