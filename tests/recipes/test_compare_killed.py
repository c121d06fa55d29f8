"""Runs of ``understudy compare`` have processes of their own: one that is killed is reported, and goes on later."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
import little
from understudy.cli import main
from understudy.record import RunRecord
from understudy.runs.processes import process

pytestmark = pytest.mark.usefixtures("quick", "two_folds")

SMALL = ["--epochs", 2, "--max_length", 32, "--batch_size", 24, "--eval_steps", 3]


def words(*given: object) -> list[str]:
    """A command line."""
    return ["compare", *map(str, given)]


class OneAnew(forked.Subprocess):
    """The first process is a new Python, as users have it; the others are forked."""

    started = 0

    @classmethod
    def Popen(cls, command: list[str], **options: Any) -> Any:
        """The process."""
        cls.started += 1
        return (subprocess if cls.started == 1 else forked.Subprocess).Popen(command, **options)


class Held(forked.Subprocess):
    """Processes that do nothing but wait for a signal: none is done before one comes."""

    begun: list[forked.Process] = []

    @classmethod
    def Popen(cls, command: list[str], **options: Any) -> Any:
        """The process."""
        cls.begun.append(super().Popen([*command[:2], "import signal; signal.pause()"], **options))
        return cls.begun[-1]


def stable(folder: Path) -> str:
    """What a comparison found, without what a clock measured."""
    record = RunRecord.load(folder / "record.json")
    findings = {key: value for key, value in record.findings.items() if key not in ("front", "dominated")}
    sizes = [record.findings["front"]["size"], record.findings["dominated"]["size"]]
    models = [(model["name"], model["metrics"], model["size_bytes"]) for model in record.models]
    steps = [model["training"].get("steps_to_best") for model in record.models]
    return json.dumps([findings, sizes, models, steps, record.comparisons, record.aggregate])


def test_a_run_whose_process_is_killed_is_reported_and_goes_on_to_the_same_table(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    line = ["--data", reviews, "--models", "tfidf", "static", *SMALL, "--save_steps", 2, "--threads", 1]
    with pytest.MonkeyPatch.context() as patch:  # undisturbed, and in this process
        patch.setattr("understudy.recipes.choose.compare.family.run_apart", little.in_this_process)
        assert main(words(*line, "--output", tmp_path / "whole")) == 0
    monkeypatch.setattr(process, "subprocess", forked.Subprocess)
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:7")
    assert main(words(*line, "--parallel", 2, "--output", tmp_path / "killed")) == 2
    assert f"killed by signal {int(signal.SIGKILL)}" in capfd.readouterr().err
    assert RunRecord.load(tmp_path / "killed" / "tfidf" / "record.json").finished
    assert not RunRecord.load(tmp_path / "killed" / "static" / "record.json").finished
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    assert main(words(*line, "--parallel", 2, "--output", tmp_path / "killed", "--resume")) == 0
    weights = "static/model/model.safetensors"
    assert (tmp_path / "killed" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert stable(tmp_path / "killed") == stable(tmp_path / "whole")


def test_a_signal_ends_all_runs_and_the_comparison_goes_on(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", reviews, "--models", "static", "tfidf", *SMALL, "--parallel", 2, "--output", tmp_path / "run"]
    monkeypatch.setattr(process, "subprocess", Held)
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "family.child:2:SIGTERM")
    assert main(words(*line)) == 128 + signal.SIGTERM
    assert [ended.wait(0) for ended in Held.begun] == [-signal.SIGTERM] * 2
    assert f"--output {tmp_path / 'run'} and --resume" in capfd.readouterr().err
    assert not RunRecord.load(tmp_path / "run" / "record.json").finished
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    monkeypatch.setattr(process, "subprocess", OneAnew)
    assert main(words(*line, "--resume")) == 0
    assert OneAnew.started == 2
    assert RunRecord.load(tmp_path / "run" / "record.json").finished
