"""Files that a kill cannot break."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from understudy.errors import OutputError
from understudy.training.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state


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

    save_checkpoint(tmp_path / "train.pt", {"state": Evil()})
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
