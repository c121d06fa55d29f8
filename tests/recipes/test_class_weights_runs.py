"""``--class_weights`` in the commands that train on classes, and ``class_weight`` of the estimator; ``--top_k``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from toy_reviews import write_reviews
from understudy import TextClassifier
from understudy.cli import main

pytestmark = pytest.mark.usefixtures("quick")
SMALL = ["--epochs", "1", "--max_length", "16", "--no_baseline"]


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 rows, of which 12 are positive, whose words are misleading half of the time; 60 balanced test rows."""
    folder = tmp_path_factory.mktemp("lopsided")
    for name, rows, seed in (("train", 120, 0), ("validation", 40, 1), ("test", 60, 2)):
        write_reviews(folder / f"{name}.csv", rows, seed)
        if name != "test":
            with open(folder / f"{name}.csv", encoding="utf-8") as file:
                header, *lines = file.read().splitlines()
            kept = [line for i, line in enumerate(lines) if i % 2 == 0 or i % 12 == 1]
            (folder / f"{name}.csv").write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    return folder


def _record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return found


def test_tfidf_answers_with_the_rare_class_more_often(lopsided: Path, tmp_path: Path) -> None:
    answers = {}
    for name, flags in {"plain": [], "weighted": ["--class_weights", "balanced"]}.items():
        command = ["finetune", "--model", "tfidf", "--data", str(lopsided), "--output", str(tmp_path / name), *flags]
        assert main(command) == 0
        model = understudy.load(tmp_path / name)
        with open(lopsided / "test.csv", encoding="utf-8") as file:
            logits = model.logits([row["text"] for row in csv.DictReader(file)])
        answers[name] = float((logits[:, 1] - logits[:, 0]).mean())
    assert answers["weighted"] > answers["plain"] + 0.5
    record = _record(tmp_path / "weighted")
    assert record["data"]["train"]["class_weights"] == pytest.approx({"negative": 70 / 120, "positive": 3.5})
    assert record["given"]["class_weights"] == ["balanced"]
    card = (tmp_path / "weighted" / "README.md").read_text(encoding="utf-8")
    assert "A row's weight in the loss, by its class: negative 0.583, positive 3.5." in card
    assert "class_weights" not in _record(tmp_path / "plain")["data"]["train"]


def test_an_encoder_its_probe_and_a_student(
    lopsided: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["--data", str(lopsided), *SMALL, "--class_weights", "negative=1", "positive=4"]
    assert main(["finetune", "--model", str(tiny_bert), "--output", str(tmp_path / "t"), *shared]) == 0
    assert _record(tmp_path / "t")["data"]["train"]["class_weights"] == {"negative": 1.0, "positive": 4.0}
    student = ["--student", "static", "--teacher", str(tmp_path / "t"), "--no_references"]
    assert main(["distill", "--output", str(tmp_path / "s"), *student, *shared]) == 0
    assert "--alpha is 0, so the student learns from no label" in " ".join("".join(capsys.readouterr()).split())
    shared[-3:] = ["--class_weights", "balanced", "--alpha", "0.5"]
    assert main(["distill", "--output", str(tmp_path / "a"), *student, *shared]) == 0
    assert main(["distill", "--config", str(tmp_path / "a" / "config.yaml"), "--output", str(tmp_path / "b")]) == 0
    assert _record(tmp_path / "a")["models"][1]["metrics"] == _record(tmp_path / "b")["models"][1]["metrics"]


def test_what_has_no_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("text,score\n" + "".join(f"text {i},{i}.5\n" for i in range(30)), encoding="utf-8")
    command = ["finetune", "--model", "tfidf", "--data", str(table), "--output", str(tmp_path / "run")]
    assert main([*command, "--class_weights", "balanced"]) == 2
    assert "--class_weights is for rows that have one class each" in capsys.readouterr().err
    assert main([*command, "--class_weights", "balance"]) == 2
    assert "Did you mean 'balanced'?" in capsys.readouterr().err


def test_a_mapping_in_python_and_in_yaml(lopsided: Path, tmp_path: Path) -> None:
    weights: Any = {"positive": 2}
    record = understudy.Finetune(
        model="tfidf", data=str(lopsided), output=str(tmp_path / "run"), class_weights=weights
    ).run()
    assert record.data["train"]["class_weights"] == {"negative": 1.0, "positive": 2.0}
    assert record.config["class_weights"] == ["positive=2"]


def test_class_weight_of_the_estimator(lopsided: Path) -> None:
    with open(lopsided / "train.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts, classes = [row["text"] for row in rows], np.array([int(row["label"] == "positive") for row in rows])
    plain, weighted, given = (
        TextClassifier(class_weight=weight).fit(texts, classes) for weight in (None, "balanced", {1: 10.0})
    )
    odds = [float(model.decision_function(texts).mean()) for model in (plain, weighted, given)]
    assert odds[0] < odds[1] < odds[2]
    assert weighted.get_params()["class_weight"] == "balanced"
    for wrong, said in (("balance", "'balanced', a dict or None"), ({2: 1.0}, "not in y"), ({1: 0}, "number above 0")):
        with pytest.raises(ValueError, match=said):
            TextClassifier(class_weight=wrong).fit(texts, classes)  # type: ignore[arg-type]


def test_the_likeliest_labels(lopsided: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["finetune", "--model", "tfidf", "--data", str(lopsided), "--output", str(run)]) == 0
    model = understudy.load(run)
    (all_of_them,) = model.predict(["a good film"])
    (one,) = model.predict(["a good film"], top_k=1)
    assert one.label == all_of_them.label
    assert one.probabilities == {one.label: max(all_of_them.probabilities.values())}
    assert list(model.predict_one("a good film", top_k=5).probabilities) == sorted(
        all_of_them.probabilities, key=lambda name: -all_of_them.probabilities[name]
    )
    with pytest.raises(ValueError, match="top_k is 0"):
        model.predict(["a"], top_k=0)
    (tmp_path / "texts.txt").write_text("a good film\na bad film\n", encoding="utf-8")
    command = ["predict", "--model", str(run), "--input", str(tmp_path / "texts.txt"), "--top_k"]
    capsys.readouterr()
    assert main([*command, "3"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["text", "label", "label_1", "probability_1", "label_2", "probability_2"]
    assert rows[0]["label"] == rows[0]["label_1"] != rows[0]["label_2"]
    assert float(rows[0]["probability_1"]) >= float(rows[0]["probability_2"])
    assert main([*command, "1", "--format", "jsonl"]) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[0])["probabilities"]) == 1
    assert main([*command, "0"]) == 2
