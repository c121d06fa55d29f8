"""``finetune --contrastive``: an encoder learns from pairs of few labelled rows, then a linear layer on it."""

from __future__ import annotations

import csv
import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import forked
import understudy
from understudy.cli import main
from understudy.models.files.classifiers import load_encoder
from understudy.models.students.pooled import PooledClassifier
from understudy.recipes.train.finetune.contrast import ContrastiveEncoder, contrast_steps
from understudy.recipes.train.finetune.contrast_choice import choose_contrastive, class_counts
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick_throughout")

GENTLE = ["--learning_rate", "3e-3", "--no_baseline"]
"""A random encoder of width 32 needs a higher rate than a pretrained one."""


@pytest.fixture(scope="module")
def few(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training rows of each of two classes, with validation and test rows."""
    folder = tmp_path_factory.mktemp("few")
    for name, rows in {"train": 24, "validation": 20, "test": 60}.items():
        lines = (reviews / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{name}.csv").write_text("".join(lines[: rows + 1]), encoding="utf-8")
    return folder


def run(few: Path, model: Path, output: Path, *more: str) -> int:
    arguments = ["finetune", "--data", str(few), "--model", str(model), "--output", str(output)]
    return main([*arguments, "--contrastive", "always", *GENTLE, *more])


@pytest.mark.parametrize(("more", "said"), [({}, True), ({"eval_steps": 4}, False), ({"epochs": 2}, False)])
def test_a_patience_without_a_second_evaluation_is_said(
    few: Path, tiny_bert: Path, more: dict[str, int], said: bool
) -> None:
    recipe = Finetune(data=str(few), model=str(tiny_bert), contrastive="always", patience=2, **more)
    notes = recipe.prepare(recipe.read()).notes
    assert any("patience: has no effect" in note for note in notes) is said


def test_pairs_train_the_encoder_and_the_head_is_fitted_on_its_vectors(
    few: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(few, tiny_bert, tmp_path / "run") == 0
    said = capsys.readouterr()
    assert "all pairs of which are compared" in said.out + said.err
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.training["contrast"]["steps"] == contrast_steps(24, batch_size=16)
    with open(tmp_path / "run" / "progress.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["alike"]) + float(row["apart"]) for row in rows if row["alike"]]
    assert losses[-1] < 0.6 * losses[0]

    found: Any = understudy.load(tmp_path / "run")
    assert isinstance(found.model, PooledClassifier)
    vectors = _vectors(found, few / "train.csv")
    labels = [row["label"] for row in _read(few / "train.csv")]
    scaler = StandardScaler().fit(vectors)
    sklearn = LogisticRegression(C=0.1, tol=1e-8, max_iter=2000).fit(scaler.transform(vectors), labels)
    test = _vectors(found, few / "test.csv")
    texts = [row["text"] for row in _read(few / "test.csv")]
    outputs = found.logits(texts)
    np.testing.assert_allclose(
        outputs[:, 1] - outputs[:, 0], sklearn.decision_function(scaler.transform(test)), atol=1e-2
    )
    untrained = _vectors(found, few / "train.csv", encoder=tiny_bert)
    assert _apart(vectors, labels) > _apart(untrained, labels) + 0.1
    assert record.model("model")["metrics"]["test"]["accuracy"] > 0.6


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _vectors(found: Any, path: Path, encoder: Path | None = None) -> np.ndarray:
    """The mean of the states over the real tokens, text by text."""
    from transformers import AutoModel

    model = (found.model.encoder if encoder is None else AutoModel.from_pretrained(encoder)).eval()
    out = []
    with torch.no_grad():
        for row in _read(path):
            inputs = found.tokenizer(row["text"], return_tensors="pt")
            out.append(model(**inputs).last_hidden_state[0].mean(0).numpy())
    return np.array(out)


def _apart(vectors: np.ndarray, labels: list[str]) -> float:
    """Mean cosine of alike pairs less that of the others."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines, same = directions @ directions.T, np.array(labels)[:, None] == np.array(labels)
    off = ~np.eye(len(labels), dtype=bool)
    return float(cosines[same & off].mean() - cosines[~same].mean())


def test_killed_and_resumed_it_ends_with_the_same_bits(few: Path, tiny_bert: Path, tmp_path: Path) -> None:
    assert run(few, tiny_bert, tmp_path / "undisturbed", "--save_steps", "2") == 0
    weights = "model/model.safetensors"
    expected = (tmp_path / "undisturbed" / weights).read_bytes()
    command = ["finetune", "--data", str(few), "--model", str(tiny_bert), "--output", str(tmp_path / "run")]
    command += ["--contrastive", "always", *GENTLE, "--save_steps", "2"]
    died = forked.understudy(*command, failpoint="contrast.step:7")
    assert died.returncode == -signal.SIGKILL, died.stderr
    checkpoint = tmp_path / "run" / "checkpoints" / "contrast.pt"
    assert torch.load(checkpoint, weights_only=True)["state"]["step"] == 6
    assert main([*command, "--resume"]) == 0
    assert (tmp_path / "run" / weights).read_bytes() == expected


def test_pairs_of_texts_and_rows_with_several_labels(tiny_bert: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    words = ["good", "bad", "film", "book", "plot", "cast"]
    for kind in ("pairs", "several"):
        folder = tmp_path / kind
        folder.mkdir()
        for name, rows in {"train": 24, "validation": 12, "test": 12}.items():
            lines = []
            for _ in range(rows):
                one, other = (rng.choices(words, k=4) for _ in range(2))
                if kind == "pairs":
                    label: Any = "same" if one[0] == other[0] else "other"
                    row = {"sentence1": " ".join(one), "sentence2": " ".join(other), "label": label}
                else:
                    row = {"text": " ".join(one), "labels": [word for word in ("good", "bad") if word in one]}
                lines.append(json.dumps(row) + "\n")
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        assert run(folder, tiny_bert, tmp_path / f"run-{kind}") == 0
        found: Any = understudy.load(tmp_path / f"run-{kind}")
        assert found.task.is_pair == (kind == "pairs")
        assert found.task.kind == ("single_label" if kind == "pairs" else "multi_label")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("text,score\nfine,0.5\nbad,1.5\nfilm,2.5\nplot,3.5\ncast,0.25\n", "the labels are numbers"),
        ("text,label\nfine film,a\nbad plot,b\nfilm cast,c\n", "each class has one at most"),
    ],
)
def test_what_has_no_pairs_is_refused(
    rows: str, said: str, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "validation"):
        (tmp_path / f"{name}.csv").write_text(rows, encoding="utf-8")
    assert run(tmp_path, tiny_bert, tmp_path / "run") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--pooling", "head"], "compares means of states, but --pooling is head"),
        (["--start", "head"], "has no --start"),
        (["--unfreeze", "gradual"], "is a single stage"),
        (["--freeze", "all-but-head"], "Give --features frozen alone"),
        (["--drop_mult", "0.5"], "needs a transformer"),
        (["--batch_size", "1"], "compares the texts of a step, but --batch_size is 1. Give 2 or more."),
        (["--features", "frozen"], "--contrastive, --learning_rate: this is for layers that are trained in steps"),
    ],
)
def test_what_does_not_go_with_pairs_is_refused(
    flags: list[str], said: str, few: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(few, tiny_bert, tmp_path / "run", *flags) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def auto(data: Path, model: Path, *more: str) -> int:
    return main(["finetune", "--data", str(data), "--model", str(model), "--no_baseline", "--dry_run", *more])


def test_auto_takes_pairs_where_labels_are_few_and_a_probe_is_unsure(
    few: Path, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert auto(few, tiny_bert) == 0
    said = capsys.readouterr().err
    assert "12 labels a class, and a probe is right for" in said
    assert "so the encoder learns from pairs" in said
    for flags in (["--contrastive", "never"], ["--pooling", "head"], ["--unfreeze", "gradual"]):
        assert auto(few, tiny_bert, *flags) == 0
        assert "learns from pairs" not in capsys.readouterr().err
    assert auto(few, tiny_bert, "--batch_size", "1") == 0
    assert "not used: a step of one row has no pair" in capsys.readouterr().err
    assert auto(reviews, tiny_bert) == 0
    assert "not used: 60 labels a class, which is more than" in capsys.readouterr().err


def test_the_rule_is_a_function_of_labels_and_the_probe() -> None:
    few = np.repeat(np.arange(5), 8)
    assert choose_contrastive(few, probe=0.5).contrastive
    assert not choose_contrastive(few, probe=0.8).contrastive
    assert not choose_contrastive(np.repeat(np.arange(5), 100), probe=0.5).contrastive
    alone = np.concatenate([np.repeat(np.arange(3), 30), np.arange(3, 60)])  # classes of one row have no pair
    assert "30 labels a class, which is more" in choose_contrastive(alone, probe=0.5).why
    assert choose_contrastive(np.arange(4), probe=0.5).contrastive
    several = np.eye(5)[few]
    assert "a probe has a micro F1 of 50 % on held-out rows" in choose_contrastive(several, probe=0.5).why
    uneven = np.array([0] * 500 + [1] * 8 + [2] * 8)
    assert choose_contrastive(uneven, probe=0.5).contrastive


def test_epochs_are_passes_and_many_validation_rows_can_choose_the_probe(
    few: Path, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate at which all is forgotten, and 60 validation rows to see it."""
    flags = ["--epochs", "2", "--batch_size", "8", "--validation", str(reviews / "test.csv"), "--learning_rate", "0.1"]
    assert run(few, tiny_bert, tmp_path / "run", *flags) == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.training["contrast"]["steps"] == 2 * 3
    assert record.training["contrast"]["start"]["kept"] == "probe"
    assert any("is a probe of the encoder as it was" in note for note in record.notes)
    assert record.model("model")["trainable_parameters"] == 2 * 32 + 2
    found: Any = understudy.load(tmp_path / "run")
    before = load_encoder(str(tiny_bert)).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in found.model.encoder.state_dict().items())


def test_the_probe_stands_beside_what_pairs_taught(few: Path, reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """With 20 validation rows; and with 60 and a rate at which all is forgotten, where it is the model itself."""
    command = ["finetune", "--data", few, "--model", tiny_bert, "--contrastive", "always", "--epochs", "1"]
    many = ["--validation", reviews / "test.csv", "--learning_rate", "0.1"]
    for name, more in {"few": ["--learning_rate", "3e-3"], "many": many}.items():
        assert main([str(part) for part in [*command, *more, "--output", tmp_path / name]]) == 0
        record = RunRecord.load(tmp_path / name / "record.json")
        assert [model["name"] for model in record.models] == ["model", "probe", "tfidf"]
        model, probe = record.model("model"), record.model("probe")
        assert probe["head_bytes"] == 4 * (2 * 32 + 2)
        kept = record.training["contrast"]["start"]["kept"]
        assert kept == ("probe" if name == "many" else "contrastive")
        assert (model["metrics"] == probe["metrics"]) is (name == "many")


@pytest.mark.parametrize("flags", [["--patience", "1"], ["--eval_steps", "1"]])
def test_evaluations_that_decide_keep_the_best_weights(
    flags: list[str], few: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter(np.linspace(0.9, 0.1, 40))

    def worse(work: ContrastiveEncoder, *_: Any) -> dict[str, float]:
        return dict.fromkeys(work.splits.task.metrics, float(next(scores)))

    monkeypatch.setattr(ContrastiveEncoder, "_scores", worse)
    assert run(few, tiny_bert, tmp_path / "run", "--epochs", "3", "--batch_size", "8", *flags) == 0
    found = RunRecord.load(tmp_path / "run" / "record.json").training["contrast"]
    expected = {"--patience": ("patience", 6, 3), "--eval_steps": ("epochs", 9, 1)}[flags[0]]
    assert (found["stopped_by"], found["steps"], found["best_step"]) == expected


def test_a_sweep_finds_a_rate_for_pairs(few: Path, tiny_bert: Path, tmp_path: Path) -> None:
    command = ["lr-find", "finetune", "--data", str(few), "--model", str(tiny_bert), "--output", str(tmp_path / "rate")]
    assert main([*command, "--contrastive", "always", "--steps", "30", "--no_baseline"]) == 0
    assert RunRecord.load(tmp_path / "rate" / "record.json").training["sweep"]["rate"] > 0


def test_rows_of_each_class_are_counted() -> None:
    assert class_counts(np.array([3, 3, 1, -100])).tolist() == [1, 2]
    assert class_counts(np.array([[1, 0, 1], [1, 0, 0], [np.nan] * 3], np.float32)).tolist() == [2, 1]
