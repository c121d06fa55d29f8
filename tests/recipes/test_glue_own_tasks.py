"""``understudy glue --tasks_file``: names, labels, and faults in the words of the file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from glue_toys import write_glue

import understudy
from understudy.cli import main
from understudy.data.readers.sources import load_splits
from understudy.errors import ConfigError, DataError
from understudy.folders.run import Run
from understudy.recipes.train.glue import family
from understudy.recipes.train.glue.recipe import Glue
from understudy.record import RunRecord
from understudy.report.scores import MULTI_TASK
from understudy.report.tables.tasks import task_rows, tasks_table
from understudy.settings.documents import read_documents
from understudy.settings.train.task_file import read_task_file

pytestmark = pytest.mark.usefixtures("quick_throughout", "two_folds")

Words = Callable[..., list[str]]


@pytest.fixture
def words(tiny_bert: Path, tmp_path: Path) -> Words:
    """The words of a short run on the tasks of a file, which is written."""

    def made(content: str, *more: object) -> list[str]:
        (tmp_path / "tasks.yaml").write_text(content, encoding="utf-8")
        given = ["--tasks_file", tmp_path / "tasks.yaml", "--model", tiny_bert, "--output", tmp_path / "run"]
        given += ["--epochs", 1, "--batch_size", 8, "--max_length", 24, "--learning_rate", "1e-3"]
        return [str(word) for word in ["glue", *given, *more]]

    return made


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A file of sentences that are answered with yes or no."""
    lines = [f"the film number {i} is {'good' if i % 2 else 'bad'},{'yes' if i % 2 else 'no'}" for i in range(40)]
    (tmp_path / "answers.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return tmp_path / "answers.csv"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "all: {data: x.csv}",
            "task 'all': 'all' stands for every task of GLUE, so no task can be called that. Rename it.",
        ),
        ("Average: {data: x.csv}", "task 'Average': 'average' is the average over all tasks"),
        ("rte: {data: x.csv}\nRTE: {data: y.csv}", "the tasks rte and RTE differ only in case"),
        ("a: {data: x.csv, labels: [no]}", "task 'a': labels must be two or more, but is 'no' alone."),
        ("a: {data: x.csv, labels: [no, no]}", "task 'a': labels must be different names, but 'no' is there twice."),
        ("a: {data: x.csv, labels: [no, ' ']}", "labels must be different names, but ' ' is empty."),
        ("a: {data: x.csv, labels: [1, 2], kind: regression}", "labels are classes, but kind is regression."),
        ("a: {data: x.csv, labels: [1, 2], label: [b, c]}", "label names several columns, which are the labels."),
    ],
)
def test_names_and_labels_that_cannot_be(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "tasks.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_task_file(str(tmp_path / "tasks.yaml"))
    assert any(said in fault for fault in error.value.faults), error.value.faults


def test_a_folder_called_average_and_names_alike_but_for_case_are_refused(
    words: Words, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_glue(tmp_path / "GLUE")
    (root / "average").mkdir()
    content = f"RTE: {{data: {answers}}}"
    assert main(words(content, "--data", root, "--tasks", "average", "rte", "RTE", "--mode", "joint")) == 2
    said = capsys.readouterr().err
    assert (
        "'average' is the name of the average over all tasks, so no task can be called that. Rename average/." in said
    )
    assert "the tasks rte and RTE differ only in case" in said


@pytest.mark.parametrize("mode", ["single", "joint"])
def test_all_tasks_of_glue_and_a_file_of_own_ones_are_refused(
    words: Words, answers: Path, tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(f"rte: {{data: {answers}}}", "--data", write_glue(tmp_path / "GLUE"), "--task", "all", "--mode", mode)
    assert main(given) == 2
    said = f"--task all trains GLUE's tasks, and none of {tmp_path / 'tasks.yaml'}. Name the tasks with --tasks, or"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_own_task_called_wnli_counts_in_a_joint_average(words: Words, answers: Path, tmp_path: Path) -> None:
    assert (
        main(words(f"wnli: {{data: {answers}}}\nmood: {{data: {answers}, metrics: [f1_macro]}}", "--mode", "joint"))
        == 0
    )
    record = RunRecord.load(tmp_path / "run" / "record.json")
    of_wnli, of_mood, whole = (record.model(name)["metrics"]["validation"] for name in ("wnli", "mood", "average"))
    wanted = (sum(of_wnli.values()) / len(of_wnli) + of_mood["f1_macro"]) / 2
    assert whole["average"] == pytest.approx(wanted)
    with open(tmp_path / "run" / "progress.csv", encoding="utf-8") as file:
        (chosen,) = [float(row["validation_average"]) for row in csv.DictReader(file) if row["validation_average"]]
    assert chosen == pytest.approx(wanted)  # by which the weights are chosen


def test_an_own_task_called_like_one_of_glue_is_none_of_those_that_an_average_counts(
    answers: Path, tmp_path: Path
) -> None:
    (tmp_path / "tasks.yaml").write_text(f"rte: {{data: {answers}}}", encoding="utf-8")
    entry = {"name": "model", "metrics": {"validation": {"accuracy": 0.5}}}
    children = {name: RunRecord(command="glue", config={}, models=[entry]) for name in ("rte", "cola")}
    run = Run(tmp_path / "run", RunRecord(command="glue", config={}))
    family.sum_up(run, Glue(tasks=["rte", "cola"], tasks_file=str(tmp_path / "tasks.yaml")), children, [])
    assert any(
        "over 1 of GLUE's 8 tasks (sst2, mrpc, stsb, qqp, mnli, qnli, rte not" in note for note in run.record.notes
    )


def test_errors_are_shown_as_they_are_and_do_not_count() -> None:
    scores = {"validation": {"pearson": 0.5, "mse": 2.25}}
    record = {"models": [{"name": "alike", "metrics": scores}], "task": {"kind": MULTI_TASK}}
    (row,) = task_rows(record)
    assert (row.values, row.score, row.has_errors) == ("50.0 / 2.250", "50.0", True)
    assert "times 100; errors as they are" in str(tasks_table(record).title)
    del scores["validation"]["mse"]
    assert "(times 100)" in str(tasks_table(record).title)


def test_a_task_whose_name_begins_like_the_average_is_a_task() -> None:
    scores = {"validation": {"accuracy": 0.5}}
    models = [{"name": name, "metrics": scores} for name in ("average", "average, fine-tuned", "average_rating")]
    assert [row.is_average for row in task_rows({"models": models})] == [True, True, False]


def test_faults_are_in_the_words_of_the_file(
    words: Words, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.csv").write_text("wording,stars\nfine,a\nbad,b\n", encoding="utf-8")
    content = f"mood: {{data: {tmp_path / 'odd.csv'}}}\nother: {{data: {answers}, label: lable}}"
    content += f"\nscores: {{data: {answers}, kind: regression}}\nlost: {{data: {tmp_path / 'nowhere.csv'}}}"
    assert main(words(content, "--mode", "joint")) == 2
    said = capsys.readouterr().err
    where = f"{tmp_path / 'tasks.yaml'}, task "
    assert f"{where}'mood': {tmp_path / 'odd.csv'}: no text column" in said
    assert "Name what to read with 'text:'" in said
    assert f"{where}'other': {answers}: no column 'lable'" in said
    assert "Name the label column with 'label:'." in said
    assert f"{where}'scores': {answers}, line 2: 'no' in column 'label' is not a finite number" in said
    assert "or give 'kind: single_label'" in said
    assert f"{where}'lost': {tmp_path / 'nowhere.csv'}: no such file" in said
    assert "--text" not in said
    assert "--label" not in said
    assert "--kind" not in said
    assert "--columns" not in said


def test_faults_of_a_folder_say_where_its_keys_would_stand(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ROOT" / "mood").mkdir(parents=True)
    (tmp_path / "ROOT" / "mood" / "train.csv").write_text("wording,stars\nfine,a\nbad,b\n", encoding="utf-8")
    words = ["glue", "--data", tmp_path / "ROOT", "--task", "mood", "--model", tiny_bert, "--output", tmp_path / "run"]
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "Name what to read with 'text:'" in said
    assert "Such keys are those of a --tasks_file." in said


def test_labels_are_texts_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("labels: [no, yes, 010, 1.0, ~]\nother: [no, 1]\n", encoding="utf-8")
    assert read_documents(str(path)) == [{"labels": ["no", "yes", "010", "1.0", "~"], "other": [False, 1]}]


@pytest.mark.parametrize("mode", ["single", "joint"])
def test_labels_give_the_classes_and_their_order(words: Words, answers: Path, tmp_path: Path, mode: str) -> None:
    content = f"mood: {{data: {answers}, labels: [yes, maybe, no]}}\nplain: {{data: {answers}}}"
    assert main(words(content, "--mode", mode)) == 0
    folder = tmp_path / "run" / "mood" if mode == "single" else tmp_path / "run"
    model = understudy.load(folder) if mode == "single" else understudy.load(folder)["mood"]
    assert model.task.labels == ("yes", "maybe", "no")
    assert model.logits(["the film is good"]).shape == (1, 3)
    assert any("no row has the label 'maybe'" in note for note in RunRecord.load(folder / "record.json").notes)


def test_a_row_with_another_label_is_a_fault_with_its_line(
    words: Words, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.write_text(answers.read_text(encoding="utf-8").replace(",no\n", ",noo\n", 1), encoding="utf-8")
    assert main(words(f"mood: {{data: {answers}, labels: [no, yes]}}")) == 2
    said = capsys.readouterr().err
    assert (
        f"task 'mood': {answers}, line 2: label 'noo' is not one of 'no', 'yes', the labels that were named. Did you mean 'no'?"
        in said
    )


def test_named_labels_of_rows_with_several(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,b|c\nd,c\ne,\n" * 10, encoding="utf-8")
    found = load_splits(str(path), kind="multi_label", labels=["c", "b", "a"])
    assert found.task.labels == ("c", "b", "a")
    (row,) = np.unique(found.train.labels[[text == ("d",) for text in found.train.texts]], axis=0)
    assert row.tolist() == [1, 0, 0]
    path.write_text("text,label\n" + 'a,"[0, 1]"\nd,"[1, 1]"\n' * 10, encoding="utf-8")
    assert load_splits(str(path), labels=["x", "y"]).task.labels == ("x", "y")
    with pytest.raises(DataError, match="3 labels are named, but the lists in column 'label' are 2 times 0 or 1"):
        load_splits(str(path), labels=["x", "y", "z"])


def test_numbers_are_classes_where_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,score\n" + "a,1.0\nb,0\nc,1\n" * 10, encoding="utf-8")
    found = load_splits(str(path), labels=["1", "0"])
    assert (found.task.kind, found.task.labels) == ("single_label", ("1", "0"))


@pytest.mark.parametrize("mode", ["transfer", "joint"])
def test_several_tasks_are_needed_of_those_that_are_there(
    tiny_bert: Path, tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_glue(tmp_path / "GLUE") / "RTE").rename(tmp_path / "RTE")
    words = ["glue", "--data", tmp_path / "RTE", "--task", "all", "--mode", mode, "--model", tiny_bert]
    assert main([str(word) for word in [*words, "--output", tmp_path / "run"]]) == 2
    assert f"RTE: holds rte alone of GLUE's tasks, but --mode {mode} needs several." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
