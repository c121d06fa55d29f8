"""Models without weights have the shapes of those with weights; every parameter is in exactly one part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM

from understudy.errors import ModelError
from understudy.models.structure.shapes import components, meta_model
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag, StaticConfig


def save_config(model: Any, folder: Path) -> Path:
    """A model folder without weights."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    return folder


def test_a_configuration_gives_the_shapes_of_its_model(classifier: Any, architecture: str, tmp_path: Path) -> None:
    found = meta_model(str(save_config(classifier, tmp_path)))
    if architecture != "xlnet":  # it allocates some of its matrices on the CPU whatever the device
        assert all(tensor.device.type == "meta" for tensor in found.parameters())
    assert {name: p.shape for name, p in found.named_parameters()} == {
        name: p.shape for name, p in classifier.named_parameters()
    }
    parts = components(found)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in classifier.parameters())
    assert len({part.name for part in parts}) == len(parts)
    assert parts[0].name == "embeddings"
    assert parts[-1].name == "head"
    blocks = [part for part in parts if part.name.startswith("layer")]
    assert [part.name for part in blocks] == (
        ["layers 0–3, shared"] if architecture == "albert" else [f"layer {i}" for i in range(4)]
    )


@pytest.mark.parametrize(
    "model",
    [
        BiLSTM(BiLSTMConfig(vocab_size=9, embedding_size=4, lstm_size=3, hidden_size=5)),
        StaticBag(StaticConfig(vocab_size=9, embedding_size=4, hidden_size=5)),
        PooledClassifier.assemble(
            transformers.BertModel(
                transformers.BertConfig(
                    vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
                )
            ),
            torch.zeros(2, 4),
            torch.zeros(2),
        ),
    ],
    ids=lambda model: model.config.model_type,
)
def test_our_own_architectures_too(model: Any, tmp_path: Path) -> None:
    found = meta_model(str(save_config(model, tmp_path)))
    assert type(found) is type(model)
    assert sum(part.parameters for part in components(found)) == sum(p.numel() for p in model.parameters())


def test_a_tied_table_is_an_embedding_and_counted_once(classifier: Any, architecture: str, tmp_path: Path) -> None:
    if architecture == "xlnet":
        pytest.skip("no masked language model")
    model = AutoModelForMaskedLM.from_config(classifier.config)
    parts = dict(components(meta_model(str(save_config(model, tmp_path)))))
    assert sum(parts.values()) == sum(p.numel() for p in model.parameters())
    table = model.get_input_embeddings().weight
    assert parts["embeddings"] >= table.numel()
    assert parts["head"] < table.numel() + 16 * 16 + 4 * 16 + 50


def test_groups_of_shared_layers_are_named(tmp_path: Path) -> None:
    config = transformers.AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=6, num_attention_heads=2,
        intermediate_size=32, num_hidden_groups=2, architectures=["AlbertModel"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    names = [part.name for part in components(meta_model(str(tmp_path)))]
    assert names == ["embeddings", "layers 0–2, shared", "layers 3–5, shared", "pooler"]


def test_an_architecture_without_one_stack_is_counted_by_its_modules(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, architectures=["T5Model"]
    )
    config.save_pretrained(tmp_path)
    parts = components(meta_model(str(tmp_path)))
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in transformers.T5Model(config).parameters())
    assert [part.name for part in parts] == ["shared", "encoder", "decoder"]


def test_a_file_a_folder_and_a_run_are_one(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    config.save_pretrained(tmp_path / "model")
    names = [str(tmp_path), str(tmp_path / "model"), str(tmp_path / "model" / "config.json")]
    assert len({tuple(components(meta_model(name))) for name in names}) == 1


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        meta_model(str(tmp_path))
    with pytest.raises(ModelError, match="there is no such folder"):
        meta_model(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4}))
    with pytest.raises(ModelError, match=r"cannot"):
        meta_model(str(tmp_path / "config.json"))
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "bert", "hidden_size": 5, "num_attention_heads": 2})
    )
    with pytest.raises(ModelError, match="multiple of the number of attention heads"):
        meta_model(str(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "16"},
        {"num_hidden_layers": 2.5},
        {"hidden_dropout_prob": "0.1"},
        {"num_attention_heads": 0},
        {"vocab_size": 0},
        {"pad_token_id": 99},
        {"architectures": [3]},
    ],
    ids=str,
)
def test_an_impossible_configuration_is_refused_in_one_sentence(wrong: dict[str, Any], tmp_path: Path) -> None:
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **sizes, "intermediate_size": 8, **wrong}))
    with pytest.raises(ModelError, match=r"cannot load it|must be a list of names"):
        meta_model(str(tmp_path))
