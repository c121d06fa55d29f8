"""The demo's data set: how the paragraphs of installed libraries are split."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from understudy.data import pydocs
from understudy.data.docstrings import CUT, SHORTEST, docstrings, paragraphs
from understudy.errors import DataError, OutputError

WORDS = [f"{a}{b}{c}o" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def sentence(rng: np.random.Generator) -> str:
    """A paragraph of nonsense words, long enough to be used and unlike any other."""
    return " ".join(rng.choice(WORDS, 16)).capitalize() + "."


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small libraries of 12 files with 10 docstrings each, in place of the installed ones."""
    rng = np.random.default_rng(0)
    roots = {}
    for name in ("alpha", "beta", "gamma"):
        roots[name] = root = tmp_path / "sources" / name
        for number in range(12):
            folder = root / f"part{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            parts = [f'def f{i}():\n    """Number{name}.\n\n    {sentence(rng)}\n    """\n' for i in range(10)]
            (folder / f"module{number}.py").write_text("\n".join(parts), encoding="utf-8")
    monkeypatch.setattr(pydocs, "installed_libraries", lambda: roots)
    return tmp_path / "sources"


def read(folder: Path) -> dict[str, list[tuple[str, str]]]:
    splits: dict[str, list[tuple[str, str]]] = {}
    for name in ("train", "validation", "test"):
        with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
            splits[name] = [(row["text"], row["label"]) for row in csv.DictReader(file, strict=True)]
    splits["pool"] = [(line, "") for line in (folder / "pool.txt").read_text(encoding="utf-8").split("\n")[:-1]]
    return splits


SIZES = {"labelled": 60, "validation": 15, "test": 45, "pool": 120}


def test_splits_have_the_sizes_asked_for_and_are_balanced(libraries: Path, tmp_path: Path) -> None:
    counts = pydocs.write_pydocs(tmp_path / "out", **SIZES)
    splits = read(tmp_path / "out")
    assert counts == {"train": 60, "validation": 15, "test": 45, "pool": 120, "repeats": 0}
    assert {name: len(rows) for name, rows in splits.items()} == {k: v for k, v in counts.items() if k != "repeats"}
    for name in ("train", "validation", "test"):
        assert set(Counter(label for _, label in splits[name]).values()) == {len(splits[name]) // 3}


def test_no_text_is_in_two_places_and_no_file_on_both_sides(libraries: Path, tmp_path: Path) -> None:
    pydocs.write_pydocs(tmp_path / "out", **SIZES)
    splits = read(tmp_path / "out")
    texts = [text for rows in splits.values() for text, _ in rows]
    assert len(set(texts)) == len(texts)
    home = {
        text: path
        for path in libraries.rglob("*.py")
        for docstring in docstrings(path.read_bytes())
        for text in paragraphs(docstring)
    }
    files = {name: {home[text] for text, _ in rows} for name, rows in splits.items()}
    learn = files["train"] | files["pool"]
    assert not learn & files["test"]
    assert not learn & files["validation"]
    assert not files["validation"] & files["test"]


def test_the_seed_alone_decides(libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pydocs.write_pydocs(tmp_path / "first", **SIZES, seed=4)
    walk = os.walk

    def backwards(*args: object, **kwargs: object) -> object:
        for path, folders, files in walk(*args, **kwargs):  # type: ignore[arg-type]
            folders.reverse()
            yield path, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    pydocs.write_pydocs(tmp_path / "again", **SIZES, seed=4)
    pydocs.write_pydocs(tmp_path / "other", **SIZES, seed=5)
    assert read(tmp_path / "first") == read(tmp_path / "again")
    assert read(tmp_path / "first") != read(tmp_path / "other")


def test_held_out_rows_do_not_depend_on_the_size_of_the_pool(libraries: Path, tmp_path: Path) -> None:
    sizes = {"labelled": 30, "validation": 15, "test": 45}
    pydocs.write_pydocs(tmp_path / "small", **sizes, pool=30)
    pydocs.write_pydocs(tmp_path / "large", **sizes, pool=10_000)
    small, large = read(tmp_path / "small"), read(tmp_path / "large")
    assert (small["test"], small["validation"]) == (large["test"], large["validation"])
    assert len(large["pool"]) > 100


def test_repetitions_are_dropped_and_counted(libraries: Path, tmp_path: Path) -> None:
    copied = (libraries / "alpha" / "part0" / "module0.py").read_text(encoding="utf-8")
    (libraries / "beta" / "copy.py").write_text(copied.replace('.\n    """', ', too.\n    """'), encoding="utf-8")
    counts = pydocs.write_pydocs(tmp_path / "out", labelled=60, validation=15, test=45, pool=10_000)
    assert counts["repeats"] == 10
    stems = [
        text.removesuffix(".").removesuffix(", too") for rows in read(tmp_path / "out").values() for text, _ in rows
    ]
    assert len(set(stems)) == len(stems)


def test_too_few_paragraphs_and_unwritable_folders_are_said(libraries: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test: 9000 paragraphs asked for, .*alpha, beta, gamma.* Ask for fewer"):
        pydocs.write_pydocs(tmp_path / "out", labelled=9, validation=9, test=9000, pool=0)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        pydocs.write_pydocs(tmp_path / "file" / "out", **SIZES)


def test_one_library_is_not_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydocs, "installed_libraries", lambda: {"numpy": tmp_path})
    with pytest.raises(DataError, match="found numpy"):
        pydocs.write_pydocs(tmp_path / "out")


def test_a_missing_library_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydocs, "LIBRARIES", {"numpy": "numpy", "nowhere": "a_package_that_is_not_there"})
    assert list(pydocs.installed_libraries()) == ["numpy", pydocs.STANDARD_LIBRARY]


def test_installed_libraries_make_the_data_set_without_being_imported(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from understudy.data.pydocs import write_pydocs\n"
        f"write_pydocs(Path({str(tmp_path)!r}), labelled=70, validation=14, test=35, pool=140)\n"
        "assert not {'torch', 'transformers', 'pandas', 'sklearn'} & set(sys.modules), 'a library was imported'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    splits = read(tmp_path)
    assert {"numpy", "scipy", "scikit-learn", "torch", "transformers", "standard library"} <= {
        label for _, label in splits["train"]
    }
    named = re.compile(
        r"num ?py|sci ?py|torch|pandas|sklearn|scikit|transformers|hugging ?face|python|\b(np|pd|plt)\.", re.I
    )
    for rows in splits.values():
        for text, _ in rows:
            assert not named.search(text), text
            assert SHORTEST <= len(text) <= CUT
            assert text == " ".join(text.split())
