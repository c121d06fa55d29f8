"""What a process that carries out a run says of its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.errors import ConfigError, Interrupted, UnderstudyError
from understudy.runs.processes.child import ChildError, carry_out, failure
from understudy.runs.threads import choice
from understudy.runs.threads.chosen import Threads


class Recipe:
    """Does one thing."""

    def __init__(self, do: Callable[[], Any]) -> None:
        self.run = do


def told(error: BaseException | None) -> tuple[int, Exception | None]:
    """The exit code of a run that raises, and what its parent makes of it."""

    def do() -> None:
        if error is not None:
            raise error

    reads, writes = os.pipe()
    code = carry_out(Recipe(do), None, writes)
    with os.fdopen(reads, "rb") as file:
        return code, failure(code, file.read())


def test_a_run_that_went_well_says_nothing() -> None:
    assert told(None) == (0, None)


def test_of_its_share_of_the_threads_a_run_takes_what_its_model_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three of eight cores: all three, or what is measured to be as fast, or one where the model is small."""
    monkeypatch.setattr(choice, "usable_cores", lambda: 8)
    monkeypatch.setattr(choice, "threads_asked_for", lambda: None)
    settings: Any = SimpleNamespace(threads=None, resume=False, output=str(tmp_path))
    chosen: list[Threads] = []

    def do() -> None:
        with choice.as_begun(settings):
            chosen.extend(choice.choose(settings, SimpleNamespace(plan=None, small=small)) for small in (False, True))

    reads, writes = os.pipe()
    assert carry_out(Recipe(do), 3, writes) == 0
    os.close(reads)
    assert [threads.training for threads in chosen] == [3, 1]
    assert "--threads" not in "".join(threads.because for threads in chosen)


def test_mistakes_of_the_user_come_back_whole() -> None:
    code, found = told(ConfigError("a: no such folder.", "b: no such folder."))
    assert code == 2
    assert isinstance(found, UnderstudyError)
    assert found.faults == ("a: no such folder.", "b: no such folder.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_a_run_without_memory_is_told_what_to_do(error: Exception) -> None:
    code, found = told(error)
    assert code == 2
    assert isinstance(found, UnderstudyError)
    assert found.faults[0].startswith("out of memory")
    assert "--max_tokens" in found.faults[0]


def test_mistakes_of_ours_have_their_trace_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(ZeroDivisionError("nought"))
    assert code == 1
    assert isinstance(found, ChildError)
    assert str(found) == "ZeroDivisionError: nought"
    assert "in do" in capsys.readouterr().err


def test_a_killed_process_is_taken_for_one_without_memory() -> None:
    found = failure(-9, b"")
    assert isinstance(found, UnderstudyError)
    assert "signal 9" in found.faults[0]
    assert isinstance(failure(77, b"{"), ChildError)
    other = failure(-11, b"")
    assert isinstance(other, ChildError)
    assert str(other) == "its process was ended by signal 11"


def test_a_signal_is_not_a_failure_of_the_run() -> None:
    code, _ = told(Interrupted(15))
    assert code == 143
