"""Classifiers that start from language models, AWD-LSTM's and transformers', and their parameter groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from understudy.data.tasks import Task
from understudy.errors import ConfigError, ModelError
from understudy.inference.predictor import Predictor
from understudy.models.awd_lstm.config import AWDLSTMConfig, set_reading
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM, AWDLSTMForSequenceClassification
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.lengths import max_length
from understudy.models.files.names import kind_of, resolve
from understudy.models.files.pretrained import register_architectures
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.files.trained import load_trained
from understudy.models.shrink.cut import cut_layers
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import head_modules
from understudy.models.structure.parameter_groups import layer_groups, undecayed

IDS = torch.tensor([[2, 7, 9, 6, 3]])
Words = PreTrainedTokenizerFast


def language_model(**settings: Any) -> AWDLSTMForCausalLM:
    torch.manual_seed(3)
    sizes = {"vocab_size": 50, "embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 2}
    return AWDLSTMForCausalLM(AWDLSTMConfig(**sizes | settings))


@pytest.fixture
def pretrained(words: Words, tmp_path: Path) -> str:
    """An AWD-LSTM language model with its tokenizer."""
    model = language_model()
    model.config.understudy = {"kind": "language_model"}
    model.save_pretrained(tmp_path / "lm")
    words.save_pretrained(tmp_path / "lm")
    return str(tmp_path / "lm")


def test_a_language_models_encoder_is_taken_under_a_fresh_head(pretrained: str, task: Task) -> None:
    original = language_model()
    torch.manual_seed(0)
    model = load_classifier(pretrained, task)
    assert isinstance(model, AWDLSTMForSequenceClassification)
    for key, tensor in original.awd_lstm.state_dict().items():
        assert torch.equal(model.awd_lstm.state_dict()[key], tensor), key
    assert model.eval()(IDS).logits.shape == (1, 3)
    assert model.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    config = model.config
    assert (config.weight_dropout, config.input_dropout, config.drop_mult) == (0.5, 0.4, 0.5)
    torch.manual_seed(0)
    assert torch.equal(load_classifier(pretrained, task).head.hidden.weight, model.head.hidden.weight)
    assert not torch.equal(load_classifier(pretrained, task).head.hidden.weight, model.head.hidden.weight)


def test_a_classifier_saves_and_loads(pretrained: str, task: Task, words: Words, tmp_path: Path) -> None:
    model = load_classifier(pretrained, task)
    set_reading(model, name="lm", gradient_tokens=77, drop_mult=0.25)
    model.train()(torch.randint(5, 40, (6, 9)))  # changes the running statistics
    save_model(tmp_path / "m", model, words, task=task, max_length=16384)
    trained = load_trained(str(tmp_path / "m"))
    loaded, stored, length = trained.model, trained.task, trained.max_length
    assert torch.equal(loaded(IDS).logits, model.eval()(IDS).logits)
    assert (stored, length, kind_of(tmp_path / "m")) == (task, 16384, "awd_lstm")
    again = load_classifier(str(tmp_path / "m"), task)
    assert torch.equal(again.eval()(IDS).logits, model(IDS).logits)
    assert (again.config.gradient_tokens, again.config.drop_mult, again.config.weight_dropout) == (77, 0.25, 0.5)


def test_other_labels_start_the_head_and_its_statistics_afresh(
    pretrained: str, task: Task, words: Words, tmp_path: Path
) -> None:
    model = load_classifier(pretrained, task)
    model.train()(torch.randint(5, 40, (6, 9)))
    save_model(tmp_path / "m", model, words, task=task, max_length=16384)
    other = Task(text=task.text, label="label", kind="single_label", labels=("x", "y", "z"))
    fresh = load_classifier(str(tmp_path / "m"), other)
    assert fresh.head.pooled_norm.rows_seen == 0
    assert (fresh.head.pooled_norm.running_mean == 0).all()
    assert not torch.equal(fresh.head.hidden.weight, model.head.hidden.weight)
    assert torch.equal(fresh.awd_lstm.layers[0].weight_hh_l0, model.awd_lstm.layers[0].weight_hh_l0)


def test_documents_are_read_whole_whatever_is_asked_for(pretrained: str, task: Task, words: Words) -> None:
    model = load_classifier(pretrained, task)
    assert max_length(model.config, words, None) == max_length(model.config, words, 64) == 16384
    set_reading(model, name="lm", gradient_tokens=64, drop_mult=None)
    assert model.config.gradient_tokens == 64
    predictor = Predictor(model, words, task, 16384)
    text = "the good film and the bad play " * 200
    changed = "a " + text
    assert predictor.logits([text]).tolist() != predictor.logits([changed]).tolist()


def test_predictor_answers_alone_as_together(pretrained: str, task: Task) -> None:
    model = load_classifier(pretrained, task)
    predictor = Predictor(model, load_tokenizer(pretrained), task, 16384)
    texts = ["the good film", "", "a fine song and a dull book and a bad play", "the play"]
    together = predictor.logits(texts)
    for text, row in zip(texts, together):
        assert predictor.logits([text])[0] == pytest.approx(row, abs=1e-5)


def test_registered_the_auto_classes_read_all_three(pretrained: str, task: Task, words: Words, tmp_path: Path) -> None:
    register_architectures()
    classifier = load_classifier(pretrained, task)
    save_model(tmp_path / "m", classifier, words, task=task, max_length=16384)
    torch.testing.assert_close(
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "m").eval()(IDS).logits,
        classifier.eval()(IDS).logits,
    )
    lm = language_model().eval()
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(pretrained).eval()(IDS).logits, lm(IDS).logits)
    torch.testing.assert_close(AutoModel.from_pretrained(pretrained).eval()(IDS).raw, lm(IDS).raw)


@pytest.mark.parametrize("kind", ["language_model", "masked_language_model"])
def test_masked_language_models_of_transformers_become_classifiers(
    kind: str, masked_architecture: str, tiny_masked: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    original = tiny_masked(masked_architecture)
    original.config.understudy = {"kind": kind}
    original.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    model = load_classifier(str(tmp_path), task)
    assert model.eval()(IDS).logits.shape == (1, 3)
    for key, tensor in original.base_model.state_dict().items():
        if "pooler" not in key:
            assert torch.equal(model.base_model.state_dict()[key], tensor), key
    with pytest.raises(ModelError, match=r"is a language model, not a trained classifier. Fine-tune it first"):
        load_trained(str(tmp_path))


def test_a_causal_language_model_of_transformers_becomes_a_classifier(task: Task, words: Words, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=64))
    original.save_pretrained(tmp_path)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, eos_token="[SEP]")
    model = load_classifier(str(tmp_path), task).eval()
    assert torch.equal(model.transformer.h[1].mlp.c_fc.weight, original.transformer.h[1].mlp.c_fc.weight)
    assert (model.config.pad_token_id, tokenizer.pad_token_id) == (None, None)
    settle_inputs(model, tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id == tokenizer.eos_token_id
    padded = torch.tensor([[7, 9, 6, 8], [7, 9, 6, tokenizer.pad_token_id]])
    logits = model(padded, attention_mask=torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])).logits
    torch.testing.assert_close(logits[1:], model(padded[1:, :3]).logits)
    assert not torch.allclose(logits[0], logits[1])


class TestGroups:
    def test_of_a_classifier(self) -> None:
        torch.manual_seed(0)
        model = AWDLSTMForSequenceClassification(language_model().config)
        groups = dict(layer_groups(model))
        assert list(groups) == ["embeddings", "layer 0", "layer 1", "head"]
        assert groups["embeddings"] == [model.awd_lstm.embeddings.weight]
        assert groups["layer 1"] == list(model.awd_lstm.layers[1].parameters())
        assert groups["head"] == list(model.head.parameters())
        assert head_modules(model) == [model.head]
        left = {name for name, parameter in model.named_parameters() if id(parameter) not in undecayed(model)}
        lstms = {f"awd_lstm.layers.{i}.weight_{part}_l0" for i in range(2) for part in ("ih", "hh")}
        assert left == {"awd_lstm.embeddings.weight", "head.hidden.weight", "head.output.weight"} | lstms

    def test_a_tied_table_belongs_to_the_last_group(self) -> None:
        model = language_model()
        groups = dict(layer_groups(model))
        assert list(groups) == ["layer 0", "layer 1", "head"]
        assert {id(p) for p in groups["head"]} == {id(model.awd_lstm.embeddings.weight), id(model.lm_head.bias)}

    def test_an_untied_table_belongs_to_the_first(self) -> None:
        groups = dict(layer_groups(language_model(tie_word_embeddings=False)))
        assert list(groups) == ["embeddings", "layer 0", "layer 1", "head"]
        assert len(groups["head"]) == 2

    def test_of_masked_language_models(self, masked_architecture: str, tiny_masked: Any) -> None:
        model = tiny_masked(masked_architecture)
        groups = layer_groups(model)
        counts = Counter(id(parameter) for _, parameters in groups for parameter in parameters)
        assert set(counts) == {id(parameter) for parameter in model.parameters()}
        assert set(counts.values()) == {1}
        names = [name for name, _ in groups]
        assert names[0] == "embeddings"
        assert names[-1] == "head"
        table, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert any(p is table for p in dict(groups)["head"]) is (table is output)


class TestFaults:
    def test_a_language_model_is_no_trained_classifier(self, pretrained: str) -> None:
        with pytest.raises(ModelError, match=r"is a language model, not a trained classifier"):
            load_trained(pretrained)

    def test_drop_mult_is_for_an_awd_lstm(self, pretrained: str, tiny_classifier: Any, task: Task) -> None:
        with pytest.raises(ConfigError, match=r"drop_mult scales the dropouts of an AWD-LSTM, but runs/b is a 'bert'"):
            set_reading(tiny_classifier("bert"), name="runs/b", gradient_tokens=None, drop_mult=0.5)
        with pytest.raises(ConfigError, match=r"drop_mult must be at least 0 and less than 2, .* but is 3\."):
            set_reading(load_classifier(pretrained, task), name="m", gradient_tokens=None, drop_mult=3)

    def test_the_name_alone_is_nothing_trained(self) -> None:
        with pytest.raises(ModelError, match=r"Pretrain it first \(understudy pretrain --model awd_lstm"):
            resolve("awd_lstm")
        with pytest.raises(ModelError, match="no model of this name can be built here"):
            resolve("awd-lstm")

    def test_it_has_no_encoder_of_transformers(self, pretrained: str) -> None:
        with pytest.raises(ModelError, match=r"one of our own networks \(awd_lstm\)"):
            load_encoder(pretrained)

    def test_missing_layers_are_named(self, pretrained: str, task: Task) -> None:
        language_model(num_hidden_layers=1).save_pretrained(pretrained)
        path = Path(pretrained, "config.json")
        path.write_text(path.read_text().replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'))
        with pytest.raises(ModelError, match=r"lacks weights outside the head.*layers"):
            load_classifier(pretrained, task)

    def test_its_layers_cannot_be_cut(self, pretrained: str, task: Task) -> None:
        with pytest.raises(ModelError, match="widths"):
            cut_layers(load_classifier(pretrained, task), [0])
