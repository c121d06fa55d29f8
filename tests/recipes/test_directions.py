"""From an AWD-LSTM language model to a classifier, and both directions together, over the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

import understudy
from understudy import record as records
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.inference.answers import probabilities
from understudy.inference.predictor import Answering, Ensemble, LinearPredictor
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.record import RunRecord
from understudy.training import trainer

pytestmark = pytest.mark.usefixtures("quick_throughout")


def write_language_model(folder: Path, reviews: Path, *, backward: bool) -> Path:
    """An untrained one over the toy reviews' words, as pretraining would leave it."""
    with open(reviews / "train.csv", encoding="utf-8", newline="") as file:
        tokenizer = train_tokenizer((row["text"] for row in csv.DictReader(file)), "words:200")
    torch.manual_seed(int(backward))
    config = AWDLSTMConfig(vocab_size=len(tokenizer), embedding_size=16, hidden_size=24, backward=backward, bptt=5)
    model = AWDLSTMForCausalLM(config)
    model.config.understudy = {"kind": "language_model"}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def finetune(reviews: Path, model: Path, output: Path, *flags: str) -> list[str]:
    common = ["--no-baseline", "--batch_size", "24", "--learning_rate", "2e-2", "--max_length", "6"]
    return ["finetune", "--data", str(reviews), "--model", str(model), "--output", str(output), *common, *flags]


@pytest.fixture(scope="module")
def directions(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Classifiers that read forward and backward."""
    folder = tmp_path_factory.mktemp("awd")
    for name in ("forward", "backward"):
        lm = write_language_model(folder / f"lm-{name}", reviews, backward=name == "backward")
        assert main(finetune(reviews, lm, folder / name, "--epochs", "8")) == 0
    return [folder / "forward", folder / "backward"]


def test_finetuning_a_language_model_learns(directions: list[Path]) -> None:
    for folder in directions:
        record = RunRecord.load(folder / "record.json")
        assert record.model("model")["metrics"]["test"]["accuracy"] > 0.8
        settings = json.loads((folder / "model" / "config.json").read_text())
        assert settings["gradient_tokens"] == 6
        assert settings["understudy"]["max_length"] == 16384
        assert settings["backward"] is (folder.name == "backward")


def test_a_run_that_dies_and_is_resumed_ends_with_the_same_bits(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = write_language_model(tmp_path / "lm", reviews, backward=False)
    flags = ["--epochs", "3", "--save_steps", "4", "--max_tokens", "120"]
    assert main(finetune(reviews, lm, tmp_path / "whole", *flags)) == 0

    class Killed(BaseException):
        """Nobody catches it."""

    known, steps = trainer.Trainer.step, []

    def mortal(self: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 10:
            patch.setattr(records.RunRecord, "save", lambda self, path: None)
            raise Killed
        return known(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", mortal)
        with pytest.raises(Killed):
            main(finetune(reviews, lm, tmp_path / "killed", *flags))
    assert main(finetune(reviews, lm, tmp_path / "killed", *flags, "--resume")) == 0
    whole, killed = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed"))
    assert killed.read_bytes() == whole.read_bytes()


def test_several_models_are_averaged(
    directions: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a good film", "the awful plot was sad", "a book", ""]
    alone = [understudy.load(folder) for folder in directions]
    both = understudy.load(*directions)
    scaled = [model.logits(texts).astype(float) / model.temperature for model in alone]
    softmax = [scipy.special.softmax(logits, axis=-1) for logits in scaled]
    np.testing.assert_allclose(probabilities(both.logits(texts), both.task), np.mean(softmax, 0), atol=1e-5)
    assert both.summary()["parameters"] == sum(model.summary()["parameters"] for model in alone)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(("\n".join(texts) + "\n").encode())))
    capsys.readouterr()
    assert main(["predict", "--model", *map(str, directions)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    said = [float(row["probability_positive"]) for row in rows]
    assert said == pytest.approx(np.mean(softmax, 0)[:, both.task.labels.index("positive")], abs=1e-5)
    assert len({round(float(p[0, 0]), 6) for p in softmax}) == 2  # the two do not say the same by themselves


class Fixed(Answering):
    """Says the same of every text."""

    def __init__(self, task: Task, row: list[float]) -> None:
        self.task, self.row = task, row

    def logits(self, texts: Any) -> np.ndarray:
        return np.array([self.row] * len(texts), np.float32)


def task_of(kind: Any, *labels: str, texts: int = 1) -> Task:
    return Task(text=(("a",), ("b",))[:texts], label="label", kind=kind, labels=labels)


class TestEnsembles:
    def test_labels_are_matched_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        models = {
            "a": Fixed(task_of("single_label", "no", "yes"), [0.0, 2.0]),
            "b": Fixed(task_of("single_label", "yes", "no"), [1.0, 0.0]),
        }
        monkeypatch.setattr("understudy.loading._load", lambda name, task: models[name])
        both = understudy.load("a", "b")
        yes = (scipy.special.expit(2.0) + scipy.special.expit(1.0)) / 2
        assert both.predict(["x"])[0].probabilities == pytest.approx({"no": 1 - yes, "yes": yes}, abs=1e-6)

    def test_the_other_kinds(self) -> None:
        number = Ensemble([Fixed(task_of("regression"), [value]) for value in (1.0, 4.0)])
        assert number.predict(["x", "y"])[1].label == pytest.approx(2.5)
        task = task_of("multi_label", "a", "b")
        several = Ensemble([Fixed(task, [2.0, -40.0]), Fixed(task, [-1.0, -90.0])])
        expected = (scipy.special.expit(2.0) + scipy.special.expit(-1.0)) / 2
        said = several.predict(["x"])[0]
        assert said.probabilities == pytest.approx({"a": expected, "b": 0.0}, abs=1e-6)
        assert said.label == ["a"]
        sure = Ensemble([Fixed(task_of("single_label", "a", "b"), [900.0, 0.0])] * 2)
        assert np.isfinite(sure.logits(["x"])).all()

    def test_all_that_does_not_fit_is_said_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        models = {
            "a": Fixed(task_of("single_label", "no", "yes"), []),
            "b": Fixed(task_of("regression"), []),
            "c": Fixed(task_of("single_label", "no", "yes", texts=2), []),
            "d": Fixed(task_of("single_label", "no", "maybe"), []),
        }
        monkeypatch.setattr("understudy.loading._load", lambda name, task: models[name])
        with pytest.raises(ModelError) as raised:
            understudy.load("a", "b", "c", "d")
        assert [fault.partition(" Only models of one task")[0] for fault in raised.value.faults] == [
            "b: answers a regression task, but a a single_label one.",
            "c: reads pairs of texts, but a single texts.",
            "d: its labels are no, maybe, but those of a are no, yes.",
        ]

    def test_a_network_and_tfidf(self, directions: list[Path], reviews: Path, tmp_path: Path) -> None:
        assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tmp_path / "t")]) == 0
        both = understudy.load(directions[0], tmp_path / "t")
        assert isinstance(both, Ensemble)
        assert isinstance(understudy.load(tmp_path / "t"), LinearPredictor)
        assert {answer.label for answer in both.predict(["a good fine film", "an awful poor book"])} == {
            "positive",
            "negative",
        }


def test_bench_measures_an_awd_lstm(directions: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["bench", "--models", str(directions[0]), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["texts_per_second"] > 0


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("lm", ["--drop_mult", "3"], "drop_mult must be at least 0 and less than 2"),
        ("lm", ["--features", "frozen"], "one of our own networks (awd_lstm)"),
        ("bert", ["--drop_mult", "0.5"], "drop_mult scales the dropouts of an AWD-LSTM"),
        ("tfidf", ["--drop_mult", "0.5"], "--drop_mult: this is for layers that are trained in steps"),
        ("awd_lstm", [], "Pretrain it first (understudy pretrain --model awd_lstm"),
    ],
)
def test_mistakes_end_with_two_and_a_sentence(
    model: str,
    flags: list[str],
    said: str,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"bert": tiny_bert, "tfidf": "tfidf", "awd_lstm": "awd_lstm"}
    name = names.get(model) or write_language_model(tmp_path / "lm", reviews, backward=False)
    code = main(["finetune", "--data", str(reviews), "--model", str(name), *flags, "--output", str(tmp_path / "run")])
    assert code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run" / "model").exists()


def test_a_language_model_does_not_predict(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm = write_language_model(tmp_path / "lm", reviews, backward=False)
    assert main(["predict", "--model", str(lm)]) == 2
    assert "is a language model, not a trained classifier" in capsys.readouterr().err
