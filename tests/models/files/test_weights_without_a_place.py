"""Weights that a checkpoint has and the architecture lacks are named: on the record of a run, and as a warning."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from understudy.cli import main
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.loading import load
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.pretrained import noting
from understudy.models.files.save import save_model

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))


@pytest.fixture
def larger(tiny_bert: Path, tmp_path: Path) -> str:
    """A classifier with the weights of a further layer, and of an adapter, in its file."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    weights = dict(model.state_dict())
    weights["bert.encoder.layer.9.output.dense.bias"] = torch.zeros(32)
    weights["bert.encoder.layer.0.adapter.down.weight"] = torch.zeros(4, 32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    save_model(tmp_path / "model", model, tokenizer, task=TASK, max_length=64)
    model.save_pretrained(tmp_path / "model", state_dict=weights)
    (tmp_path / "model" / "checksums.json").unlink()
    return str(tmp_path / "model")


def test_weights_without_a_place_are_named(larger: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = f"{larger}: the checkpoint holds 2 weights that BertForSequenceClassification has no place for: bert.encoder.layer.0.adapter.down.weight, bert.encoder.layer.9.output.dense.bias."
    notes: list[str] = []
    with noting(notes):
        load_classifier(larger, TASK)
        load_classifier(larger, TASK)
    assert notes == [expected]
    with caplog.at_level(logging.WARNING, "understudy"):
        load(larger)
    assert caplog.messages == [expected]


def test_a_run_says_it_once(
    larger: str, reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "finetune",
        "--data",
        str(reviews),
        "--model",
        larger,
        "--epochs",
        "1",
        "--output",
        str(tmp_path / "run"),
    ]
    assert main(command) == 0
    assert capsys.readouterr().err.count("has no place for") == 1
    assert caplog.messages == []


def test_a_head_that_is_not_wanted_is_not_mentioned(larger: str, tiny_bert: Path) -> None:
    notes: list[str] = []
    with noting(notes):
        load_encoder(str(tiny_bert))
    assert notes == []
    with noting(notes):
        load_encoder(larger)
    assert "encoder.layer.9.output.dense.bias" in notes[0]
    assert "classifier" not in notes[0].split("no place for")[1]


def test_weights_of_other_sizes_are_named(larger: str) -> None:
    path = Path(larger) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"type_vocab_size": 1, "max_position_embeddings": 9}))
    names = "bert.embeddings.position_embeddings.weight, bert.embeddings.token_type_embeddings.weight"
    with pytest.raises(ModelError, match=f"have other sizes than its config.json says: {names}. Copy both from"):
        load(larger)
