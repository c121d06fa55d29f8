"""``understudy glue --mode joint --teachers``: teachers of single tasks teach one student of all, kills and mistakes."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from glue_toys import write_glue
from safetensors.torch import load_file, save_file
from test_glue_joint import killed, record_of

import understudy
from understudy.cli import main
from understudy.data.glue.read import read_task
from understudy.models.files.multitask import load_tasks
from understudy.recipes.train.glue.joint.taught import said_of_task

pytestmark = pytest.mark.usefixtures("quick")

Words = Callable[..., list[str]]
TASKS = ("cola", "rte", "stsb")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("GLUE"))


@pytest.fixture(scope="module")
def teachers(root: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a teacher a task."""
    output = tmp_path_factory.mktemp("teachers") / "run"
    words = ["glue", "--data", root, "--model", tiny_bert, "--epochs", 2, "--batch_size", 8, "--max_length", 24]
    words += ["--learning_rate", "1e-3", "--tasks", *TASKS, "--no_baseline", "--output", output]
    assert main([str(word) for word in words]) == 0
    return output


@pytest.fixture
def taught(root: Path, tiny_bert: Path, teachers: Path) -> Words:
    """The words of a short run with teachers."""

    def words(output: Path, *more: object) -> list[str]:
        given = ["--data", root, "--model", tiny_bert, "--epochs", 2, "--batch_size", 8, "--max_length", 24]
        given += ["--mode", "joint", "--tasks", *TASKS]
        given += [] if "--teachers" in more else ["--teachers", teachers]
        return [str(word) for word in ["glue", *given, "--output", output, *more]]

    return words


def test_a_transformer_of_fewer_layers_has_a_teacher_a_task(
    taught: Words, teachers: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(taught(run, "--student", "layers:2")) == 0
    assert f"rte: {teachers / 'rte'}" in " ".join(capsys.readouterr().err.split())
    record = record_of(run)
    ends = ("", ", at its own best", ", its teacher", ", without teachers", ", TF-IDF")
    assert [model["name"] for model in record.models] == [
        f"{name}{end}" for end in ends for name in (*TASKS, "average")
    ]
    # the teachers' scores are those of their own runs, on the same rows
    for name in TASKS:
        own = record_of(teachers / name).model("model")["metrics"]["validation"]
        assert record.model(f"{name}, its teacher")["metrics"]["validation"] == pytest.approx(own)
    assert record.teacher_forward_texts == sum(
        len(set(read_task(str(root), name).splits.train.texts)) for name in TASKS
    )
    model = load_tasks(run / "model").model
    assert {len(model.task(name).bert.encoder.layer) for name in TASKS} == {2}
    assert len({id(model.task(name).bert) for name in TASKS}) == 1
    with open(run / "progress.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["phase"] for row in rows} == {"joint", "joint without teachers"}
    assert all(bool(row["distillation"]) == (row["phase"] == "joint") for row in rows if row["label_loss"])
    assert main(taught(tmp_path / "again", "--student", "layers:2", "--no_baseline")) == 0
    assert record_of(tmp_path / "again").teacher_forward_texts == 0  # the answers are cached
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (run, tmp_path / "again"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_teacher_is_scored_by_the_metrics_of_the_data(
    taught: Words, teachers: Path, root: Path, tmp_path: Path
) -> None:
    """Rows of one's own have five metrics, GLUE's RTE has one."""
    rows = read_task(str(root), "rte").splits.train
    names = ("entailment", "not_entailment")
    with open(tmp_path / "rte.csv", "w", encoding="utf-8", newline="") as file:
        pairs = [[*text, names[label]] for text, label in zip(rows.texts, rows.labels)]
        csv.writer(file).writerows([["sentence1", "sentence2", "label"], *pairs])
    linear = tmp_path / "linear"
    assert main(["finetune", "--model", "tfidf", "--data", str(tmp_path / "rte.csv"), "--output", str(linear)]) == 0
    given = ["--teachers", teachers / "cola", linear, teachers / "stsb", "--epochs", 1, "--no_baseline"]
    assert main(taught(tmp_path / "run", "--student", "layers:1", *given)) == 0
    found = record_of(tmp_path / "run").model("rte, its teacher")["metrics"]["validation"]
    assert list(found) == ["accuracy"]


def test_the_weights_of_the_teachers_are_those_of_a_constant_answer(
    taught: Words, teachers: Path, root: Path, tmp_path: Path
) -> None:
    assert main(taught(tmp_path / "run", "--student", "layers:1", "--epochs", 1, "--no_baseline")) == 0
    weights = record_of(tmp_path / "run").training["joint"]["teacher_weights"]
    for name in TASKS:
        answers = understudy.load(teachers / name).logits(read_task(str(root), name).splits.train.texts)
        labels = read_task(str(root), name).splits.train.labels
        spread = np.var(labels) if name == "stsb" else scipy.stats.entropy(np.bincount(labels))
        assert 1 / weights[name] == pytest.approx(max(np.var(answers, axis=0).mean(), spread / 10), rel=1e-4)


def test_a_teacher_that_answers_nearly_alike_does_not_outweigh_the_others(
    taught: Words, teachers: Path, tmp_path: Path
) -> None:
    shutil.copytree(teachers, tmp_path / "teachers")
    file = tmp_path / "teachers" / "rte" / "model" / "model.safetensors"
    weights = load_file(file)
    weights["classifier.weight"] *= 1e-5
    save_file(weights, file, {"format": "pt"})
    (file.parent / "checksums.json").unlink()
    short = ["--student", "layers:1", "--epochs", 1, "--no_baseline"]
    assert main(taught(tmp_path / "run", "--teachers", tmp_path / "teachers", *short)) == 0
    record = record_of(tmp_path / "run")
    assert record.training["joint"]["teacher_weights"]["rte"] == pytest.approx(10 / np.log(2))
    assert any("rte: its teacher answers nearly the same for every text" in note for note in record.notes)


def test_a_bilstm_has_a_head_a_task(taught: Words, root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sizes = ["--bilstm.embedding", 8, "--bilstm.lstm", 6, "--bilstm.hidden", 8]
    words = taught(run, "--student", "bilstm", *sizes, "--then", "finetune", "--distance", "kl", "--temperature", 2)
    assert main(words) == 0
    model = load_tasks(run / "model").model
    cola, rte, stsb = (model.task(name) for name in TASKS)
    assert cola.forward_lstm is rte.forward_lstm is stsb.forward_lstm
    assert cola.embeddings is rte.embeddings
    assert cola.hidden.in_features * 4 == rte.hidden.in_features  # a pair has its own features
    assert rte.hidden is not stsb.hidden
    heads = understudy.load(run)
    for name in TASKS:
        rows = read_task(str(root), name).splits.validation
        assert heads[name].logits(rows.texts[:4]).shape == (4, heads[name].task.outputs)
        assert understudy.load(run / f"best-{name}").model.config.model_type == "understudy_bilstm"
        assert understudy.load(run / f"finetuned-{name}").model.config.model_type == "understudy_bilstm"


def test_a_model_for_several_tasks_teaches_each_by_its_head(taught: Words, tmp_path: Path) -> None:
    assert main(taught(tmp_path / "first", "--epochs", 1, "--no_baseline")) == 0
    assert main(taught(tmp_path / "run", "--teachers", tmp_path / "first", "--epochs", 1, "--no_baseline")) == 0
    one, other = (record_of(tmp_path / name) for name in ("first", "run"))
    for name in TASKS:
        assert other.model(f"{name}, its teacher")["metrics"] == one.model(name)["metrics"]


@pytest.mark.parametrize("failpoint", ["label.batch:2", "joint.step:9", "joint without teachers.step:4"])
def test_killed_and_resumed_it_ends_with_the_same_bits(
    taught: Words, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, failpoint: str
) -> None:
    more = ["--student", "bilstm", "--bilstm.embedding", 8, "--bilstm.lstm", 6, "--bilstm.hidden", 8]
    more += ["--save_steps", 2, "--eval_steps", 7]
    words = taught(tmp_path / "run", *more)
    assert killed(words, failpoint) not in (0, 1, 2)
    assert main([*words, "--resume"]) == 0
    assert main(taught(tmp_path / "whole", *more)) == 0
    for folder in ("model", "best-rte", "best-cola", "best-stsb"):
        one, other = (load_file(tmp_path / run / folder / "model.safetensors") for run in ("whole", "run"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), folder
    whole, resumed = (record_of(tmp_path / run) for run in ("whole", "run"))
    assert [m["metrics"] for m in whole.models] == [m["metrics"] for m in resumed.models]
    assert whole.training["joint"]["teacher_weights"] == resumed.training["joint"]["teacher_weights"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--alpha", "0.1"], "--alpha belongs to --teachers"),
        (["--student", "bilstmm"], "--student must be bilstm, static or layers:N"),
        (["--bilstm.lstm", "5"], "--bilstm.lstm is for a student"),
        (["--student", "bilstm", "--pooling", "mean"], "--pooling is for an encoder of transformers"),
        (["--teachers", "a/b", "c/d"], "--teachers must be one for each task, or one run of several tasks"),
        (["--teachers", "a/b", "--temperature", "2"], "--temperature belongs to --distance kl"),
        (["--mode", "single", "--student", "bilstm"], "--student belongs to --mode joint, but the mode is single"),
        (["--teachers", "runs/none"], "runs/none: there is no such folder"),
    ],
)
def test_mistakes_are_said(
    root: Path, tiny_bert: Path, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["glue", "--data", root, "--model", tiny_bert, "--tasks", *TASKS, "--output", tmp_path / "run", *more]
    words += [] if "--mode" in more else ["--mode", "joint"]
    assert main([str(word) for word in words]) == 2
    assert said in capsys.readouterr().err


def test_teachers_of_all_tasks_need_their_names(
    root: Path, tiny_bert: Path, teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The order of ``all`` is GLUE's, which nobody wrote down."""
    words = ["glue", "--data", root, "--model", tiny_bert, "--task", "all", "--mode", "joint"]
    words += ["--output", tmp_path / "run", "--teachers", *(teachers / name for name in TASKS)]
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "--teachers names several models, so it needs the tasks by name, in the same order." in said


def test_a_teacher_that_was_trained_on_another_task_is_said(teachers: Path) -> None:
    (said,) = said_of_task(str(teachers / "cola"), "sst2")
    assert said.endswith("cola: was trained on cola, and teaches sst2. --teachers stand in the order of --tasks.")
    assert said_of_task(str(teachers / "cola" / "model"), "sst2")
    assert not said_of_task(str(teachers / "cola"), "cola")


def test_the_plan_says_what_is_trained_after_the_student(
    taught: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(taught(tmp_path / "run", "--student", "layers:1", "--then", "finetune", "--dry_run")) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "each task by itself and the same student without teachers, each about as long again as training" in said


def test_a_teacher_of_another_task_is_refused(
    taught: Words, teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = [teachers / name for name in ("cola", "stsb", "rte")]
    assert main(taught(tmp_path / "run", "--teachers", *swapped)) == 2
    said = capsys.readouterr().err
    assert "stsb: was trained for regression labels, but the data's are single_label" in said
    assert "rte: was trained for single_label labels, but the data's are regression" in said
