"""The demo's data set: which library does this paragraph of documentation belong to?

Paragraphs come from the docstrings of installed packages, so the demo downloads nothing. Sources are parsed with
:mod:`ast` and never imported. Neither a name nor a copy gives the answer away: names of libraries are masked, a file
goes to one split as a whole, and a paragraph that repeats another one is dropped.
"""

from __future__ import annotations

import csv
import gc
import hashlib
import importlib.util
import os
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from understudy.data.docstrings import docstrings, paragraphs
from understudy.errors import DataError, OutputError

LIBRARIES: Mapping[str, str] = {
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
    "transformers": "transformers",
}
"""Label to package. Packages that are not installed are left out; :data:`STANDARD_LIBRARY` is always there."""

STANDARD_LIBRARY = "standard library"

_PER_FILE = 60
"""The most paragraphs taken from one file: many files are more varied than one long file."""

_SKIPPED = {
    "tests", "test", "testing", "_testing", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo",
    "externals", "vendored", "_vendor", "array_api_compat", "array_api_extra",
}  # fmt: skip
"""Folders that are left out: tests, programs, and copies of one library inside another."""

_SHINGLE = 5
"""Paragraphs are compared by sequences of so many words. If more than half of them are known, it is a repetition."""

_WORD = re.compile(r"[a-z0-9]+")


def write_pydocs(
    folder: Path, *, labelled: int = 1500, validation: int = 300, test: int = 1500, pool: int = 5000, seed: int = 0
) -> dict[str, int]:
    """Write ``train.csv``, ``validation.csv``, ``test.csv`` (columns text, label) and ``pool.txt`` (one text a line).

    Every split has equal numbers of paragraphs from each library, as far as there are enough. A source file belongs to
    the test split, to the validation split, or to training and pool together. The result depends only on the seed and
    the installed versions.

    Args:
        folder: created if it is missing.
        labelled: rows of ``train.csv``.
        validation: rows of ``validation.csv``.
        test: rows of ``test.csv``.
        pool: the most lines of ``pool.txt``; there are fewer if the libraries have fewer paragraphs.
        seed: chooses files and paragraphs.

    Returns:
        The rows written, under ``train``, ``validation``, ``test`` and ``pool``; and under ``repeats`` the number of
        paragraphs that were dropped because they repeat another one.

    Raises:
        DataError: if the installed libraries have too few paragraphs for the labelled splits.
        OutputError: if the folder cannot be written.
    """
    roots = installed_libraries()
    if len(roots) < 2:
        raise DataError(
            "the documentation data needs the sources of at least two libraries, "
            f"but found {', '.join(roots) or 'none'} (looked for {', '.join(LIBRARIES)} and the {STANDARD_LIBRARY}). Install one of them."
        )
    wanted = {"test": test, "validation": validation, "learn": labelled}
    quotas = {split: -(-rows // len(roots)) for split, rows in wanted.items()}
    quotas |= {split: quotas[split] * 5 // 4 for split in ("test", "validation")}  # in case one library has too little
    # Training and pool come from one set of files: only the held-out splits must not see copies.
    wanted["learn"] += pool
    extra = -(-pool // len(roots))
    seen: set[bytes] = set()
    repeats = 0
    found: dict[str, dict[str, list[str]]] = {}
    for label, root in roots.items():
        found[label], dropped = _collect(label, root, quotas, extra=extra, seed=seed, seen=seen)
        repeats += dropped
    rows: dict[str, list[tuple[str, str]]] = {}
    for split, count in wanted.items():
        by_label = {label: splits[split] for label, splits in found.items()}
        rows[split] = _draw(by_label, count, seed=f"{seed}:{split}")
    learn = _draw(_by_label(rows["learn"]), labelled, seed=f"{seed}:train")
    taken = set(learn)
    rest = [row for row in rows["learn"] if row not in taken]
    sheets = {"train": learn, "validation": rows["validation"], "test": rows["test"]}
    for (split, sheet), count in zip(sheets.items(), (labelled, validation, test)):
        if len(sheet) < count:
            raise DataError(
                f"{split}: {count} paragraphs asked for, but the installed libraries ({', '.join(roots)}) "
                f"have only {len(sheet)} for it. Ask for fewer."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, sheet in sheets.items():
            with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("text", "label"), *sheet])
        (folder / "pool.txt").write_text("".join(f"{text}\n" for text, _ in rest), encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}). Name another folder.") from error
    return {**{split: len(sheet) for split, sheet in sheets.items()}, "pool": len(rest), "repeats": repeats}


def installed_libraries() -> dict[str, Path]:
    """The label and the source folder of each installed library; none is imported.

    Example:
        >>> "numpy" in installed_libraries()
        True
    """
    roots: dict[str, Path] = {}
    for label, package in LIBRARIES.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            roots[label] = Path(next(iter(spec.submodule_search_locations)))
    roots[STANDARD_LIBRARY] = Path(sysconfig.get_path("stdlib"))
    return {label: root for label, root in roots.items() if next(_sources(root), None) is not None}


def _sources(root: Path) -> Iterator[str]:
    """The Python files below `root` as relative paths with forward slashes. Their order is not defined."""
    for path, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in files:
            if name.endswith(".py"):
                yield Path(path, name).relative_to(root).as_posix()


def _collect(
    label: str, root: Path, quotas: Mapping[str, int], *, extra: int, seed: int, seen: set[bytes]
) -> tuple[dict[str, list[str]], int]:
    """The paragraphs of one library for every split, and the number of repetitions dropped.

    The seed gives the order of the files. Each file goes as a whole to the split that is emptiest relative to its
    size. Once the splits are full, files go to "learn" until it has `extra` more for the pool, so the files of the
    held-out splits do not depend on the size of the pool.
    """
    splits: dict[str, list[str]] = {split: [] for split in quotas}
    repeats = 0
    order = sorted(_sources(root), key=lambda name: hashlib.sha256(f"{seed}:{label}:{name}".encode()).digest())
    with _no_garbage_collection():
        for name in order:
            open_splits = [split for split, quota in quotas.items() if len(splits[split]) < quota]
            if not open_splits and len(splits["learn"]) >= quotas["learn"] + extra:
                break
            try:
                source = (root / name).read_bytes()
            except OSError:
                continue  # a broken link, or a file without permission to read
            texts = [text for docstring in docstrings(source) for text in paragraphs(docstring)]
            new: list[str] = []
            for text in random.Random(f"{seed}:{name}").sample(texts, len(texts))[:_PER_FILE]:
                shingles = set(_shingles(text))
                if len(shingles & seen) * 2 > len(shingles):
                    repeats += 1
                    continue
                seen |= shingles
                new.append(text)
            emptiest = min(open_splits, key=lambda split: len(splits[split]) / quotas[split], default="learn")
            splits[emptiest] += new
    return splits, repeats


def _shingles(text: str) -> Iterator[bytes]:
    """Short hashes of every few consecutive words, ignoring case and punctuation."""
    words = _WORD.findall(text.lower())
    for start in range(max(1, len(words) - _SHINGLE + 1)):
        yield hashlib.blake2b(" ".join(words[start : start + _SHINGLE]).encode(), digest_size=8).digest()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are many objects without cycles: searching them for cycles doubles the parsing time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_label(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Rows of (text, label) as a list of texts for each label."""
    texts: dict[str, list[str]] = {}
    for text, label in rows:
        texts.setdefault(label, []).append(text)
    return texts


def _draw(by_label: Mapping[str, Sequence[str]], count: int, *, seed: str) -> list[tuple[str, str]]:
    """`count` rows of (text, label) in random order, with labels as balanced as their numbers allow."""
    rng = random.Random(seed)
    left, drawn = count, []
    scarcest_first = sorted(by_label, key=lambda label: (len(by_label[label]), label))
    for position, label in enumerate(scarcest_first):
        share = min(len(by_label[label]), -(-left // (len(scarcest_first) - position)))
        drawn += [(text, label) for text in rng.sample(by_label[label], share)]
        left -= share
    rng.shuffle(drawn)
    return drawn
