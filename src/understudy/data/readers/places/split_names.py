"""What the names of files and of hub splits say: which split they are, and which files are parts of one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from understudy.data.readers.faults import Faults

_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
    "eval": ("eval", "evaluation"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBERED = re.compile(r"(\d{1,9})-of-(\d{1,9})")


def splits_of(names: Mapping[str, str]) -> dict[str, list[str]]:
    """The names that say which split they are: by the name alone, else by a word in it, as ``sts-dev`` does.

    What is called ``eval`` is the validation split, or the test split beside another validation split.

    Args:
        names: what is to be sorted, with the part of its name that counts.

    Example:
        >>> splits_of({"train.csv": "train", "train_old.csv": "train_old", "sts-dev.tsv": "sts-dev", "a.csv": "a"})
        {'train': ['train.csv'], 'validation': ['sts-dev.tsv']}
    """
    exact: dict[str, list[str]] = {}
    loose: dict[str, list[str]] = {}
    for name, stem in names.items():
        whole = _SPLITS.get(stem.lower())
        words = {_SPLITS[part.lower()] for part in _PARTS.findall(stem) if part.lower() in _SPLITS}
        if whole is not None:
            exact.setdefault(whole, []).append(name)
        elif len(words) == 1:
            loose.setdefault(words.pop(), []).append(name)
    found = loose | exact
    other = found.pop("eval", None)
    if other is not None:
        free = next((split for split in ("validation", "test") if split not in found), None)
        if free is not None:
            found[free] = other
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


class Numbered(NamedTuple):
    """Files that are the parts of one, such as ``train-00000-of-00002.parquet``."""

    name: str
    """Their common name, with a star for the number."""
    files: list[str]
    total: int
    missing: list[int]
    """The first numbers that are missing."""


def numbered(names: Sequence[str]) -> Numbered | None:
    """Files whose names are numbered ``-00000-of-00002``, in order; None if they are not the parts of one.

    Example:
        >>> numbered(["train-00001-of-00002.csv", "train-00000-of-00002.csv"])
        Numbered(name='train-*-of-00002.csv', files=['train-00000-of-00002.csv', 'train-00001-of-00002.csv'], total=2, missing=[])
    """
    matches = [_NUMBERED.search(name) for name in names]
    found = {int(match[1]): name for match, name in zip(matches, names) if match}
    stars = {(name[: match.start()], int(match[2])) for match, name in zip(matches, names) if match}
    if len(found) < len(names) or len(stars) > 1:
        return None
    ((_, total),) = stars
    start = 1 if 0 not in found and total in found else 0
    first = names[0]
    match = matches[0]
    assert match is not None
    name = f"{first[: match.start()]}*-of-{match[2]}{first[match.end() :]}"
    missing = list(islice((number for number in range(start, start + total) if number not in found), 3))
    return Numbered(name, [found[number] for number in sorted(found)], total, missing)


def one_each(
    data: str, what: str, names: Sequence[str], given: Collection[str], faults: Faults, notes: list[str]
) -> dict[str, str]:
    """The name of each split among the tables of one source, without those that are given otherwise.

    Two of one split are a fault, except for the matched and mismatched rows of MNLI: the first of them are read. Tables that
    are not read are noted.

    Args:
        data: what holds them.
        what: what they are called, for the note.
    """
    found = {split: of for split, of in splits_of({name: name for name in names}).items() if split not in given}
    for split, of in found.items():
        if said := said_of_several(of, split):
            faults.add(f"{data}: {said}. Remove one, or name the right rows with --{split}.")
    chosen = {split: of[0] for split, of in found.items()}
    if chosen:
        note_idle(data, what, [name for name in names if name not in chosen.values()], notes)
    return chosen


def said_of_several(names: Sequence[str], split: str) -> str | None:
    """The fault of several names for one split; None if there is one, or if they are the two halves of MNLI's.

    Example:
        >>> said_of_several(["train_a", "train_b"], "train")
        'train_a and train_b are both the train split'
        >>> said_of_several(["validation_matched", "validation_mismatched"], "validation")
    """
    if len(names) < 2 or {name.lower().rpartition("_")[2] for name in names} == {"matched", "mismatched"}:
        return None
    return f"{' and '.join(names)} are {'both' if len(names) == 2 else 'all'} the {split} split"


def note_idle(data: str, what: str, names: Sequence[str], notes: list[str]) -> None:
    """Note what lies beside the splits and is not read: files, folders, splits of the hub."""
    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        notes.append(f"{data}: {what} that are not read as a split: {', '.join(names[:10])}{more}.")
