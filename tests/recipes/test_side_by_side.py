"""The student and the same student without teacher, trained at the same time: bits, kills, and who takes over."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.evaluation import cost
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.record import RunRecord
from understudy.runs.fitting import beside
from understudy.runs.threads import choice
from understudy.training.progress.log import ProgressLog

pytestmark = pytest.mark.usefixtures("quick_throughout")

PHASES = ["student", "student without teacher"]
STEPS = 23

# two cores, nobody who chose a number of threads, and a training that is long enough
PROGRAM = """
import sys
import torch
import forked
from understudy.cli import main
from understudy.runs.fitting import beside
from understudy.runs.threads import choice
beside.subprocess = forked.Subprocess
choice.LONG_S, choice.usable_cores = 0.0, lambda: 2
torch.set_num_threads(2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same in this process."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(choice, "LONG_S", 0.0)
    monkeypatch.setattr(choice, "usable_cores", lambda: 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process is forked. One test here starts it as a new Python, as users do."""
    monkeypatch.setattr(beside, "subprocess", forked.Subprocess)


@pytest.fixture(scope="module")
def inputs(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Labelled rows, a teacher, and a pool."""
    folder = tmp_path_factory.mktemp("beside")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive"))
    torch.manual_seed(0)
    teacher = load_classifier(str(tiny_bert), task)
    save_model(folder / "teacher", teacher, load_tokenizer(str(tiny_bert)), task=task, max_length=64)
    rng = random.Random(3)
    words = ["good", "bad", "film", "book", "plot", "cast"]
    pool = "\n".join(f"{' '.join(rng.choices(words, k=rng.randint(4, 14)))} {i}" for i in range(240))
    (folder / "pool.txt").write_text(pool + "\n", encoding="utf-8")
    return {"data": reviews, "teacher": folder / "teacher", "unlabeled": folder / "pool.txt"}


def line(inputs: dict[str, object], folder: Path, kind: str = "static") -> list[str]:
    """The command: two epochs of 12 steps, dropout, a checkpoint every five steps."""
    sizes = {"embedding": 12, "hidden": 8} | ({"lstm": 8} if kind == "bilstm" else {})
    options = {**inputs, "student": kind, **{f"{kind}.{name}": size for name, size in sizes.items()}}
    options |= {"epochs": 2, "save_steps": 5, "output": folder / "run"}
    return ["distill", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


@pytest.fixture(scope="module")
def one_after_the_other(inputs: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one process, by the student."""
    found = {}
    for kind in ("static", "bilstm"):
        folder = tmp_path_factory.mktemp(kind)
        assert main(line(inputs, folder, kind)) == 0
        found[kind] = folder / "run"
    return found


def facts(folder: Path) -> dict[str, Any]:
    """All that must be the same."""
    record = RunRecord.load(folder / "record.json")
    assert record.finished
    assert not (folder / "checkpoints").exists()
    kept = ("steps", "epochs", "rows", "best_step", "metrics", "stopped_by", "learning_rates", "padding_ratio")
    with open(folder / "progress.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["validation_accuracy"]]
    measured = {"seconds", "rows_per_second"}
    return {
        "weights": (folder / "model" / "model.safetensors").read_bytes(),
        "scores": {entry["name"]: entry["metrics"] for entry in record.models},
        "notes": record.notes,
        "training": {phase: {key: record.training[phase][key] for key in kept} for phase in PHASES},
        "progress": [{name: value for name, value in row.items() if name not in measured} for row in rows],
        "timed": {phase: record.timings[f"{phase}_s"] >= record.training[phase]["seconds"] > 0 for phase in PHASES},
    }


def side_by_side(folder: Path) -> bool:
    return bool(RunRecord.load(folder / "record.json").hardware.get("side_by_side"))


def process(arguments: list[str], failpoint: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return forked.run(PROGRAM, *arguments, env=environment | {"UNDERSTUDY_FAILPOINT": failpoint})


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("kind", ["static", "bilstm"])
def test_the_bits_are_those_of_one_after_the_other(
    kind: str,
    inputs: dict[str, object],
    one_after_the_other: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not side_by_side(one_after_the_other[kind])
    if kind != "static":
        monkeypatch.setattr(beside, "subprocess", forked.Subprocess)
    here = []
    known = beside.train_phase

    def train_phase(session: Any, *arguments: Any, **options: Any) -> Any:
        begun = [path.name for path in (session.run.folder / "checkpoints").glob("*done.pt")]
        here.append((options["phase"], sorted(begun)))
        return known(session, *arguments, **options)

    monkeypatch.setattr(beside, "train_phase", train_phase)
    assert main(line(inputs, tmp_path, kind)) == 0
    # the other process had done it
    assert here == [("student without teacher", ["student without teacher-done.pt", "student-done.pt"])]
    assert side_by_side(tmp_path / "run")
    assert facts(tmp_path / "run") == facts(one_after_the_other[kind])


@pytest.mark.usefixtures("two_cores", "forks")
def test_what_a_dead_process_has_left_is_gone_on_with(
    inputs: dict[str, object],
    one_after_the_other: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # this process takes less than 17 steps of that phase, so it does not die itself
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "student without teacher.step:17")
    assert main(line(inputs, tmp_path)) == 0
    assert facts(tmp_path / "run") == facts(one_after_the_other["static"])


@pytest.mark.usefixtures("two_cores", "forks")
@pytest.mark.parametrize("failpoint", ["student.step:8", "checkpoint.write:2", "student.step:8:SIGTERM"])
def test_killed_and_resumed(
    failpoint: str, inputs: dict[str, object], one_after_the_other: dict[str, Path], tmp_path: Path
) -> None:
    died = process(line(inputs, tmp_path), failpoint)
    stopped = failpoint.endswith("TERM")
    assert died.returncode == (143 if stopped else -signal.SIGKILL), died.stderr
    assert "Traceback" not in died.stderr
    assert "without teacher" not in (tmp_path / "run" / "progress.csv").read_text(encoding="utf-8")
    assert main([*line(inputs, tmp_path), "--resume"]) == 0
    assert side_by_side(tmp_path / "run")
    assert facts(tmp_path / "run") == facts(one_after_the_other["static"])


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.usefixtures("two_cores", "forks")
@pytest.mark.parametrize("moment", ["before the rows are taken in", "after it", "when all is trained"])
def test_dead_in_between(
    moment: str,
    inputs: dict[str, object],
    one_after_the_other: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = ProgressLog.take_in

    def take_in(self: ProgressLog, rows: Path, phase: str) -> None:
        if moment.startswith("after"):
            known(self, rows, phase)
        raise Killed

    def measure(*arguments: Any, **options: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        if moment.startswith("when"):
            patch.setattr(cost, "measure", measure)
        else:
            patch.setattr(ProgressLog, "take_in", take_in)
        with pytest.raises(Killed):
            main(line(inputs, tmp_path))
    monkeypatch.setattr(beside.subprocess, "Popen", None)  # there is nothing for a second process to do
    assert main([*line(inputs, tmp_path), "--resume"]) == 0
    assert facts(tmp_path / "run") == facts(one_after_the_other["static"])


@pytest.mark.usefixtures("two_cores", "forks")
def test_when_there_is_no_second_process(
    inputs: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*line(inputs, tmp_path), "--dry_run"]
    assert main(command) == 0
    assert "side by side, in a process each" in capsys.readouterr().err
    for more in (["--no_baseline"], ["--learning_rate", "auto"], ["--threads", "1"]):
        assert main([*command, *more]) == 0
        assert "side by side" not in capsys.readouterr().err
    monkeypatch.setattr(choice, "LONG_S", 1e9)
    assert main(command) == 0
    assert "side by side" not in capsys.readouterr().err


@pytest.mark.usefixtures("two_cores", "forks")
def test_both_have_the_whole_time_budget(
    inputs: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = {}
    known = beside.partial

    def sent(function: Any, *arguments: Any, **options: Any) -> Any:
        budgets["ends_at"] = options["ends_at"]
        return known(function, *arguments, **options)

    monkeypatch.setattr(beside, "partial", sent)
    assert main([*line(inputs, tmp_path), "--time_budget", "1h"]) == 0
    assert budgets["ends_at"] - os.path.getmtime(tmp_path / "run" / "config.yaml") == pytest.approx(3600, abs=30)
