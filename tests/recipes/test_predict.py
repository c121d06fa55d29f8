"""``understudy predict``, ``bench`` and ``validate``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import understudy
from understudy.cli import main


@pytest.fixture(scope="module")
def model(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(folder)]) == 0
    return folder


def test_standard_input_to_csv_in_order(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a good film", 'a bad, "awful" book', "the great cast", ""]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts) + "\n"))
    assert main(["predict", "--model", str(model), "--batch_size", "2"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows[:3]] == ["positive", "negative", "positive"]
    assert sum(float(rows[0][f"probability_{label}"]) for label in ("negative", "positive")) == pytest.approx(
        1, abs=1e-5
    )


def test_files_to_jsonl(model: Path, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert (
        main(
            [
                "predict",
                "--model",
                str(model),
                "--input",
                str(reviews / "test.csv"),
                str(reviews / "pool.txt"),
                "--output",
                str(out),
            ]
        )
        == 0
    )
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 210
    expected = understudy.load(model).predict([row["text"] for row in rows])
    assert [row["label"] for row in rows] == [answer.label for answer in expected]
    assert main(["predict", "--model", str(model), "--input", str(reviews / "test.csv"), "--output", str(out)]) == 2
    assert len(out.read_text(encoding="utf-8").splitlines()) == 210


def test_bench_prints_json(model: Path, reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--models", str(model), "--texts", str(reviews / "test.csv"), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["texts_per_second"] > 0
    assert entry["latency_ms"]["p50"] <= entry["latency_ms"]["p99"]


def test_validate_lists_every_fault(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood,positive\n,negative\nbad\n", encoding="utf-8")
    code = main(
        [
            "validate",
            "distill",
            "--train",
            str(tmp_path / "train.csv"),
            "--teacher",
            "bilstmm",
            "--student",
            "statik",
            "--alpha",
            "3",
            "--time_budget",
            "soon",
        ]
    )
    said = capsys.readouterr().err
    assert code == 2
    for fault in (
        "train.csv, line 3",
        "train.csv, line 4",
        "bilstmm",
        "'static'",
        "alpha must be",
        "time_budget must be",
    ):
        assert fault in said, fault


def test_validate_is_content_with_good_settings(reviews: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "finetune", "--data", str(reviews), "--model", "tfidf"]) == 0
    said = capsys.readouterr().out
    assert "train 120" in said
    assert "negative, positive" in said


def test_validate_loads_the_models_once_the_settings_are_in_order(
    reviews: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["validate", "distill", "--data", str(reviews), "--student", "layers:2"]
    assert main([*common, "--teacher", str(tiny_bert)]) == 2  # an encoder without a trained head
    assert "not a trained classifier" in capsys.readouterr().err
