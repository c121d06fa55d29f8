"""A config.json decides what a model is, never how it is computed, and nothing in it can fetch code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers.modeling_utils as modeling
from safetensors.numpy import load_file, save_file
from transformers import AlbertConfig, AlbertForSequenceClassification, BertConfig, BertForSequenceClassification
from transformers.integrations import hub_kernels

from understudy.cli import main
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.loading import load
from understudy.models.files.classifiers import load_classifier
from understudy.models.tfidf import Tfidf

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b"))


@pytest.fixture
def classifier(tiny_bert: Path, tmp_path: Path) -> Path:
    """A tiny BERT with a head."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    BertForSequenceClassification(BertConfig.from_pretrained(tiny_bert)).save_pretrained(folder)
    return folder


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    """Change values in a JSON file."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "told",
    [
        {key: name}
        for key in (
            "attn_implementation",
            "_attn_implementation",
            "_attn_implementation_internal",
            "experts_implementation",
        )
        for name in ("kernels-community/flash-attn", "flash_attention_2", "evil/kernel@main:forward")
    ]
    + [{"attn_implementation": {"": "evil/kernel"}}, {"use_kernels": True, "kernel_config": {"a": "evil/kernel"}}],
)
def test_nothing_fetches_kernels(classifier: Path, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: Any, **__: Any) -> None:
        raise AssertionError("a kernel was asked for")

    before = load(classifier).logits(["good film"])
    for module, name in (
        (modeling, "lazy_import_flash_attention"),
        (hub_kernels, "get_kernel"),
        (modeling, "kernelize"),
    ):
        monkeypatch.setattr(module, name, fetched)
    change(classifier, **told)
    np.testing.assert_array_equal(load(classifier).logits(["good film"]), before)
    assert load_classifier(str(classifier), TASK).config._attn_implementation in ("sdpa", "eager")


def test_how_to_compute_is_not_read_from_the_configuration(classifier: Path) -> None:
    before = load(classifier).logits(["good film"])
    change(classifier, return_dict=False, output_attentions=True, chunk_size_feed_forward=7, torchscript=True)
    np.testing.assert_allclose(load(classifier).logits(["good film"]), before, atol=1e-6)


@pytest.mark.parametrize(
    "told",
    [
        {"num_hidden_layers": 10**7},
        {"num_labels": 10**7},
        {"num_hidden_layers": -1},
        {"num_attention_heads": -8},
        {"vocab_size": 10**9},
        {"hidden_size": 2**24},
        {"max_position_embeddings": 10**8},
        {"vocab_size": 10**400},
        {"vocab_size": "many"},
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": float("inf")},
        {"hidden_dropout_prob": float("nan")},
        {"hidden_act": "evil"},
        {"to_dict": 5},
        {"id2label": [1]},
        {"architectures": 5},
        {"architectures": [5]},
        {"model_type": ["bert"]},
        {"quantization_config": {"quant_method": "mxfp4"}},
        {"understudy": 5},
        {"understudy": {"task": 5}},
        {"understudy": {"task": TASK.as_dict() | {"labels": ["a", "b", "c"]}}},
        {"understudy": {"task": TASK.as_dict() | {"labels": ["a", "a"]}}},
        {"understudy": {"task": TASK.as_dict() | {"kind": "odd"}}},
        {"understudy": {"max_length": "long"}},
        {"understudy": {"max_length": -1}},
    ],
)
def test_wrong_types_and_sizes_are_refused(classifier: Path, told: dict[str, Any]) -> None:
    change(classifier, **told)
    for loader in (load, lambda folder: load_classifier(str(folder), TASK)):
        with pytest.raises(ModelError) as raised:
            loader(classifier)
        assert str(classifier) in str(raised.value)
        assert len(str(raised.value)) < 700


@pytest.mark.parametrize("value", ["many", None, float("nan"), -5, [1]])
def test_a_tokenizers_length_is_a_number(classifier: Path, value: object) -> None:
    change(classifier, "tokenizer_config.json", model_max_length=value)
    if value is None:  # the library's default
        load(classifier)
        return
    with pytest.raises(ModelError, match=r"model_max_length|cannot load it"):
        load(classifier)


def test_a_damaged_tokenizer_is_refused(classifier: Path) -> None:
    change(classifier, "tokenizer.json", post_processor={"type": "None"})
    with pytest.raises(ModelError, match="cannot load it"):
        load(classifier)


def test_answers_are_finite_numbers(classifier: Path, tmp_path: Path) -> None:
    weights = load_file(classifier / "model.safetensors")
    weights["classifier.bias"] = np.full_like(weights["classifier.bias"], np.nan)
    save_file(weights, classifier / "model.safetensors", metadata={"format": "pt"})
    (classifier / "checksums.json").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="not finite"):
        load(classifier).predict(["good film"])
    (tmp_path / "in.txt").write_text("good film\nbad film\n")
    assert main(["predict", "--model", str(classifier), "--input", str(tmp_path / "in.txt")]) == 2
    tfidf = Tfidf.fit([("a good film",), ("a bad film",)], np.array([1, 0]), TASK)
    Tfidf(tfidf.task, tfidf.vocabulary, tfidf.idf, tfidf.weight, tfidf.bias * np.inf).save(tmp_path / "tfidf")
    with pytest.raises(ModelError, match="not finite"):
        Tfidf.load(tmp_path / "tfidf")


def test_a_vocabulary_without_its_unknown_token_is_refused(classifier: Path, tmp_path: Path) -> None:
    content = json.loads((classifier / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["unk_token"] = "[NONE]"
    change(classifier, "tokenizer.json", model=content["model"])
    (tmp_path / "in.txt").write_text("\u2603 \u2603\n", encoding="utf-8")
    assert main(["predict", "--model", str(classifier), "--input", str(tmp_path / "in.txt")]) == 2


@pytest.mark.parametrize("key", ["num_hidden_groups", "inner_group_num", "num_hidden_layers"])
def test_no_part_is_built_a_million_times(key: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20, "embedding_size": 4}
    AlbertForSequenceClassification(AlbertConfig(**sizes, num_hidden_layers=1)).save_pretrained(tmp_path)
    change(tmp_path, **{key: 10**7})
    with pytest.raises(ModelError, match=f"'{key}' in its config.json must be at most 1,000, but is 10000000"):
        load_classifier(str(tmp_path), TASK)
