"""``understudy quantize``: runs become folders with int8 weights, measured on labelled rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from understudy.cli import main
from understudy.inference.exported.facts import ExportedFacts, QuantizedFacts
from understudy.recipes.ship.quantize import told_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.usefixtures("quick_throughout"), pytest.mark.filterwarnings("ignore")]
TEXTS = ["a good film", "the bad book, quite", "lovely", ""]


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned BERT."""
    run = tmp_path_factory.mktemp("runs") / "teacher"
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "2", "--no_baseline"]
    assert main([*command, "--output", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def bilstm(reviews: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of it."""
    run = tmp_path_factory.mktemp("runs") / "bilstm"
    command = ["distill", "--data", str(reviews), "--teacher", str(teacher), "--student", "bilstm", "--epochs", "2"]
    command += ["--bilstm.embedding", "16", "--bilstm.lstm", "8", "--no_baseline"]
    assert main([*command, "--output", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def exported(bilstm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student, exported."""
    folder = tmp_path_factory.mktemp("exported") / "bilstm"
    assert main(["export", str(bilstm), "--output", str(folder)]) == 0
    return folder


def test_a_run_is_measured_on_its_validation_rows(
    bilstm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["quantize", str(bilstm), "--to", "int8", "--max_drop", "20", "--output", str(out)]) == 0
    told = capsys.readouterr().out
    assert "bilstm in int8" in told
    assert "on 40 validation rows of its run" in told
    assert "95% interval" in told
    facts = ExportedFacts.read(out).quantized
    assert facts is not None
    assert (facts.rows, facts.metric, facts.max_drop) == (40, "accuracy", 20)
    assert f"{100 * facts.before:.2f} and is {100 * facts.after:.2f}" in told
    assert 0 < (out / "model.onnx").stat().st_size - facts.bytes_after < 600  # the record itself, in the graph
    assert facts.bytes_after < facts.bytes_before
    mine, theirs = understudy.load(bilstm), understudy.load(out)
    before, after = mine.logits(TEXTS), theirs.logits(TEXTS)
    assert 0 < np.abs(before - after).max() < 0.1 * max(1, np.abs(before).max())
    assert theirs.temperature == mine.temperature


def test_an_encoder_and_the_recipe_that_people_copy(teacher: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "quantize.yaml"
    command = ["quantize", "--config", str(recipe), "--model", str(teacher), "--max_drop", "20"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert understudy.load(tmp_path / "out").facts.quantized.parts > 4


def test_an_exported_folder_on_rows_of_a_file(
    exported: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, command = tmp_path / "out", ["quantize", str(exported), "--max_drop", "20"]
    assert main([*command, "--output", str(out)]) == 2
    assert "Name labelled rows with --texts" in capsys.readouterr().err
    assert main([*command, "--texts", str(reviews / "test.csv"), "--output", str(out)]) == 0
    assert f"on 60 rows of {reviews / 'test.csv'}" in capsys.readouterr().out
    assert main([*command, "--texts", str(reviews / "test.csv"), "--output", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    again = [*command, "--texts", str(reviews / "test.csv"), "--output", str(out), "--overwrite"]
    assert main(again) == 0
    assert main(["quantize", str(out), *again[2:-3], "--output", str(tmp_path / "x")]) == 2
    assert "is quantised already" in capsys.readouterr().err
    answers = tmp_path / "answers.csv"
    command = ["predict", "--model", str(out), "--input", str(reviews / "test.csv"), "--output", str(answers)]
    assert main(command) == 0
    assert len(answers.read_text().splitlines()) == 61
    capsys.readouterr()
    assert main(["bench", "--models", str(out), str(exported), "--rounds", "1", "--batch_sizes", "4", "--json"]) == 0
    assert [entry["format"] for entry in json.loads(capsys.readouterr().out)] == ["int8", "onnx"]
    assert main(["bench", "--models", str(out), "--formats", "onnx", "int8", "--rounds", "1"]) == 2
    assert f"{out}: is exported as int8, so it cannot be measured as onnx." in capsys.readouterr().err
    assert main(["bench", "--models", str(out), "--formats", "int8", "--rounds", "1", "--batch_sizes", "4"]) == 0


def test_files_without_a_header_and_with_other_columns(exported: Path, reviews: Path, tmp_path: Path) -> None:
    with (reviews / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["label"], row["text"]) for row in csv.DictReader(file)]
    for name, header in (("bare.csv", []), ("odd.csv", [("topic", "words")])):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=";").writerows([*header, *rows])
    command = ["quantize", str(exported), "--max_drop", "100", "--texts", str(tmp_path / "bare.csv")]
    out = tmp_path / "out"
    assert main([*command, "--columns", "label", "text", "--separator", "semicolon", "--output", str(out)]) == 0
    facts = ExportedFacts.read(out).quantized
    assert facts is not None
    assert facts.rows == len(rows)
    command = ["quantize", str(exported), "--max_drop", "100", "--texts", str(tmp_path / "odd.csv"), "--label", "topic"]
    command += ["--text", "words", "--calibrate", str(tmp_path / "odd.csv"), "--output", str(tmp_path / "calibrated")]
    assert main(command) == 0


def test_the_gate_refuses(
    bilstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(table: np.ndarray) -> Any:
        return np.zeros(table.shape, np.int8), np.ones((len(table), 1), np.float32)

    monkeypatch.setattr("understudy.deploy.onnx.int8.int8_rows", broken)
    monkeypatch.setattr("understudy.deploy.onnx.quantize.left_out", lambda parts, damage, fits: fits([]) or None)
    assert main(["quantize", str(bilstm), "--output", str(tmp_path / "out")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "accuracy falls too much" in error
    assert "larger --max_drop" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "no model: name a run"),
        (["{bilstm}"], "no output: name the folder"),
        (["{bilstm}", "--output", "x", "--to", "int3"], "int3"),
        (["{bilstm}", "--output", "x", "--to", "fp16", "--calibrate", "rows"], "--calibrate is for --to int8"),
        (["{bilstm}", "--output", "x", "--calibrate", "none.csv"], "no such file"),
        (["{bilstm}", "--output", "x", "--calibrate", "numbers.csv"], "numbers.csv"),
        (["{bilstm}", "--output", "x", "--max_drop", "-1"], "max_drop"),
        (["{bilstm}", "--output", "x", "--texts", "none.csv"], "no such file"),
        (["{bilstm}", "--output", "x", "--text", "a"], "--text says how --texts or --calibrate FILE is read"),
        (
            ["{bilstm}", "--output", "x", "--columns", "a", "b"],
            "but there is no such file. Name one, or leave --columns",
        ),
        (["{bilstm}", "--output", "x", "--texts", "odd.csv", "--encoding", "utf-88"], "there is no encoding 'utf-88'"),
        (["{bilstm}", "--output", "x", "--label", "a"], "--label names columns of --texts, but there is no --texts"),
        (["{bilstm}", "--output", "x", "--task", "a"], "one task only"),
        (["{bilstm}", "--output", "x", "--texts", "odd.csv"], "'positve'"),
        (["{bilstm}", "--output", "x", "--texts", "bare.csv"], "no label column"),
        (["{bilstm}", "--output", "x", "--texts", "none_labelled.csv"], "no row has a label"),
        (["{bilstm}", "--output", "x", "--texts", "plain.txt"], "without labels"),
        (["static", "--output", "x"], "not a trained model"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str],
    message: str,
    bilstm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.csv").write_text("text,label\na good film,positve\na bad film,negative\n")
    Path("bare.csv").write_text("text,rating\na good film,x\n")
    Path("none_labelled.csv").write_text("text,label\na good film,\n")
    Path("plain.txt").write_text("a good film\na bad one\n")
    Path("numbers.csv").write_text("width,height\n1,2\n3,4\n")
    assert main(["quantize", *(word.format(bilstm=bilstm) for word in arguments)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("flags", [["--to", "fp16"], ["--to", "int4-weight"], ["--calibrate", "rows"]])
def test_other_types_of_weights(flags: list[str], teacher: Path, tmp_path: Path) -> None:
    command = ["quantize", str(teacher), *flags, "--max_drop", "20", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    found = understudy.load(tmp_path / "out")
    assert (
        found.facts.quantized.to == {"fp16": "fp16", "int4-weight": "int4-weight", "rows": "int8, calibrated"}[flags[1]]
    )
    assert np.isfinite(found.logits(TEXTS)).all()


def test_a_static_model_is_not_calibrated(
    teacher: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "static"
    command = ["distill", "--data", str(reviews), "--teacher", str(teacher), "--student", "static", "--epochs", "1"]
    assert main([*command, "--no_baseline", "--no_references", "--output", str(run)]) == 0
    assert main(["quantize", str(run), "--calibrate", "rows", "--output", str(tmp_path / "out")]) == 2
    assert "there is nothing to calibrate" in capsys.readouterr().err


def test_tfidf_has_no_graph(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(run)]) == 0
    assert main(["quantize", str(run), "--output", str(tmp_path / "out")]) == 2
    assert "Distil it into a static student" in capsys.readouterr().err


def test_rows_without_a_label_are_left_out(bilstm: Path, tmp_path: Path) -> None:
    with open(tmp_path / "rows.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["review", "mood"], *[[f"a good film {i}", "positive"] for i in range(20)], ["a song", ""]])
    command = ["quantize", str(bilstm), "--texts", str(tmp_path / "rows.csv"), "--text", "review", "--label", "mood"]
    assert main([*command, "--max_drop", "100", "--output", str(tmp_path / "out")]) == 0
    facts = ExportedFacts.read(tmp_path / "out").quantized
    assert facts is not None
    assert facts.rows == 20


@pytest.mark.parametrize(("after", "moved"), [(0.85, "it falls by 5.00 points"), (0.925, "it rises by 2.50 points")])
def test_a_score_that_rises_is_not_said_to_fall(after: float, moved: str) -> None:
    sizes: dict[str, Any] = {"bytes_before": 400, "bytes_after": 100, "rows": 40, "parts": 1, "left": ()}
    scores: dict[str, Any] = {"before": 0.9, "after": after, "low": -0.1, "high": 0.1, "level": 0.95, "max_drop": 50}
    found = QuantizedFacts(to="int8", metric="accuracy", origin="rows", **sizes, **scores)
    assert moved in told_of(Path("out"), "static", found)
