"""Checkpoints hold what may change, fit together after a kill, and refuse other frozen weights."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from understudy.cli import main
from understudy.data.batches.bucketed import Batch
from understudy.errors import ConfigError, Interrupted
from understudy.objectives.supervised import Supervised
from understudy.training import checkpoint_files
from understudy.training.loop import fit
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.stages import FitResult
from understudy.training.stop import Stop
from understudy.training.trainer import Trainer
from understudy.training.unfreezing.plan import LearningPlan

CLASSES, WIDTH = 400, 256
SLACK = 20_000
"""Bytes that a file may have beside its tensors."""
SCORES = [0.1, 0.5, 0.3, 0.6, 0.2, 0.6]


def bert() -> BertForSequenceClassification:
    """A wide head on a body that is ten times larger."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 1000, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "max_position_embeddings": 16}
    config = BertConfig(num_hidden_layers=2, num_attention_heads=2, num_labels=CLASSES, **sizes)
    return BertForSequenceClassification(config)


class Ids:
    """Three steps an epoch; a signal comes before step `stops_at`."""

    def __init__(self, stop: Stop | None = None, stops_at: int = -1) -> None:
        self.stop, self.stops_at = stop, stops_at

    def steps(self, epoch: int) -> int:
        return 3

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        generator = torch.Generator().manual_seed(epoch)
        ids = torch.randint(0, 1000, (3, 4, 7), generator=generator)
        labels = torch.randint(0, CLASSES, (3, 4), generator=generator)
        for i in range(start, 3):
            if self.stop is not None and 3 * epoch + i == self.stops_at:
                self.stop.signal_number = signal.SIGTERM
            counts = {"rows": 4, "labelled": 4}
            yield [Batch(inputs={"input_ids": ids[i]}, counts=counts, labels=labels[i])]


def train(
    folder: Path,
    model: nn.Module,
    batches: Any = None,
    *,
    freeze: tuple[str, ...] = ("all-but-head",),
    first: int = 0,
    **options: Any,
) -> FitResult:
    """Six steps; the scores of their evaluations are those of :data:`SCORES` from the `first` on."""
    folder.mkdir(exist_ok=True)
    scores = iter(SCORES[first:])
    objective = Supervised(model, "single_label")
    plan = LearningPlan(objective, epochs=2, learning_rate=1e-2, freeze=freeze)
    return fit(
        objective,
        batches or Ids(),
        plan.stages(weight_decay=0.01),
        folder=folder,
        log=ProgressLog(folder / "progress.csv", progress_columns(["label_loss"], ["accuracy"], groups=plan.names)),
        evaluate=lambda model: {"accuracy": next(scores)},
        metric="accuracy",
        eval_steps=1,
        **options,
    )


def stopped(folder: Path, at: int, **options: Any) -> None:
    """Train up to a signal before step `at`; that step is still taken."""
    stop, model = Stop(), bert()
    torch.manual_seed(5)
    with pytest.raises(Interrupted):
        train(folder, model, Ids(stop, at), stop=stop, **options)


def size(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_with_a_frozen_body_files_have_the_size_of_what_learns(tmp_path: Path) -> None:
    stopped(tmp_path, 1)
    model = bert()
    learns = size(model.classifier.parameters())
    moments = 2 * learns
    assert size(model.parameters()) > 10 * learns > 100 * SLACK
    found = {path.name: path.stat().st_size for path in tmp_path.glob("*.pt")}
    assert set(found) == {"train.pt", "train-best-2.pt"}
    assert found["train.pt"] <= 1.2 * (learns + moments + SLACK)
    assert found["train-best-2.pt"] <= 1.2 * (learns + SLACK)
    train(tmp_path, model, resume=True, first=2)
    assert [path.name for path in tmp_path.glob("*.pt")] == ["train-done.pt"]
    assert (tmp_path / "train-done.pt").stat().st_size <= 1.2 * (learns + SLACK)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_with_a_frozen_body_a_resumed_run_has_the_same_bits(tmp_path: Path, at: int) -> None:
    whole = bert()
    torch.manual_seed(5)
    expected = train(tmp_path / "whole", whole)
    stopped(tmp_path / "cut", at)
    resumed = bert()
    torch.manual_seed(99)  # a new process has another state of the generator
    result = train(tmp_path / "cut", resumed, resume=True, first=at + 1)
    assert (result.steps, result.best_step, result.metrics) == (6, 6, {"accuracy": 0.6})
    assert (expected.steps, expected.best_step, expected.metrics) == (6, 6, {"accuracy": 0.6})
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    passed_by = bert()
    assert train(tmp_path / "cut", passed_by, resume=True) == result
    assert torch.equal(passed_by.classifier.weight, whole.classifier.weight)


def test_best_weights_are_written_when_they_change_and_old_ones_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    save = checkpoint_files.save_checkpoint
    monkeypatch.setattr(
        checkpoint_files, "save_checkpoint", lambda path, state: (written.append(path.name), save(path, state))
    )
    stopped(tmp_path, 4, save_steps=1)
    assert written == [
        *("train-best-1.pt", "train.pt"),
        *("train-best-2.pt", "train.pt"),
        "train.pt",
        *("train-best-4.pt", "train.pt"),
        "train.pt",
    ]
    assert {path.name for path in tmp_path.glob("*.pt")} == {"train.pt", "train-best-4.pt"}
    written.clear()
    train(tmp_path, bert(), resume=True, first=5, save_steps=1)  # the last score is as good as the best one
    assert written == ["train-best-6.pt", "train.pt", "train-done.pt"]


def test_a_checkpoint_without_its_best_weights_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, 3)
    (tmp_path / "train-best-4.pt").unlink()
    with pytest.raises(
        ConfigError, match=r"train-best-4.pt: is missing. Give --overwrite instead of --resume to start afresh"
    ):
        train(tmp_path, bert(), resume=True)


@pytest.mark.parametrize("finished", [False, True])
def test_other_frozen_weights_are_refused_and_other_learning_ones_replaced(tmp_path: Path, finished: bool) -> None:
    if finished:
        train(tmp_path, bert())
    else:
        stopped(tmp_path, 3)
    file = "train-done.pt" if finished else "train.pt"
    other = bert()
    with torch.no_grad():
        other.bert.encoder.layer[1].output.dense.bias[3] += 1e-3
    with pytest.raises(ConfigError, match=rf"{file}: the frozen weights are not those that the run began with"):
        train(tmp_path, other, resume=True)
    with pytest.raises(ConfigError, match="the frozen weights are not those"):
        train(tmp_path, bert(), resume=True, freeze=("embeddings",))
    head = bert()
    with torch.no_grad():
        head.classifier.weight.zero_()
    assert train(tmp_path, head, resume=True, first=4).steps == 6


class Killed(BaseException):
    """Not caught anywhere."""


@pytest.mark.usefixtures("quick")
def test_a_command_resumes_with_its_model_and_refuses_another(
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_bert.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    flags = ["--data", reviews, "--model", base, "--no_baseline", "--freeze", "all-but-head", "--save_steps", "3"]
    command = ["finetune", *map(str, flags)]
    assert main([*command, "--output", str(tmp_path / "whole")]) == 0
    taken: list[int] = []
    step: Callable[..., Any] = Trainer.step

    def dying(self: Any, *arguments: Any) -> Any:
        taken.append(1)
        if len(taken) == 8:
            raise Killed
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dying)
        with pytest.raises(Killed):
            main([*command, "--output", str(tmp_path / "cut")])
    resume = [*command, "--output", str(tmp_path / "cut"), "--resume"]
    file = base / "model.safetensors"
    original, weights = file.read_bytes(), load_file(file)
    save_file(weights | {"pooler.dense.bias": weights["pooler.dense.bias"] + 1}, file, metadata={"format": "pt"})
    assert main(resume) == 2
    error = capsys.readouterr().err
    assert f"was started on other files: {base} changed since" in error
    assert "Traceback" not in error
    file.write_bytes(original)
    assert main(resume) == 0
    one, other = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()
