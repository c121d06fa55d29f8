"""``understudy export``: runs of every kind become folders that answer as they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import understudy
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.models.files.multitask import TrainedTasks, save_tasks
from understudy.models.files.stored_task import set_task
from understudy.models.multitask import MultiTaskModel
from understudy.recipes.ship.exportable import rows_of_run

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.filterwarnings("ignore")]
TEXTS = ["a good film", "the bad book, quite", "lovely", ""]


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.report.plots.draw_all", lambda folder, record: [])
        yield


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned BERT."""
    run = tmp_path_factory.mktemp("runs") / "teacher"
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    assert main([*command, "--output", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def bilstm(reviews: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of it."""
    run = tmp_path_factory.mktemp("runs") / "bilstm"
    command = ["distill", "--data", str(reviews), "--teacher", str(teacher), "--student", "bilstm", "--epochs", "1"]
    command += ["--bilstm.embedding", "16", "--bilstm.lstm", "8", "--no_baseline"]
    assert main([*command, "--output", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def exported(bilstm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student, exported."""
    folder = tmp_path_factory.mktemp("exported") / "bilstm"
    assert main(["export", str(bilstm), "--output", str(folder)]) == 0
    return folder


def same_answers(one: Path, other: Path, **options: Any) -> None:
    """Check that two folders answer alike."""
    mine: Any = understudy.load(one, **options)
    theirs: Any = understudy.load(other)
    np.testing.assert_allclose(theirs.logits(TEXTS), mine.logits(TEXTS), atol=1e-5)
    assert [answer.label for answer in theirs.predict(TEXTS)] == [answer.label for answer in mine.predict(TEXTS)]
    assert theirs.temperature == mine.temperature


def test_a_run_is_compared_on_its_validation_rows(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(teacher), "--output", str(out)]) == 0
    assert "on 40 validation rows of its run" in capsys.readouterr().out
    same_answers(teacher, out)


def test_rows_that_may_have_been_trained_on_are_not_called_validation_rows(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (reviews / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    data = tmp_path / "data.csv"
    data.write_text("".join(rows[:40]), encoding="utf-8")
    words = ["finetune", "--data", str(data), "--model", "tfidf", "--output", str(tmp_path / "run")]
    assert main(words) == 0
    assert rows_of_run(str(tmp_path / "run")) is not None
    data.write_text("".join(rows[:44]), encoding="utf-8")
    assert rows_of_run(str(tmp_path / "run")) is None
    assert "the data of its run have changed since" in capsys.readouterr().err


def test_an_exported_model_predicts_measures_and_teaches(
    exported: Path, bilstm: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same_answers(bilstm, exported)
    answers = []
    for model in (bilstm, exported):
        out = tmp_path / f"{model.name}-{len(answers)}.csv"
        command = ["predict", "--model", str(model), "--input", str(reviews / "test.csv")]
        assert main([*command, "--output", str(out)]) == 0
        answers.append([line.split(",")[-3] for line in out.read_text().splitlines()])
    assert answers[0] == answers[1]
    run = tmp_path / "student"
    command = ["distill", "--data", str(reviews), "--teacher", str(exported), "--student", "static", "--epochs", "1"]
    command += ["--static.embedding", "16", "--no_baseline", "--output", str(run)]
    assert main([*command, "--embeddings", "random"]) == 0
    capsys.readouterr()


def test_texts_of_a_file(bilstm: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(bilstm / "model"), "--texts", str(reviews / "test.csv"), "--text", "text"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert f"on 60 texts of {reviews / 'test.csv'}" in capsys.readouterr().out
    assert main([*command, "--output", str(tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*command, "--output", str(tmp_path / "out"), "--overwrite"]) == 0


def test_the_recipe_that_people_copy_runs(bilstm: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "export.yaml"
    command = ["export", "--config", str(recipe), "--model", str(bilstm), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    same_answers(bilstm, tmp_path / "out")
    assert not (tmp_path / "out" / "model.ort").exists()
    assert main([*command[:-1], str(tmp_path / "phone"), "--format", "ort"]) == 0
    assert (tmp_path / "phone" / "model.ort").is_file()


def test_an_adapter_with_its_base(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    command += ["--adapter", "pfeiffer", "--learning_rate", "0.05"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 0
    same_answers(tmp_path / "run", tmp_path / "out")


def test_a_frozen_encoder_with_a_linear_layer(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--features", "frozen", "--no_baseline"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 0
    same_answers(tmp_path / "run", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["understudy"]["of"] == "pooled"


def test_one_task_of_several(tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = {
        "mood": Task(text=(("text",),), label="label", kind="single_label", labels=("sad", "happy")),
        "alike": Task(text=(("a",), ("b",)), label="score", kind="regression"),
    }
    models = {}
    for name, task in tasks.items():
        torch.manual_seed(len(name))
        models[name] = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=task.outputs)
        set_task(models[name].config, task)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    trained = TrainedTasks(MultiTaskModel(models, shared=True).eval(), tokenizer, tasks, 32, {"mood": 1.4})
    save_tasks(tmp_path / "joint", trained)
    assert main(["export", str(tmp_path / "joint"), "--output", str(tmp_path / "out")]) == 2
    assert "Say which with --task" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "joint"), "--task", "mood", "--output", str(tmp_path / "out")]) == 0
    same_answers(tmp_path / "joint", tmp_path / "out", task="mood")
    assert main(["export", str(tmp_path / "joint"), "--task", "mod", "--output", str(tmp_path / "x")]) == 2
    assert "Did you mean 'mood'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x"], "no model: name a run"),
        (["{bilstm}"], "no output: name the folder"),
        (["{bilstm}", "--output", "x", "--format", "onx"], "onnx"),
        (["{bilstm}", "--output", "x", "--texts", "none.csv"], "no such file"),
        (["{bilstm}", "--output", "x", "--text", "a"], "--text says how --texts is read, but there is no such file"),
        (["{bilstm}", "--output", "x", "--task", "a"], "one task only"),
        (["{exported}", "--output", "x"], "is an exported model already"),
        (["static", "--output", "x"], "not a trained model"),
        (["nowhere/at/all", "--output", "x"], "no such folder"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str],
    message: str,
    bilstm: Path,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [word.format(bilstm=bilstm, exported=exported) for word in arguments]
    assert main(["export", *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_tfidf_has_no_graph(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(run)]) == 0
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 2
    assert "Distil it into a static student" in capsys.readouterr().err


def test_an_exported_model_is_not_trained(
    exported: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "--data", str(reviews), "--model", str(exported), "--output", str(tmp_path / "run")]
    assert main(command) == 2
    assert "is an exported model, which answers but cannot be trained" in capsys.readouterr().err


def test_without_the_extra_the_message_says_how_to_get_it(
    bilstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert main(["export", str(bilstm), "--output", str(tmp_path / "out")]) == 2
    assert "pip install 'understudy[onnx]'" in capsys.readouterr().err


def test_bench_measures_formats_threads_and_lengths_in_turn(
    bilstm: Path, exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("understudy.evaluation.in_turn._ALONE", 4)
    monkeypatch.setattr("understudy.evaluation.in_turn._TOGETHER", 8)
    command = ["bench", "--models", str(bilstm), "--formats", "pytorch", "onnx", "int8", "--rounds", "1"]
    command += ["--lengths", "3", "9", "--batch_sizes", "4", "--threads", "1", "2"]
    assert main([*command, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    told = [(entry["format"], entry["threads"], entry["words"]) for entry in entries]
    kinds = ("pytorch", "onnx", "int8")
    assert told == [(kind, threads, words) for kind in kinds for threads in (1, 2) for words in (3, 9)]
    sizes = {entry["format"]: entry["size_bytes"] for entry in entries}
    assert sizes["int8"] < sizes["onnx"]
    assert all(entry["batches"]["4"] > 0 and entry["spread"]["p50"][0] > 0 for entry in entries)
    assert len({entry["parameters"] for entry in entries}) == 1
    assert main(["bench", "--models", str(exported), str(bilstm), "--rounds", "1"]) == 0
    assert "format" in capsys.readouterr().out
    assert main(["bench", "--models", str(exported), "--formats", "int8", "--rounds", "1", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["format"] == "int8"


def test_a_cold_start_is_that_of_a_process_without_torch(
    exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    (entry,) = understudy.Bench(models=[str(exported)], rounds=1, cold_start=True).run()
    table = capsys.readouterr().out
    assert all(heading in table for heading in ("first answer", "memory"))
    assert 2e7 < entry["peak_bytes"] < 2e8  # torch alone takes more
    assert entry["cold_start_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "{exported}", "--formats", "pytorch"], "there is no PyTorch model to measure"),
        (["--models", "{bilstm}", "--threads", "1", "1"], "one of them twice"),
        (["--models", "{bilstm}", "--formats", "int4"], "int4"),
        (["--models", "{bilstm}", "--lengths", "0"], "lengths"),
        (["--models", "{bilstm}", "--text", "a"], "--text says how --texts is read, but there is no such file"),
    ],
)
def test_mistakes_with_bench_are_said(
    arguments: list[str], message: str, bilstm: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *(word.format(bilstm=bilstm, exported=exported) for word in arguments)]) == 2
    assert message in capsys.readouterr().err
