"""A run that dies, wherever it may be, and is resumed ends with the very bits of one that did not."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
from understudy import atomic
from understudy import record as records
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.evaluation import cost
from understudy.folders.run import Run
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.recipes.train.distill import teachers, work
from understudy.recipes.train.students import start
from understudy.record import RunRecord
from understudy.runs import concluding, saving
from understudy.training import checkpoint_files, trainer

pytestmark = pytest.mark.usefixtures("quick_throughout", "two_folds")

PHASES = ["student", "student without teacher"]
MODELS = ["teacher", "student", "student without teacher", "probe", "tfidf"]
TEXTS = 120 + 600
STATES = 1000
"""Tokens that embeddings start from: some of the texts', so that the other texts are left for the labelling."""

# labels are written after every batch, so that a kill finds some on disk
PROGRAM = f"""
import sys
from understudy.objectives.teachers import cached as cached_teacher
from understudy.recipes.train.students import start
cached_teacher._FLUSH_AT_LEAST_S, start._TOKENS = 0.0, {STATES}
import torch
torch.set_num_threads(1)
from understudy.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module", autouse=True)
def _some_states() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "_TOKENS", STATES)
        yield


@pytest.fixture(scope="module")
def common(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, but for where it goes. The student has dropout, so that the generators count too."""
    folder = tmp_path_factory.mktemp("kills")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive"))
    torch.manual_seed(0)
    save_model(
        folder / "teacher",
        load_classifier(str(tiny_bert), task),
        load_tokenizer(str(tiny_bert)),
        task=task,
        max_length=64,
    )
    rng = random.Random(3)
    words = ["good", "bad", "film", "book", "plot", "cast"]
    pool = "\n".join(f"{' '.join(rng.choices(words, k=rng.randint(4, 14)))} {i}" for i in range(TEXTS - 120))
    (folder / "pool.txt").write_text(pool + "\n", encoding="utf-8")
    options = {
        "data": reviews,
        "teacher": folder / "teacher",
        "unlabeled": folder / "pool.txt",
        "student": "static",
        "static.embedding": 12,
        "static.hidden": 8,
        "epochs": 2,
        "save_steps": 5,
    }
    return ["distill", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


@pytest.fixture(scope="module")
def undisturbed(common: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run to which nothing happened, with a cache of its own."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(folder.parent / "cache"))
        assert main([*common, "--output", str(folder)]) == 0
    return folder


def check(folder: Path, undisturbed: Path) -> None:
    """A run is what it would have been."""
    assert (folder / "model" / "model.safetensors").read_bytes() == (
        undisturbed / "model" / "model.safetensors"
    ).read_bytes()
    found, expected = (RunRecord.load(path / "record.json") for path in (folder, undisturbed))
    assert found.finished
    assert [model["name"] for model in found.models] == MODELS
    assert [model["metrics"] for model in found.models] == [model["metrics"] for model in expected.models]
    assert [model["calibration"] for model in found.models] == [model["calibration"] for model in expected.models]
    assert found.comparisons == expected.comparisons
    assert len(found.comparisons) == len(MODELS) * (len(MODELS) - 1) / 2
    assert found.notes == expected.notes
    assert found.teacher_forward_texts == expected.teacher_forward_texts == TEXTS
    for phase in PHASES:
        kept = ("steps", "epochs", "rows", "best_step", "metrics", "stopped_by")
        assert [found.training[phase][key] for key in kept] == [expected.training[phase][key] for key in kept]
        assert found.timings[f"{phase}_s"] >= found.training[phase]["seconds"] > 0
    assert steps_logged(folder) == steps_logged(undisturbed)
    assert (folder / "README.md").exists()
    assert not (folder / "checkpoints").exists()
    assert not list(folder.rglob(".*"))


def steps_logged(folder: Path) -> list[tuple[str, str]]:
    """Phase and step of the evaluations in progress.csv: in order, none twice, none missing."""
    with open(folder / "progress.csv", newline="", encoding="utf-8") as file:
        return [(row["phase"], row["step"]) for row in csv.DictReader(file) if row["validation_accuracy"]]


def process(arguments: list[str], failpoint: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"UNDERSTUDY_FAILPOINT": failpoint, "OMP_NUM_THREADS": "1"}
    return forked.run(PROGRAM, *arguments, env=environment)


def test_killed_while_labelling_training_and_writing_a_checkpoint(
    common: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    command = [*common, "--output", str(tmp_path / "run")]
    checkpoint = tmp_path / "run" / "checkpoints" / "student.pt"
    shards = Path(os.environ["UNDERSTUDY_CACHE"]) / "teacher_logits"

    died = process(
        command, "label.shard:3"
    )  # the answers that came with the states; those for the validation rows are there
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(list(shards.rglob("[0-9]*.npz"))) == 2

    died = process([*command, "--resume"], "label.shard:6")  # of the pool's texts, after those of the labelled rows
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(list(shards.rglob("[0-9]*.npz"))) == 2 + 5
    assert not checkpoint.exists()

    died = process([*command, "--resume"], "student.step:8")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert torch.load(checkpoint, weights_only=True)["state"]["step"] == 5

    died = process([*command, "--resume"], "checkpoint.write:2")
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert torch.load(checkpoint, weights_only=True)["state"]["step"] == 10
    assert len(list(checkpoint.parent.glob(".student.pt.*.tmp"))) == 1  # the third one, all but named

    assert main([*command, "--resume"]) == 0
    check(tmp_path / "run", undisturbed)


def test_sigterm_writes_a_checkpoint_and_says_how_to_go_on(
    common: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    command = [*common, "--output", str(tmp_path / "run")]
    stopped = process(command, "student.step:7:SIGTERM")
    assert stopped.returncode == 143, stopped.stderr
    assert (
        f"stopped by signal 15; the checkpoint is written. Go on with the same command, --output {tmp_path / 'run'} and --resume."
        in stopped.stderr
    )
    assert "Traceback" not in stopped.stderr
    state = torch.load(tmp_path / "run" / "checkpoints" / "student.pt", weights_only=True)["state"]
    assert state["step"] == 8
    before = RunRecord.load(tmp_path / "run" / "record.json").timings
    assert main([*command, "--resume"]) == 0
    check(tmp_path / "run", undisturbed)
    after = RunRecord.load(tmp_path / "run" / "record.json").timings
    assert all(after[name] > seconds > 0 for name, seconds in before.items())


# --- in this process: a signal that is sent, and a death that is played --------------------------------------------------


def at_call(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, then: Callable[[], None]) -> None:
    """Have something happen before the `number`-th call of a function."""
    known, calls = getattr(owner, name), []

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            then()
        return known(*arguments, **options)

    patch.setattr(owner, name, counting)


@pytest.mark.parametrize(
    ("owner", "name", "number", "kind"),
    [
        (teachers.CachedTeacher, "label", 1, signal.SIGINT),
        (trainer.Trainer, "step", 40, signal.SIGINT),
        (cost, "measure", 2, signal.SIGTERM),
    ],
)
def test_signals(
    owner: Any,
    name: str,
    number: int,
    kind: signal.Signals,
    common: list[str],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [*common, "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        at_call(patch, owner, name, number, lambda: os.kill(os.getpid(), kind))
        assert main(command) == 128 + kind
    assert "--resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert main([*command, "--resume"]) == 0
    check(tmp_path / "run", undisturbed)


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize(
    ("owner", "name", "number", "steps_left"),
    [
        (checkpoint_files, "save_checkpoint", 1, 92),  # the student's first one
        (saving, "save_model", 1, 46),  # the student is trained, but not saved
        (work.Distillation, "train_alone", 1, 46),
        (trainer.Trainer, "step", 60, 36),  # the 14th of the student without teacher, with a checkpoint after the 10th
        (cost, "measure", 3, 0),
        (concluding, "write_card", 1, 0),
    ],
)
def test_deaths_between_the_phases(
    owner: Any,
    name: str,
    number: int,
    steps_left: int,
    common: list[str],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [*common, "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:

        def die() -> None:
            patch.setattr(records.RunRecord, "save", lambda self, path: None)  # the dead write no more
            raise Killed

        at_call(patch, owner, name, number, die)
        with pytest.raises(Killed):
            main(command)
    steps: list[int] = []
    at_every = trainer.Trainer.step

    def counting(self: Any, *arguments: Any) -> None:
        steps.append(1)
        at_every(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "step", counting)
    assert main([*command, "--resume"]) == 0
    assert len(steps) == steps_left
    check(tmp_path / "run", undisturbed)


def test_killed_when_all_is_done_but_the_sweeping(
    common: list[str],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def die(folder: Path, *patterns: str) -> None:
        raise Killed

    command = [*common, "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        at_call(patch, Run, "finish", 1, lambda: patch.setattr(atomic, "remove_files", die))
        with pytest.raises(Killed):
            main(command)
    assert (tmp_path / "run" / "checkpoints").exists()
    assert main([*command, "--resume"]) == 0
    assert "finished already; nothing to do" in capsys.readouterr().out
    check(tmp_path / "run", undisturbed)


def test_a_damaged_checkpoint_is_refused_and_what_is_said_helps(
    common: list[str],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [*common, "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        at_call(patch, trainer.Trainer, "step", 60, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert main(command) == 128 + signal.SIGINT
    files = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert {path.name for path in files} >= {"student-done.pt", "student without teacher.pt"}
    for path in files:
        before = path.read_bytes()
        path.write_bytes(before[:-200] + bytes([before[-200] ^ 4]) + before[-199:])
        assert main([*command, "--resume"]) == 2
        said = capsys.readouterr().err
        assert (
            f"{path}: the checkpoint is damaged (its checksum is wrong). Give --overwrite in place of --resume" in said
        )
        assert "Traceback" not in said
        path.write_bytes(before)
    path.write_bytes(before[:3000])
    assert main([*command, "--resume"]) == 2
    assert "its end is lost" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == (
        undisturbed / "model" / "model.safetensors"
    ).read_bytes()
