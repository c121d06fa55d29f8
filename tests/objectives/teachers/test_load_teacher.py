"""Teachers by name: networks and TF-IDF, and what does not suit the task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import ConfigError, ModelError
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.tfidf import Tfidf
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.load import load_teacher

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive"))
TEXTS = ["a good film", "a bad film", "the plot is lovely", "the cast was awful"]
LABELS = np.array([1, 0, 1, 0])


def saved(folder: Path, tiny_bert: Path, kind: str, task: Task = TASK) -> str:
    """A trained model of either kind; the folder's name."""
    if kind == "tfidf":
        rows = [(text,) * len(task.text) for text in TEXTS]
        labels = np.eye(2, dtype=np.float32)[LABELS] if task.kind == "multi_label" else LABELS
        Tfidf.fit(rows, labels, task).save(folder)
    else:
        torch.manual_seed(0)
        model, tokenizer = load_classifier(str(tiny_bert), task), load_tokenizer(str(tiny_bert))
        save_model(folder, model, tokenizer, task=task, max_length=20)
    return str(folder)


@pytest.mark.parametrize("kind", ["tfidf", "network"])
@pytest.mark.parametrize("inner", ["", "model"])
def test_a_teacher_answers_in_the_order_of_the_tasks_labels(
    kind: str, inner: str, tiny_bert: Path, tmp_path: Path
) -> None:
    turned = replace(TASK, labels=("Positive", "Negative"))
    saved(tmp_path / "run" / inner, tiny_bert, kind, turned)
    model, columns, _ = load_teacher(str(tmp_path / "run"), TASK)
    assert type(model) is (LinearPredictor if kind == "tfidf" else Predictor)
    assert columns.tolist() == [1, 0]
    texts = Texts.of(TEXTS)
    answers = CachedTeacher.label(model, texts, columns=columns)(np.arange(4))
    np.testing.assert_allclose(answers, model.logits(TEXTS)[:, ::-1], atol=1e-5)
    if kind == "tfidf":
        assert (answers.argmax(1).numpy() == 1 - LABELS).all()  # these labels were fitted the other way round


def test_the_maximal_length_is_the_trained_one_unless_another_is_given(tiny_bert: Path, tmp_path: Path) -> None:
    name = saved(tmp_path / "run", tiny_bert, "network")
    assert load_teacher(name, TASK).model.max_length == 20
    assert load_teacher(name, TASK, max_length=30).model.max_length == 30
    with pytest.raises(ConfigError, match="reads at most 64 tokens"):
        load_teacher(name, TASK, max_length=65)
    load_teacher(saved(tmp_path / "linear", tiny_bert, "tfidf"), TASK, max_length=65)  # TF-IDF has no limit


@pytest.mark.parametrize("kind", ["tfidf", "network"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            replace(TASK, kind="multi_label", metrics=()),
            "was trained for multi_label labels, but the data's are single_label. Fine-tune a teacher on this data, or give --kind multi_label if the labels are such.",
        ),
        (
            replace(TASK, text=(("one",), ("two",))),
            "was trained on pairs of texts, but the data's rows are single texts. Name other columns with --text, or a teacher that was trained on this data.",
        ),
        (
            replace(TASK, labels=("negativ", "positive")),
            "its labels are 'negativ', 'positive', but the data's are 'negative', 'positive'. Did you mean 'negative'? Name a teacher",
        ),
    ],
)
def test_a_teacher_of_another_task_is_refused(
    kind: str, other: Task, said: str, tiny_bert: Path, tmp_path: Path
) -> None:
    name = saved(tmp_path / "run", tiny_bert, kind, other)
    with pytest.raises(ModelError) as raised:
        load_teacher(name, TASK)
    assert str(raised.value).startswith(f"{name}: {said}")


def test_labels_are_renamed_where_they_are_read(tiny_bert: Path, tmp_path: Path) -> None:
    other = replace(TASK, labels=("bad", "good"))
    for kind in ("tfidf", "network"):
        with pytest.raises(ModelError, match=r"rename the labels in 'labels' of the task in its config\.json or in"):
            load_teacher(saved(tmp_path / kind, tiny_bert, kind, other), TASK)


def test_what_is_no_trained_model_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a trained classifier"):
        load_teacher(str(tiny_bert), TASK)
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_teacher(str(tmp_path), TASK)
    saved(tmp_path / "linear", tiny_bert, "tfidf")
    (tmp_path / "linear" / "vocabulary.json").unlink()
    with pytest.raises(ModelError, match=r"vocabulary\.json was saved there, but is missing"):
        load_teacher(str(tmp_path / "linear"), TASK)
