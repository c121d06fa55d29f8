"""The rows of ``progress.csv``, and what is deleted when a run is resumed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from understudy.training.progress.log import ProgressLog

COLUMNS = ["phase", "step", "loss"]


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
