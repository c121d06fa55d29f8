"""Cores and threads before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from understudy import cores
from understudy.cores import threads_asked_for, usable_cores, wait_briefly


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 64), ("150000 100000", 2), ("5000 100000", 1)])
def test_a_containers_quota_counts(quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_an_old_control_groups_quota_counts(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quota").write_text(f"{quota}\n")
    (tmp_path / "period").write_text("100000\n")
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "none")
    monkeypatch.setattr(cores, "_OLD_QUOTA", (tmp_path / "quota", tmp_path / "period"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert usable_cores() == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("4", 4), (" 2 ", 2), ("3,1", 3), ("", None), ("0", None), ("all", None), ("-1", None)]
)
def test_what_the_environment_asks_for(value: str, expected: int | None) -> None:
    assert threads_asked_for({"OMP_NUM_THREADS": value}) == expected
    assert threads_asked_for({}) is None


CHOSEN = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"]


@pytest.mark.parametrize("chosen", [None, *CHOSEN])
def test_how_threads_wait_is_the_users_choice_first(chosen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {} if chosen is None else {chosen: "7"}
    monkeypatch.setattr(os, "environ", environment)
    wait_briefly()  # torch is loaded: it would change nothing here, and other programs that are started from here
    assert environment == ({} if chosen is None else {chosen: "7"})
    monkeypatch.delitem(sys.modules, "torch")
    wait_briefly()
    assert environment == ({"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"} if chosen is None else {chosen: "7"})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch brings another OpenMP, which says it otherwise")
def test_torchs_openmp_takes_what_the_command_line_sets() -> None:
    code = "from understudy.cli import main; main(['--version']); import torch"
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr
