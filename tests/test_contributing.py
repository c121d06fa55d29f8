"""The examples of CONTRIBUTING run as they stand."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.tokenizers import load_tokenizer
from understudy.recipes.train.students import classifier
from understudy.record import RunRecord
from understudy.settings import student_options as students

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))


def section(title: str) -> dict[str, Any]:
    """What the Python blocks of a section define, in a module of its own."""
    part = TEXT[TEXT.index(f"## {title}") :]
    part = part[: part.find("\n## ", 4)]
    module = ModuleType("contributing_" + title.split()[-1])
    sys.modules[module.__name__] = module  # dataclasses look their module up
    for block in re.findall(r"^ *```python\n(.*?)^ *```", part, flags=re.M | re.S):
        exec(compile(textwrap.dedent(block), "CONTRIBUTING.md", "exec"), module.__dict__)
    return module.__dict__


def test_the_objective(tiny_bert: Path) -> None:
    model, tokenizer = load_classifier(str(tiny_bert), TASK), load_tokenizer(str(tiny_bert))
    objective = section("How to add an objective")["Consistent"](model.train(), "single_label", weight=0.5)
    encoded = encode(Texts.of(["a good film", "a bad film"]), tokenizer, max_length=8)
    names = ("input_ids", "attention_mask")
    batches = BucketedBatches(encoded, np.array([1, 0]), names=names, batch_size=2, max_tokens=64, seed=0)
    terms = objective(next(iter(batches.windows(0)))[0])
    assert tuple(term.name for term in terms) == objective.terms
    assert all(torch.isfinite(term.sum) and term.sum > 0 for term in terms)


def test_the_student(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = section("How to add a student")
    module = ModuleType("understudy.models.students.cnn")
    module.Cnn = found["Cnn"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    options = found["CnnOptions"](embedding=8, hidden=6, filters=5)
    monkeypatch.setattr(students, "STUDENTS", (*students.STUDENTS, options.name))
    student = classifier.build_student(
        options.name,
        TASK,
        teacher=str(tiny_bert),
        texts=Texts.of(["a good film"]),
        tokenizer="teacher",
        embeddings="teacher",
        options=[options],
        seed=0,
    )
    assert student.model.config.filters == 5
    predictor = Predictor(student.model, student.tokenizer, TASK, 16)
    texts = ["a good film", "a very bad book is a bad film", "nice"]
    alone = np.concatenate([predictor.logits([text]) for text in texts])
    np.testing.assert_allclose(predictor.logits(texts), alone, rtol=1e-5, atol=1e-6)  # padding changes nothing


@pytest.mark.usefixtures("quick")
def test_the_recipe(reviews: Path, tmp_path: Path) -> None:
    recipe = section("How to add a recipe")["Majority"]
    record = recipe(data=str(reviews), seeds=[0, 1], output=str(tmp_path / "run")).run()
    assert record.finished
    assert record.aggregate["majority"]["accuracy"]["mean"] == 0.5
    child = RunRecord.load(tmp_path / "run" / "seed-1" / "record.json")
    assert child.model("majority")["metrics"]["test"]["accuracy"] == 0.5


def test_the_files_that_are_named_exist() -> None:
    root = Path(__file__).parents[1]
    for name in re.findall(r"`((?:tests|recipes|docs|benchmarks)/[\w/.-]+\.(?:py|md))`", TEXT):
        places = [root / name, root / "src" / "understudy" / name]
        assert any(place.exists() for place in places), name
    for name in re.findall(r"`((?:settings|runs|objectives|models|training)/[\w/]+\.py)`", TEXT):
        assert (root / "src" / "understudy" / name).exists(), name
