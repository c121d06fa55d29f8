"""Groups of parameters of every architecture: each parameter once, input to output."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertForMaskedLM,
    OPTConfig,
    OPTForSequenceClassification,
    Trainer,
)

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.classifiers import load_classifier
from understudy.models.structure.layers import encoder_layers, word_embeddings
from understudy.models.structure.parameter_groups import layer_groups, undecayed
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag, StaticConfig


def test_every_parameter_is_in_exactly_one_group(classifier: Any, architecture: str) -> None:
    groups = layer_groups(classifier)
    counts = Counter(id(parameter) for _, parameters in groups for parameter in parameters)
    assert set(counts) == {id(parameter) for parameter in classifier.parameters()}
    assert set(counts.values()) == {1}
    names = [name for name, _ in groups]
    layers = 1 if architecture == "albert" else 4
    assert names[: layers + 1] == ["embeddings", *(f"layer {i}" for i in range(layers))]
    assert names[layers + 1 :] in (["head"], ["pooler", "head"])
    assert any(parameter is word_embeddings(classifier).weight for parameter in groups[0][1])


def test_groups_follow_the_forward(classifier: Any, architecture: str) -> None:
    """The embedding table runs first, then the blocks in the order of their groups."""
    order: list[str] = []
    word_embeddings(classifier).register_forward_hook(lambda *_: order.append("embeddings"))
    for i, block in enumerate(encoder_layers(classifier)):
        block.register_forward_hook(lambda *_, i=i: order.append(f"layer {i}"))
    classifier(torch.randint(3, 50, (1, 6)))
    layers = ["layer 0"] * 4 if architecture == "albert" else [f"layer {i}" for i in range(4)]
    assert order == ["embeddings", *layers]


def test_a_final_norm_is_above_the_blocks(tiny_classifier: Any) -> None:
    model = tiny_classifier("modernbert")
    assert dict(layer_groups(model))["pooler"] == list(model.model.final_norm.parameters())


def test_a_final_norm_that_is_named_first_is_too() -> None:
    config = OPTConfig(
        vocab_size=20, hidden_size=8, word_embed_proj_dim=8, ffn_dim=16, num_hidden_layers=2, num_attention_heads=2
    )
    model = OPTForSequenceClassification(config)
    assert dict(layer_groups(model))["pooler"] == list(model.model.decoder.final_layer_norm.parameters())


def test_a_pooler_that_the_checkpoint_lacked_learns_with_the_head(tiny_bert: Path, tmp_path: Path) -> None:
    """If it were frozen, it would be a random projection of the encoder's output."""
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b"))
    assert "pooler" in dict(layer_groups(load_classifier(str(tiny_bert), task)))
    BertForMaskedLM.from_pretrained(tiny_bert).save_pretrained(tmp_path / "mlm")
    model = load_classifier(str(tmp_path / "mlm"), task)
    groups = dict(layer_groups(model))
    assert "pooler" not in groups
    assert {id(p) for p in model.bert.pooler.parameters()} <= {id(p) for p in groups["head"]}


def test_relative_positions_lie_below_the_blocks(tiny_classifier: Any) -> None:
    model = tiny_classifier("mpnet")
    assert any(p is model.mpnet.encoder.relative_attention_bias.weight for p in dict(layer_groups(model))["embeddings"])


@pytest.mark.parametrize(
    "student",
    [
        BiLSTM(BiLSTMConfig(vocab_size=9, embedding_size=4, lstm_size=3, hidden_size=5)),
        StaticBag(StaticConfig(vocab_size=9, embedding_size=4, hidden_size=0)),
    ],
    ids=["bilstm", "static"],
)
def test_students(student: Any) -> None:
    groups = layer_groups(student)
    assert sorted(id(p) for _, parameters in groups for p in parameters) == sorted(map(id, student.parameters()))
    assert groups[0] == ("embeddings", [student.embeddings.weight])
    assert groups[-1][0] == "head"
    assert groups[-1][1][-1] is student.classifier.bias
    with pytest.raises(ModelError, match="no stack of layers"):
        encoder_layers(student)


@pytest.mark.parametrize("architecture", ["distilbert", "bert"])
def test_pooled_classifier_is_seen_through(tiny_classifier: Any, architecture: str) -> None:
    """BERT has a pooler. It would be a layer without a gradient, so it is left out."""
    encoder = tiny_classifier(architecture).base_model
    model = PooledClassifier.assemble(encoder, torch.zeros(2, 16), torch.zeros(2))
    assert [name for name, _ in layer_groups(model)] == [
        "embeddings",
        "layer 0",
        "layer 1",
        "layer 2",
        "layer 3",
        "head",
    ]


def test_weight_decay_is_that_of_transformers_trainer(classifier: Any) -> None:
    spared = undecayed(classifier)
    left = {name for name, parameter in classifier.named_parameters() if id(parameter) not in spared}
    assert left == set(Trainer.get_decay_parameter_names(None, classifier))
    assert spared


def test_students_have_biases_too() -> None:
    model = BiLSTM(BiLSTMConfig(vocab_size=9, embedding_size=4, lstm_size=3, hidden_size=5))
    spared = undecayed(model)
    left = {name for name, parameter in model.named_parameters() if id(parameter) not in spared}
    lstm = {f"{way}_lstm.weight_{part}_l0" for way in ("forward", "backward") for part in ("ih", "hh")}
    assert left == {"embeddings.weight", "hidden.weight", "classifier.weight"} | lstm
