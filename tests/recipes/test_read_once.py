"""A teacher reads a text once, for its answer, for the student's embeddings and for the probe that the student is set beside."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, BertModel

from understudy.errors import Interrupted
from understudy.evaluation import cost
from understudy.objectives.teachers import sources
from understudy.recipes.train.distill import teachers
from understudy.recipes.train.distill.recipe import Distill
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.recipes.train.students import start
from understudy.record import RunRecord
from understudy.settings.student_options import StaticOptions

pytestmark = pytest.mark.usefixtures("quick_throughout")

FACTS = {"parameters": 1, "texts_per_second": 1.0, "latency_ms": {"p50": 1.0, "p99": 1.0}, "threads": 1}


@pytest.fixture(scope="module", params=["head", "mean"])
def teacher(
    request: pytest.FixtureRequest, reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A classifier of transformers, or one on the mean of the states."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    rate: dict[str, Any] = {"epochs": 2, "learning_rate": 3e-3, "baseline": False}
    Finetune(data=str(reviews), model=str(tiny_bert), pooling=request.param, output=str(folder), **rate).run()
    return folder


def distil(reviews: Path, teacher: Path, output: Path, **options: Any) -> RunRecord:
    small = StaticOptions(embedding=16, hidden=8)
    pool = str(reviews / "pool.txt")
    common: dict[str, Any] = {"data": str(reviews), "unlabeled": pool, "student": "static", "static": small}
    return Distill(teacher=[str(teacher)], epochs=1, output=str(output), **common, **options).run()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """How often each text, by its token ids, has gone through an encoder; the measurements of speed are left out."""
    found: Counter[tuple[int, ...]] = Counter()
    forward = BertModel.forward

    def counting(self: Any, input_ids: Any, attention_mask: Any, **rest: Any) -> Any:
        found.update(tuple(ids[real.bool()].tolist()) for ids, real in zip(input_ids, attention_mask))
        return forward(self, input_ids=input_ids, attention_mask=attention_mask, **rest)

    monkeypatch.setattr(BertModel, "forward", counting)
    monkeypatch.setattr(cost, "measure", lambda model, texts: FACTS)
    return found


def parts(reviews: Path, teacher: Path) -> dict[str, list[tuple[int, ...]]]:
    """The token ids of the texts of each split."""
    splits = Distill(data=str(reviews), teacher=[str(teacher)], unlabeled=str(reviews / "pool.txt")).read()
    tokenizer = AutoTokenizer.from_pretrained(teacher / "model")
    found = {"train": splits.train.texts, "validation": splits.validation.texts, "test": splits.test.texts}
    found["pool"] = splits.unlabeled
    return {name: [tuple(tokenizer(text)["input_ids"]) for (text,) in texts] for name, texts in found.items()}


@pytest.mark.parametrize("tokens", [0, 1000, 100_000])
def test_a_teacher_reads_each_text_once(
    tokens: int,
    reviews: Path,
    teacher: Path,
    tmp_path: Path,
    read: Counter[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether embeddings start from none of the texts, from some or from all."""
    monkeypatch.setattr(start, "_TOKENS", tokens)
    embeddings = "contextual" if tokens else "random"
    record = distil(reviews, teacher, tmp_path / "run", embeddings=embeddings)
    texts = parts(reviews, teacher)
    occurs = Counter(texts["train"] + texts["pool"])
    tried = texts["train"][0]  # whether states come out at all
    for text in {*occurs, *texts["validation"], *texts["test"]} - {tried}:
        assert (
            1 <= read[text] <= max(1, occurs[text] if tokens else 1)
        )  # of equal texts the states of each are added up
    assert record.teacher_forward_texts == len(occurs)
    read.clear()
    again = distil(reviews, teacher, tmp_path / "again", embeddings=embeddings)
    assert not any(read[text] for part in texts.values() for text in part)
    assert again.teacher_forward_texts == 0
    assert [one["metrics"] for one in again.models] == [one["metrics"] for one in record.models]
    assert [one["calibration"] for one in again.models] == [one["calibration"] for one in record.models]


def test_what_was_labelled_without_vectors_is_read_for_them(
    reviews: Path, teacher: Path, tmp_path: Path, read: Counter[tuple[int, ...]]
) -> None:
    """By a run without a probe, or by an earlier version; the record counts what is read."""
    distil(reviews, teacher, tmp_path / "first", embeddings="random", references=False)
    read.clear()
    record = distil(reviews, teacher, tmp_path / "second", embeddings="random")
    texts = parts(reviews, teacher)
    labelled = set(texts["train"])
    assert {read[text] for text in texts["pool"] if text not in labelled} == {0}
    assert {read[text] for text in labelled} == {1}
    assert record.teacher_forward_texts == len(labelled)
    assert list(record.answered_before.values()) == [len(set(texts["pool"]) - labelled)]


def test_a_signal_while_labelled_rows_are_read_costs_nothing_that_is_done(
    reviews: Path,
    teacher: Path,
    tmp_path: Path,
    read: Counter[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No text is read twice, and the resumed run ends with the bits of one that nothing happened to."""
    monkeypatch.setattr(sources, "token_budget", lambda device, model: 200)
    whole = distil(reviews, teacher, tmp_path / "whole", embeddings="random", threads=1)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    read.clear()
    with monkeypatch.context() as patch:
        patch.setattr(sources, "batch_logits", stopping(sources.batch_logits, at=8))
        with pytest.raises(Interrupted):
            distil(reviews, teacher, tmp_path / "run", embeddings="random", threads=1)
    texts = parts(reviews, teacher)
    assert 0 < sum(read[text] for text in set(texts["train"])) < len(set(texts["train"]))
    assert not any(read[text] for text in set(texts["pool"]) - set(texts["train"]))
    record = distil(reviews, teacher, tmp_path / "run", embeddings="random", threads=1, resume=True)
    assert {read[text] for part in texts.values() for text in part} == {1}
    assert record.teacher_forward_texts == whole.teacher_forward_texts
    assert record.answered_before == whole.answered_before
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "run"))
    assert one == other


def stopping(compute: Any, *, at: int) -> Any:
    """A function during whose call of this number the process is asked to end."""
    calls: list[int] = []

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return compute(*arguments, **options)

    return counting


def test_the_probe_is_the_one_that_reads_for_itself(
    reviews: Path, teacher: Path, tmp_path: Path, read: Counter[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does so where the vectors are too many to be kept."""
    both = distil(reviews, teacher, tmp_path / "both", embeddings="random")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(teachers, "_MOST_KEPT", 100)
    read.clear()
    alone = distil(reviews, teacher, tmp_path / "alone", embeddings="random")
    texts = parts(reviews, teacher)
    assert {name: min(read[text] for text in part) for name, part in texts.items()} == {
        "train": 2,
        "validation": 3,
        "test": 2,
        "pool": 1,
    }
    entries = [record.model("probe") for record in (both, alone)]
    assert entries[0]["metrics"] == entries[1]["metrics"]
    temperatures = [entry["calibration"]["temperature"] for entry in entries]
    np.testing.assert_allclose(*temperatures, rtol=1e-3)
    answers = []
    for name in ("both", "alone"):
        kept = np.load(tmp_path / name / "answers.npz")
        answers.append(kept["answers"][kept["names"].tolist().index("probe")])
    np.testing.assert_allclose(*answers, atol=1e-3)
