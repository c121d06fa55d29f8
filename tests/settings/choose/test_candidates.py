"""How the entries of ``search --students`` are read, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from understudy.settings.choose.candidates import candidate, candidates_faults
from understudy.settings.choose.search import STUDENTS, SearchSettings
from understudy.settings.student_options import STUDENTS as KNOWN


@pytest.mark.parametrize(
    ("entry", "kind", "numbers", "tokenizer", "student"),
    [
        ("tfidf", "tfidf", (), "auto", "tfidf"),
        ("static", "static", (), "auto", "static"),
        ("static:64", "static", (64,), "auto", "static"),
        ("bilstm:128+words:900", "bilstm", (128,), "words:900", "bilstm"),
        ("layers:3", "layers", (3,), "auto", "layers:3"),
        ("layers:2:192", "layers", (2, 192), "auto", "layers:2"),
    ],
)
def test_an_entry_is_a_student_and_its_sizes(
    entry: str, kind: str, numbers: tuple[int, ...], tokenizer: str, student: str
) -> None:
    one = candidate(entry)
    assert candidates_faults([entry]) == []
    assert (one.name, one.kind, one.numbers, one.tokenizer, one.student) == (entry, kind, numbers, tokenizer, student)
    assert ":" not in one.folder
    assert one.kind == "tfidf" or one.student.split(":")[0] in KNOWN


def test_what_is_tried_by_default_has_no_fault_and_folders_of_its_own() -> None:
    assert candidates_faults(STUDENTS) == []
    assert len({candidate(entry).folder for entry in STUDENTS}) == len(STUDENTS) == 12


def test_a_budget_is_in_the_units_of_the_record() -> None:
    assert SearchSettings(max_latency_ms=1.5, max_size_mb=20).limits() == {"latency_ms": 1.5, "size_bytes": 20e6}
    assert SearchSettings(max_size_mb=0.5).limits() == {"size_bytes": 5e5}
    assert SearchSettings().limits() == {}


def test_all_wrong_entries_are_said_together() -> None:
    faults = candidates_faults(["statik:8", "static:0", "layers", "tfidf+bpe:8000", "static:8:9", "tfidf", "tfidf"])
    assert len(faults) == 6
    assert all(fault.startswith("--students") for fault in faults)
