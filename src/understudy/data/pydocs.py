"""The embedded data set: which library does this paragraph of documentation belong to?

Paragraphs come from the docstrings of packages that are installed anyway, so the demo needs no download. Sources are
parsed with :mod:`ast`, never imported. The names of the libraries are masked, whole files go to one split, and a
paragraph that repeats another one is dropped, so that neither the name nor a copy gives the answer away.
"""

from __future__ import annotations

import ast
import csv
import gc
import hashlib
import importlib.util
import inspect
import os
import random
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import DataError, OutputError

LIBRARIES: Mapping[str, str] = {
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
    "transformers": "transformers",
}
"""Label to package; :data:`STANDARD_LIBRARY` joins them. Those that are not installed are left out."""

STANDARD_LIBRARY = "standard library"

MASK = "[library]"
"""Stands where a library was named: the same token for all of them."""

SHORTEST, LONGEST, CUT = 80, 600, 300
"""Characters of a paragraph that is used, and where it is cut, at a sentence end, to keep the demo fast."""

_PER_FILE = 60
"""Paragraphs taken of one file: many files say more than one long file."""

_SKIPPED = {
    "tests", "test", "testing", "_testing", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo",
    "externals", "vendored", "_vendor", "array_api_compat", "array_api_extra",
}  # fmt: skip
"""Folders that are left out: tests, programs, and code of one library inside another."""

_SHINGLE = 5
"""Words in a row that are compared: a paragraph with more than half of them known is a repetition."""

_NAMES = re.compile(
    r"""
    (?: numpy | scipy | scikits? [-_ ]? (?:learn)? | sklearn | pandas | (?: py | execu )? torch | transformers | cpython | python
      | hugging [ -]? face | matplotlib ) (?: \.org | \.pydata\.org | \.co \b )?
    | \b (?: np | npt | pd | plt | sp | nn ) (?= \. )      # import aliases stand before a dot
    | \b (?: np | pd | hf ) \b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNDERLINE = re.compile(r"[-=~^*#\"']{3,}")
_SECTIONS = {
    "args", "arguments", "attributes", "examples", "example", "methods", "other parameters", "parameters", "raises",
    "references", "return", "returns", "see also", "warns", "yields",
}  # fmt: skip
_NOT_PROSE = re.compile(
    r"[^\w\"'(`:]|\w+ ?:(?!\w)|:(?:param|type|return|rtype|raises)|\d+[.)]|@\w|`{2,}`|\w+ *\(.*\):?$"
)
_LINK = re.compile(r"\[([^\[\]]+)\]\([^()\s]*\)|`([^`<]+) ?<[^`>]*>`_*|https?://\S+|\[[\d, ]+\]_?")
_MARKUP = re.compile(r":(?:\w+:)?\w+:(?=`)|[`|]|~(?=[A-Za-z_.])|\*\*")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_WORD = re.compile(r"[a-z0-9]+")


def paragraphs(docstring: str) -> Iterator[str]:
    """The running text of a docstring, paragraph by paragraph, markup stripped, library names masked.

    Doctests, code, parameter tables, lists and directives are left out, and so is what is shorter than
    :data:`SHORTEST` or longer than :data:`LONGEST`. The rest is cut at the last sentence end within :data:`CUT`.

    Example:
        >>> list(paragraphs('''Sum of the elements of an array over one of its axes, as ``np.add`` would do it.
        ...
        ... >>> np.sum([1, 2])
        ... 3
        ... '''))
        ['Sum of the elements of an array over one of its axes, as [library].add would do it.']
    """
    section = ""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = block.strip("\n").split("\n")
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
            section, lines = lines[0].strip().lower(), lines[2:]
        if not lines or section in _SECTIONS or any(line[:1].isspace() or ">>>" in line for line in lines):
            continue
        if lines[0].rstrip().endswith(":") or any(_NOT_PROSE.match(line) for line in lines):
            continue
        text = mask_names(_MARKUP.sub("", _LINK.sub(lambda match: match[1] or match[2] or "", " ".join(lines))))
        text = _cut(" ".join(text.split()))
        if len(text) >= SHORTEST and sum(char.isalpha() or char == " " for char in text) >= 0.85 * len(text):
            yield text


def mask_names(text: str) -> str:
    """Every name of a library, alone or inside an identifier, and every import alias, replaced by :data:`MASK`.

    Example:
        >>> mask_names("See np.dot, torch.nn.Linear and scikit-learn's is_pandas_df.")
        "See [library].dot, [library].[library].Linear and [library]'s is_[library]_df."
    """
    return _NAMES.sub(MASK, text)


def _cut(text: str) -> str:
    """`text` up to its last sentence end within the limit; nothing where it is too long or has no such end."""
    if len(text) > LONGEST:
        return ""
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= CUT]
    return text[: ends[-1]] if ends else ""


def docstrings(source: bytes) -> Iterator[str]:
    """The docstrings of a module, its classes and functions, in the order of the file; none if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    # Statements only: docstrings never stand inside expressions, and there are far more of those.
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node, clean=False)
            if found:
                yield found
        for field in ("orelse", "body"):
            children = getattr(node, field, None)
            if isinstance(children, list):
                todo += [child for child in reversed(children) if isinstance(child, ast.stmt)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # numpy's add_newdoc, torch's add_docstr
            for value in node.value.args:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and len(value.value) > SHORTEST:
                    yield value.value


def write_pydocs(
    folder: Path, *, labelled: int = 1500, validation: int = 300, test: int = 1500, pool: int = 5000, seed: int = 0
) -> dict[str, int]:
    """Write ``train.csv``, ``validation.csv``, ``test.csv`` (columns text, label) and ``pool.txt`` (one text a line).

    Every split holds the libraries in equal numbers, as far as there are enough paragraphs. A file of source code is
    in the test split, in the validation split, or in training and pool. The outcome depends on the seed and the
    installed versions alone.

    Args:
        folder: created where it is missing.
        labelled: rows of ``train.csv``.
        validation: rows of ``validation.csv``.
        test: rows of ``test.csv``.
        pool: lines of ``pool.txt`` at most; fewer where the libraries do not hold as many.
        seed: chooses files and paragraphs.

    Returns:
        Rows written: ``train``, ``validation``, ``test``, ``pool``; and ``repeats``, the paragraphs that were dropped
        because they repeat another one.

    Raises:
        DataError: if the installed libraries do not hold enough paragraphs for the labelled splits.
        OutputError: if the folder cannot be written.
    """
    roots = installed()
    if len(roots) < 2:
        raise DataError(
            f"the documentation data needs sources of two libraries, but found {', '.join(roots) or 'none'} "
            f"(looked for {', '.join(LIBRARIES)} and the {STANDARD_LIBRARY}). Install one of them."
        )
    wanted = {"test": test, "validation": validation, "learn": labelled}
    quotas = {split: -(-rows // len(roots)) for split, rows in wanted.items()}
    quotas |= {split: quotas[split] * 5 // 4 for split in ("test", "validation")}  # where one library is short of text
    # Training and pool are drawn from one set of files: it is the held-out splits that must not see copies.
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
                f"hold {len(sheet)} for it. Ask for fewer."
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


def installed() -> dict[str, Path]:
    """Label and source folder of each library that is here, without importing any.

    Example:
        >>> "numpy" in installed()
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
    """The Python files below `root`, as paths relative to it with forward slashes, in no order one can rely on."""
    for path, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in files:
            if name.endswith(".py"):
                yield Path(path, name).relative_to(root).as_posix()


def _collect(
    label: str, root: Path, quotas: Mapping[str, int], *, extra: int, seed: int, seen: set[bytes]
) -> tuple[dict[str, list[str]], int]:
    """Paragraphs of one library for every split, and the number of repetitions dropped.

    Files are read in an order that the seed gives; each goes whole to the split that is emptiest for its size, and
    once the splits are full to "learn", until that has `extra` more for the pool. So the files of the held-out splits
    do not depend on the size of the pool.
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
                continue  # a link to nowhere, or a file that is not ours to read
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
    """Short hashes of every few words in a row, case and punctuation aside."""
    words = _WORD.findall(text.lower())
    for start in range(max(1, len(words) - _SHINGLE + 1)):
        yield hashlib.blake2b(" ".join(words[start : start + _SHINGLE]).encode(), digest_size=8).digest()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are many objects and no cycles: looking for cycles in them doubles the time of parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_label(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Rows of (text, label) as texts a label."""
    texts: dict[str, list[str]] = {}
    for text, label in rows:
        texts.setdefault(label, []).append(text)
    return texts


def _draw(by_label: Mapping[str, Sequence[str]], count: int, *, seed: str) -> list[tuple[str, str]]:
    """`count` rows of (text, label) in random order, the labels as even as their numbers allow."""
    rng = random.Random(seed)
    left, drawn = count, []
    scarcest_first = sorted(by_label, key=lambda label: (len(by_label[label]), label))
    for position, label in enumerate(scarcest_first):
        share = min(len(by_label[label]), -(-left // (len(scarcest_first) - position)))
        drawn += [(text, label) for text in rng.sample(by_label[label], share)]
        left -= share
    rng.shuffle(drawn)
    return drawn
