"""Temperature, comparisons and probe of tiny runs, against scikit-learn, a slow loop and a run without them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import understudy
from understudy.cli import main
from understudy.errors import ModelError
from understudy.evaluation.quality import calibration
from understudy.functional.temperature import fit_temperature
from understudy.models.files.classifiers import load_encoder
from understudy.recipes.train.distill.teachers import Teachers
from understudy.record import RunRecord
from understudy.report.verdict import verdict
from understudy.runs.judging import probe

pytestmark = pytest.mark.usefixtures("quick_throughout")


def rows_of(path: Path) -> tuple[list[str], np.ndarray]:
    """The texts and the classes of a file."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], np.array([row["label"] == "positive" for row in rows]).astype(int)


@pytest.fixture(scope="module")
def many(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reviews with 80 validation rows, a fifth of them with the wrong label, so that a temperature can be fitted."""
    folder = tmp_path_factory.mktemp("many")
    for name, sources in {"train": ["train"], "validation": ["validation", "test"], "test": ["test"]}.items():
        rows = [row for source in sources for row in zip(*rows_of(reviews / f"{source}.csv"))]
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for number, (text, label) in enumerate(rows):
                wrong = name != "train" and number % 5 == 0
                writer.writerow([f"{text} {name}", "positive" if label != wrong else "negative"])
    return folder


@pytest.fixture(scope="module")
def finetuned(many: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "model"
    command = ["finetune", "--data", many, "--model", tiny_bert, "--epochs", 4, "--learning_rate", "3e-3"]
    assert main([str(part) for part in [*command, "--output", folder]]) == 0
    return folder


def test_the_temperature_is_fitted_on_the_validation_rows_and_used(many: Path, finetuned: Path) -> None:
    model, record = understudy.load(finetuned), RunRecord.load(finetuned / "record.json")
    texts, labels = rows_of(many / "validation.csv")
    expected = fit_temperature(model.logits(texts), labels)
    assert expected != 1.0
    assert model.temperature == pytest.approx(expected, rel=1e-3)
    texts, labels = rows_of(many / "test.csv")
    entry = record.model("model")["calibration"]
    assert entry["temperature"] == model.temperature
    assert entry["ece_before"] == pytest.approx(calibration(model.logits(texts), labels)["ece"], abs=1e-6)
    given = np.array([list(answer.probabilities.values()) for answer in model.predict(texts)])
    assert entry["ece"] == pytest.approx(calibration(np.log(given), labels)["ece"], abs=1e-6)
    card = (finetuned / "README.md").read_text(encoding="utf-8")
    assert (
        f"model {100 * entry['ece_before']:.1f} % → {100 * entry['ece']:.1f} % (temperature {model.temperature:g})"
        in card
    )


def test_few_validation_rows_give_a_temperature_too(reviews: Path, tmp_path: Path) -> None:
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tmp_path / "run")]) == 0
    model, (texts, labels) = understudy.load(tmp_path / "run"), rows_of(reviews / "validation.csv")
    assert len(texts) == 40
    assert model.temperature == fit_temperature(model.logits(texts), labels)


def test_the_probe_is_scikit_learns_on_the_mean_vectors(many: Path, finetuned: Path, tiny_bert: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    encoder, tokenizer = load_encoder(str(tiny_bert)), AutoTokenizer.from_pretrained(tiny_bert)

    def vectors(texts: Sequence[str]) -> np.ndarray:
        found = []
        for text in texts:
            with torch.inference_mode():
                found.append(encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy())
        return np.array(found, np.float64)

    (train, labels), (test, wanted) = rows_of(many / "train.csv"), rows_of(many / "test.csv")
    scaler = StandardScaler().fit(features := vectors(train))
    accuracies = [
        LogisticRegression(C=strength, tol=1e-6, max_iter=2000)
        .fit(scaler.transform(features), labels)
        .score(scaler.transform(vectors(test)), wanted)
        for strength in (0.001, 0.01, 0.1, 1.0)
    ]
    entry = RunRecord.load(finetuned / "record.json").model("probe")
    assert any(entry["metrics"]["test"]["accuracy"] == pytest.approx(accuracy, abs=0.02) for accuracy in accuracies)
    assert entry["head_bytes"] == 4 * (2 * 32 + 2)


def test_the_record_compares_all_models_and_the_last_line_is_the_verdict(
    many: Path, finetuned: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = RunRecord.load(finetuned / "record.json")
    pairs = {(entry["model"], entry["other"]): entry for entry in record.comparisons}
    assert list(pairs) == [("model", "probe"), ("model", "tfidf"), ("probe", "tfidf")]
    for (one, other), entry in pairs.items():
        scores = [record.model(name)["metrics"]["test"]["accuracy"] for name in (one, other)]
        assert entry["difference"] == pytest.approx(scores[0] - scores[1])
        assert entry["interval"][0] <= entry["difference"] <= entry["interval"][1]
        assert (entry["split"], entry["metric"], entry["rows"], entry["level"]) == ("test", "accuracy", 60, 0.99)
    found = verdict(json.loads((finetuned / "record.json").read_text()))
    assert found is not None
    assert f"Verdict: {found.sentence[:20]}" in (finetuned / "README.md").read_text(encoding="utf-8")
    model, texts = understudy.load(finetuned), [found["texts"][0] for found in record.mistakes]
    if texts:
        assert [answer.label for answer in model.predict(texts)] == [found["answer"] for found in record.mistakes]
    assert all(found["label"] != found["answer"] for found in record.mistakes)
    right = record.model("model")["metrics"]["test"]["accuracy"]
    assert len(record.mistakes) == min(25, round(60 * (1 - right)))
    again = ["finetune", "--data", many, "--model", tiny_bert, "--epochs", 1, "--seeds", 0, 1]
    assert main([str(part) for part in [*again, "--output", finetuned.parent / "family"]]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    parent = RunRecord.load(finetuned.parent / "family" / "record.json")
    assert sum(parent.verdicts.values()) == 2
    assert last.startswith(("All 2 runs: ", "1 of 2 runs: "))
    assert last.split(": ")[1] in (finetuned.parent / "family" / "README.md").read_text(encoding="utf-8")


def test_a_teacher_that_is_not_better_than_tfidf_is_doubted_before_it_labels(
    many: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label, known = Teachers.label, []

    def labelling(self: Teachers, session: Any, texts: Any, **options: Any) -> Any:
        known.extend(session.run.record.notes)
        return label(self, session, texts, **options)

    monkeypatch.setattr(Teachers, "label", labelling)
    untrained = [
        "finetune",
        "--data",
        many,
        "--model",
        tiny_bert,
        "--epochs",
        1,
        "--learning_rate",
        "1e-9",
        "--start",
        "head",
    ]
    assert main([str(part) for part in [*untrained, "--no_baseline", "--output", tmp_path / "teacher"]]) == 0
    assert RunRecord.load(tmp_path / "teacher" / "record.json").comparisons == []
    capsys.readouterr()
    command = ["distill", "--data", many, "--teacher", tmp_path / "teacher", "--student", "static", "--epochs", 1]
    assert main([str(part) for part in [*command, "--output", tmp_path / "student"]]) == 0
    printed = capsys.readouterr()
    doubt = printed.err.index("The teacher is not better than TF-IDF (")
    assert doubt < printed.err.index("student: ")
    last = printed.out.strip().splitlines()[-1]
    assert last.startswith("The teacher is below TF-IDF: mend the teacher first (it is at -")
    assert any(note.startswith("The teacher is not better than TF-IDF") for note in known)
    capsys.readouterr()
    assert main([str(part) for part in [*command, "--no_references", "--output", tmp_path / "alone"]]) == 0
    printed = capsys.readouterr()
    assert "TF-IDF" not in printed.err
    alone = RunRecord.load(tmp_path / "alone" / "record.json")
    assert [model["name"] for model in alone.models] == ["teacher", "student", "student without teacher"]


def test_an_encoder_that_cannot_be_probed_leaves_the_probe_out(
    many: Path, finetuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ModelError("its answer depends on the other texts of the batch.")

    monkeypatch.setattr(probe, "Predictor", refused)  # which settles how the probe is fed
    command = ["distill", "--data", many, "--teacher", finetuned, "--student", "static", "--epochs", 1]
    assert main([str(part) for part in [*command, "--no_baseline", "--output", tmp_path / "student"]]) == 0
    record = RunRecord.load(tmp_path / "student" / "record.json")
    assert [model["name"] for model in record.models] == ["teacher", "student", "tfidf"]
    assert "the probe is left out: its answer depends on the other texts of the batch." in record.notes
    monkeypatch.undo()
    student = ["finetune", "--data", many, "--model", tmp_path / "student", "--epochs", 1]
    assert main([str(part) for part in [*student, "--output", tmp_path / "further"]]) == 0
    notes = RunRecord.load(tmp_path / "further" / "record.json").notes
    assert any(note.startswith("the probe is left out: ") and "no encoder of transformers" in note for note in notes)
