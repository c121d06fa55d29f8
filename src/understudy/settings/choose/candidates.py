"""What a search can try: how the entries of ``search --students`` are read, and what can be wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from understudy.data.tokens.specs import parse_spec
from understudy.errors import UnderstudyError, nearest

Kind = Literal["tfidf", "static", "bilstm", "layers"]
KINDS: tuple[Kind, ...] = ("tfidf", "static", "bilstm", "layers")
_NUMBERS = {"tfidf": 0, "static": 1, "bilstm": 1, "layers": 2}
"""How many numbers an entry of each kind may have."""
_FORM = "tfidf, static:WIDTH, bilstm:WIDTH (with +bpe:N or +words:N for a tokenizer of their own) or layers:N[:WIDTH]"
_NOT_IN_A_FOLDERS_NAME = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Candidate:
    """One entry of ``--students``."""

    name: str
    """The entry as it stands: so tables call it."""
    kind: Kind
    numbers: tuple[int, ...] = ()
    """The width of a static or bilstm; the layers of a cut teacher, and their width where that is narrower."""
    tokenizer: str = "auto"

    @property
    def folder(self) -> str:
        """Its name as a part of the name of a folder."""
        return _NOT_IN_A_FOLDERS_NAME.sub("-", self.name)

    @property
    def student(self) -> str:
        """It as ``distill --student`` names it.

        Example:
            >>> candidate("layers:2").student, candidate("static:64").student
            ('layers:2', 'static')
        """
        return f"layers:{self.numbers[0]}" if self.kind == "layers" else self.kind


def candidate(entry: str) -> Candidate:
    """Read an entry, which has no fault: ``KIND[:NUMBER[:NUMBER]][+TOKENIZER]``.

    Example:
        >>> candidate("bilstm:128+bpe:8000")
        Candidate(name='bilstm:128+bpe:8000', kind='bilstm', numbers=(128,), tokenizer='bpe:8000')
    """
    spec, _, tokenizer = entry.partition("+")
    kind, *numbers = spec.split(":")
    known = next((one for one in KINDS if one == kind), KINDS[0])
    return Candidate(entry, known, tuple(int(number) for number in numbers if number.isdecimal()), tokenizer or "auto")


def candidates_faults(entries: Sequence[str]) -> list[str]:
    """What is wrong with the students of a search, before anything is loaded: every bad entry, and what is named twice."""
    faults = [fault for entry in entries for fault in _faults(entry)]
    for entry in dict.fromkeys(entries):
        if entries.count(entry) > 1:
            faults.append(f"--students names {entry} more than once. Name it once.")
    return faults


def _faults(entry: str) -> list[str]:
    spec, plus, tokenizer = entry.partition("+")
    kind, *numbers = spec.split(":")
    if kind not in KINDS:
        return [f"--students: an entry must be {_FORM}, but is '{entry}'.{nearest(kind, KINDS)}"]
    faults = []
    if any(not number.isdecimal() or int(number) == 0 for number in numbers) or len(numbers) > _NUMBERS[kind]:
        faults.append(f"--students: an entry must be {_FORM}, but is '{entry}'.")
    elif kind == "layers" and not numbers:
        faults.append(f"--students: {entry} must say how many of the teacher's layers it keeps, as in layers:3.")
    if plus and kind in ("tfidf", "layers"):
        whose = "has terms of its own" if kind == "tfidf" else "reads with the teacher's tokenizer"
        faults.append(f"--students: {spec} {whose}. Leave out +{tokenizer}.")
    elif plus:
        try:
            parse_spec(tokenizer)
        except UnderstudyError as error:
            faults += [f"--students, {entry}: {fault}" for fault in error.faults]
    return faults
