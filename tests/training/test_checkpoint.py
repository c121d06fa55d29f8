"""What survives a kill, and how a signal is heeded."""

from __future__ import annotations

import csv
import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from understudy.errors import OutputError
from understudy.training.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state
from understudy.training.progress.log import ProgressLog
from understudy.training.stop import Stop

COLUMNS = ["phase", "step", "loss"]


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {"model": {"w": torch.randn(3, 2, dtype=torch.float64)}, "step": 4, "scores": {"mse": 0.1}, "best": None}
    assert load_checkpoint(tmp_path / "a" / "train.pt") is None
    save_checkpoint(tmp_path / "a" / "train.pt", state)
    found = load_checkpoint(tmp_path / "a" / "train.pt")
    assert found is not None
    assert torch.equal(found["model"].pop("w"), state["model"].pop("w"))  # type: ignore[attr-defined]
    assert found == state
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["train.pt"]


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"state": Evil()}, tmp_path / "train.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(tmp_path / "train.pt")
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "train.pt", {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"the disk is full.*with --resume it goes on from the last checkpoint"):
        save_checkpoint(tmp_path / "train.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "train.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["train.pt"]


def test_a_file_that_cannot_be_written_to_its_end_is_said_and_leaves_the_last_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "train.pt", {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(File too large\)"):
            save_checkpoint(tmp_path / "train.pt", {"w": torch.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(tmp_path / "train.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["train.pt"]


def test_a_checkpoint_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    program = f"""
import resource, torch
from pathlib import Path
from understudy.training.checkpoint import save_checkpoint
state = {{"w": torch.zeros(30_000_000)}}
save_checkpoint(Path({str(tmp_path)!r}) / "small.pt", {{"w": torch.zeros(10)}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_checkpoint(Path({str(tmp_path)!r}) / "train.pt", state)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(out.stdout) < 60_000  # kilobytes, of 117,000


def test_generators_go_back() -> None:
    state = random_state()
    drawn = torch.rand(5)
    torch.rand(3)
    set_random_state(state)
    assert torch.equal(torch.rand(5), drawn)


def read(log: ProgressLog) -> list[dict[str, str]]:
    with open(log.path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_have_fixed_columns(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "progress.csv", COLUMNS)
    log.write({"step": 1, "phase": "train"})
    ProgressLog(tmp_path / "progress.csv", COLUMNS).write(
        {"phase": "train", "step": 2, "loss": 0.5}
    )  # resumed: one header
    assert read(log) == [{"phase": "train", "step": "1", "loss": ""}, {"phase": "train", "step": "2", "loss": "0.5"}]
    with pytest.raises(ValueError, match="speed"):
        log.write({"phase": "train", "speed": 3})


def test_a_log_that_was_killed_before_its_header_gets_one(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").touch()
    log = ProgressLog(tmp_path / "progress.csv", COLUMNS)
    log.write({"phase": "train", "step": 1})
    assert read(log)[0]["step"] == "1"


def test_forgetting_a_phase_takes_what_follows_and_what_is_torn(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "progress.csv", COLUMNS)
    for phase in ("student", "student without teacher", "student without teacher"):
        log.write({"phase": phase, "step": 1})
    log.forget("student without teacher")
    assert [row["phase"] for row in read(log)] == ["student"]
    with open(log.path, "a", encoding="utf-8") as file:
        file.write("student wi")
    log.forget("student without teacher")
    assert [row["phase"] for row in read(log)] == ["student"]
    log.forget("student")
    assert read(log) == []


def test_cutting_back_beyond_the_end_does_nothing(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "progress.csv", COLUMNS)
    log.write({"phase": "train", "step": 1})
    size = log.position()
    log.cut(size + 100)
    assert log.position() == size


def test_of_several_processes_one_logs(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path / "progress.csv", COLUMNS, writes=False)
    log.write({"phase": "train"})
    log.forget("train")
    log.cut(0)
    assert log.position() == 0
    assert not log.path.exists()


def test_the_first_signal_is_a_wish_and_the_second_is_obeyed() -> None:
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background are born deaf to it
    try:
        with Stop() as stop:
            assert stop.signal_number is None
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal_number == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, found)


def test_handlers_go_back_even_after_a_failure() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()

    def work() -> None:
        with stop:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert stop.signal_number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_it_only_keeps_the_time() -> None:
    stops: list[Stop] = []

    def work() -> None:
        with Stop(budget_s=1e6) as stop:
            stops.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not stops[0].out_of_time()


def test_a_budget_runs_out() -> None:
    assert Stop().remaining() is None
    assert not Stop().out_of_time(1e9)
    assert Stop(budget_s=0).out_of_time()
    long = Stop(budget_s=1000)
    assert not long.out_of_time(500)
    assert long.out_of_time(1000)
