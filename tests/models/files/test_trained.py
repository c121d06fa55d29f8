"""Trained classifiers saved and loaded: the same answers, with task, tokenizer and length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.names import kind_of
from understudy.models.files.pretrained import register_architectures
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.files.trained import load_trained
from understudy.models.shrink.cut import cut_layers
from understudy.models.students.pooled import PooledClassifier

IDS = torch.tensor([[2, 7, 9, 6, 3]])
Words = PreTrainedTokenizerFast


def test_every_architecture_fine_tunes_saves_and_loads(
    pretrained: Any, architecture: str, tiny_classifier: Callable[[str], Any], task: Task, words: Words, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "base", tiny_classifier(architecture), words)
    torch.manual_seed(0)
    model = load_classifier(name, task)
    assert model(IDS).logits.shape == (1, 3)
    assert model.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert model.config.problem_type == "single_label_classification"
    save_model(tmp_path / "model", model, load_tokenizer(name), task=task, max_length=32)
    trained = load_trained(str(tmp_path / "model"))
    loaded, tokenizer, stored, length = trained.model, trained.tokenizer, trained.task, trained.max_length
    assert torch.equal(loaded(IDS).logits, model.eval()(IDS).logits)
    assert (stored, length, tokenizer.get_vocab()) == (task, 32, words.get_vocab())
    assert kind_of(tmp_path / "model") == trained.kind == "transformer"
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(alone(IDS).logits, loaded(IDS).logits)


@pytest.mark.parametrize("kind", ["bilstm", "static"])
@pytest.mark.parametrize("pair", [False, True])
def test_students_save_and_load(
    student: Any, kind: str, pair: bool, task: Task, pair_task: Task, words: Words, tmp_path: Path
) -> None:
    own = pair_task if pair else task
    model = student(kind, own, words)
    save_model(tmp_path / "m", model, words, task=own, max_length=20)
    trained = load_trained(str(tmp_path / "m"))
    loaded, tokenizer, stored, length = trained.model, trained.tokenizer, trained.task, trained.max_length
    inputs = {"input_ids": IDS, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1]])}
    assert type(loaded) is type(model)
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert (stored, length, kind_of(tmp_path / "m"), trained.kind) == (own, 20, kind, kind)
    encoded = tokenizer("the good film", "a song")
    assert encoded["input_ids"] == words("the good film", "a song")["input_ids"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_pooled_saves_and_loads(tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
    encoder = tiny_classifier("roberta").base_model
    model = PooledClassifier.assemble(encoder, torch.randn(3, 16), torch.randn(3))
    save_model(tmp_path / "m", model, words, task=task, max_length=20)
    loaded = load_trained(str(tmp_path / "m")).model
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert kind_of(tmp_path / "m") == "pooled"
    assert torch.equal(load_encoder(str(tmp_path / "m"))(IDS).last_hidden_state, model.encoder(IDS).last_hidden_state)


def test_a_cut_model_saves_and_loads(
    pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    cut = cut_layers(load_classifier(pretrained(tmp_path / "b", tiny_classifier("bert"), words), task), [0, 3])
    save_model(tmp_path / "m", cut, words, task=task, max_length=20)
    assert torch.equal(load_trained(str(tmp_path / "m")).model(IDS).logits, cut.eval()(IDS).logits)


def test_registered_students_load_through_the_auto_class(
    student: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    model = student("bilstm", task, words)
    save_model(tmp_path / "m", model, words, task=task, max_length=20)
    register_architectures()
    register_architectures()
    torch.testing.assert_close(
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")(IDS).logits, model(IDS).logits
    )


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_noticed(name: str, student: Any, task: Task, words: Words, tmp_path: Path) -> None:
    save_model(tmp_path / "m", student("bilstm", task, words), words, task=task, max_length=20)
    path = tmp_path / "m" / name
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(ModelError, match=rf"m: {name} is not what was saved: its checksum is wrong\. Copy the folder"):
        load_trained(str(tmp_path / "m"))
    path.write_bytes(content)
    load_trained(str(tmp_path / "m"))


def test_a_foreign_classifier_serves_as_it_is(tiny_classifier: Any, words: Words, tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    model.config.id2label, model.config.label2id = {0: "neg", 1: "pos"}, {"neg": 0, "pos": 1}
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    trained = load_trained(str(tmp_path))
    loaded, task, length = trained.model, trained.task, trained.max_length
    assert (task.labels, task.kind, length) == (("neg", "pos"), "single_label", 40)
    assert not loaded.training


def test_an_encoder_is_not_a_trained_classifier(
    pretrained: Any, tiny_classifier: Any, words: Words, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"lacks classifier.*Fine-tune it first"):
        load_trained(pretrained(tmp_path / "b", tiny_classifier("bert"), words))
