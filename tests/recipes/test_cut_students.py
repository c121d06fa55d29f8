"""Students cut from their teacher: whose head they begin with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

import understudy
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.multitask import TrainedTasks, save_tasks
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.multitask import MultiTaskModel
from understudy.objectives.teachers.load import load_teacher
from understudy.recipes.train.students.adapted import adapted_student
from understudy.recipes.train.students.classifier import UntrainedStudent, build_student
from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions
from understudy.settings.train.distill import DistillSettings

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))
TURNED = replace(TASK, labels=("Good", "Bad", "Fair"))
TEXTS = ["a good film", "the plot was awful"]


def student_of(teacher: Path, task: Task = TASK, *, of_several: str | None = None) -> UntrainedStudent:
    """All four layers of a teacher."""
    options = [LayersOptions(keep=[0, 1, 2, 3]), BiLSTMOptions(), StaticOptions()]
    kinds = {"tokenizer": "auto", "embeddings": "auto", "texts": Texts.of(TEXTS), "options": options, "seed": 0}
    return build_student("layers", task, teacher=str(teacher), of_several=of_several, **kinds)  # type: ignore[arg-type]


def assert_answers_as_its_teacher(student: UntrainedStudent, teacher: Path, of_several: str | None = None) -> None:
    model, columns, _ = load_teacher(str(teacher), TASK, of_several=of_several)
    found = Predictor(student.model, student.tokenizer, TASK, 32).logits(TEXTS)
    assert np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found, model.logits(TEXTS)[:, columns], atol=1e-6)
    assert student.note is None
    assert student.model.keeps_head  # what begins a new head at the mean of the labels leaves this one alone
    assert student.model.config.id2label == dict(enumerate(TASK.labels))  # type: ignore[union-attr]


@pytest.mark.parametrize("labels", [TASK.labels, TURNED.labels])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_head_with_the_labels_in_another_order_is_taken(
    kind: str, labels: tuple[str, ...], tiny_bert: Path, tmp_path: Path
) -> None:
    """DistilBERT's head has a layer below its last one, which has no order of labels."""
    task, tokenizer = replace(TASK, labels=labels), load_tokenizer(str(tiny_bert))
    torch.manual_seed(0)
    if kind == "bert":
        model = load_classifier(str(tiny_bert), task)
    else:
        sizes = {"dim": 16, "hidden_dim": 32, "n_layers": 4, "n_heads": 2, "num_labels": 3}
        model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(tokenizer), **sizes)).eval()
    save_model(tmp_path / "teacher", model, tokenizer, task=task, max_length=20)
    assert_answers_as_its_teacher(student_of(tmp_path / "teacher"), tmp_path / "teacher")


def test_labels_without_names_are_those_of_the_numbers(tiny_bert: Path, tmp_path: Path) -> None:
    nameless = replace(TASK, labels=("LABEL_2", "LABEL_0", "LABEL_1"))
    torch.manual_seed(0)
    model = load_classifier(str(tiny_bert), nameless)
    model.save_pretrained(tmp_path / "teacher")
    load_tokenizer(str(tiny_bert)).save_pretrained(tmp_path / "teacher")
    found: Any = student_of(tmp_path / "teacher", replace(TASK, labels=("0", "1", "2"))).model
    assert torch.equal(found.classifier.weight, model.classifier.weight[[1, 2, 0]])


@pytest.mark.parametrize("wanted", [None, "mine"])
def test_the_head_of_one_of_several_tasks_is_taken(wanted: str | None, tiny_bert: Path, tmp_path: Path) -> None:
    other = replace(TASK, labels=("no", "yes"))
    tasks = {"first": other, "mine": TURNED} | ({} if wanted is None else {"last": TASK})
    torch.manual_seed(0)
    models = {name: load_classifier(str(tiny_bert), task) for name, task in tasks.items()}
    trained = TrainedTasks(MultiTaskModel(models, shared=True), load_tokenizer(str(tiny_bert)), tasks, 20)
    save_tasks(tmp_path / "teacher", trained)
    student = student_of(tmp_path / "teacher", of_several=wanted)
    assert_answers_as_its_teacher(student, tmp_path / "teacher", wanted)
    assert "new" in str(student_of(tmp_path / "teacher", replace(TASK, labels=("a", "b"))).note)


@pytest.mark.parametrize("teaches", ["head", "encoder"])
def test_a_head_that_is_new_is_said(teaches: str, tiny_bert: Path, tmp_path: Path) -> None:
    """An encoder without a head has two labels without names, as far as its configuration tells."""
    torch.manual_seed(0)
    task = replace(TASK, labels=("0", "1"))
    if teaches == "head":
        model = load_classifier(str(tiny_bert), TASK)
        save_model(tmp_path, model, load_tokenizer(str(tiny_bert)), task=TASK, max_length=20)
    folder = tmp_path if teaches == "head" else tiny_bert
    found = student_of(folder, task)
    assert (
        found.note == f"{folder}: has no head for these labels that a student can take, so the student's head is new."
    )


def test_layers_under_a_new_adapter_keep_the_head_too(tiny_bert: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = load_classifier(str(tiny_bert), TURNED)
    save_model(tmp_path / "teacher", model, load_tokenizer(str(tiny_bert)), task=TURNED, max_length=20)
    settings = DistillSettings(student="layers:4", adapter="houlsby")
    made: Any = adapted_student(settings, TASK, teacher=str(tmp_path / "teacher"))
    assert torch.equal(made.model.classifier.weight, model.classifier.weight[[1, 2, 0]])
    assert made.note is None
    assert made.model.keeps_head
    assert "new" in str(adapted_student(settings, replace(TASK, labels=("a", "b")), teacher=str(tiny_bert)).note)


@pytest.mark.usefixtures("quick")
def test_layers_of_an_adapter_keep_its_head_too(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    words = ["finetune", "--data", reviews, "--model", tiny_bert, "--output", tmp_path / "teacher", "--no_baseline"]
    words += ["--adapter", "pfeiffer", "--reduction", "4", "--epochs", "1", "--pooling", "head", "--start", "head"]
    assert main(list(map(str, words))) == 0
    teacher = understudy.load(tmp_path / "teacher")
    turned = replace(teacher.task, labels=("Positive", "Negative"))
    made = adapted_student(DistillSettings(student="layers:4"), turned, teacher=str(tmp_path / "teacher"))
    found = Predictor(made.model, made.tokenizer, turned, 32).logits(TEXTS)
    np.testing.assert_allclose(found, teacher.logits(TEXTS)[:, ::-1], atol=1e-5)
    assert made.note is None
    assert made.model.keeps_head
