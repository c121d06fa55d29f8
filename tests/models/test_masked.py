"""Masked language models by name: heads that are kept, new heads that are tied, and what is refused."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BartConfig,
    BartForConditionalGeneration,
    ElectraForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from understudy.errors import ModelError
from understudy.models.masked import load_masked_model
from understudy.models.structure.layers import word_embeddings

TIED = "got one tied to its embeddings"


def saved(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_head_of_its_own_is_kept(
    masked_model: Any, masked_architecture: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    found = load_masked_model(saved(masked_model, words, tmp_path))
    assert found.note is None
    assert not found.model.training
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    with torch.no_grad():
        assert torch.equal(found.model(ids).logits, masked_model(ids).logits)


def test_a_bare_encoder_gets_a_head_tied_to_its_embeddings(
    masked_model: Any, masked_architecture: str, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    encoder = AutoModel.from_config(masked_model.config)
    encoder.load_state_dict(masked_model.base_model.state_dict(), strict=False)
    found = load_masked_model(saved(encoder, words, tmp_path))
    assert found.note is not None
    assert TIED in found.note
    assert found.model.get_output_embeddings().weight is word_embeddings(found.model).weight
    assert torch.equal(word_embeddings(found.model).weight, word_embeddings(masked_model).weight)


@pytest.mark.parametrize("kind", ["classifier", "untied"])
def test_other_heads_are_left_behind(
    kind: str, tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config = tiny_masked("bert").config
    config.tie_word_embeddings = kind != "untied"
    model = (AutoModelForSequenceClassification if kind == "classifier" else AutoModel).from_config(config)
    found = load_masked_model(saved(model, words, tmp_path))
    assert found.note is not None
    assert found.model.get_output_embeddings().weight is word_embeddings(found.model).weight


def test_an_electra_discriminator_becomes_a_generator(
    tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    found = load_masked_model(saved(ElectraForPreTraining(tiny_masked("electra").config), words, tmp_path))
    assert found.note is not None
    assert type(found.model).__name__ == "ElectraForMaskedLM"


def test_the_same_seed_draws_the_same_head(tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folder = saved(tiny_masked("bert").bert, words, tmp_path)
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        heads.append(load_masked_model(folder).model.cls.predictions.transform.dense.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_checkpoint_that_lacks_more_than_a_head_is_refused(
    tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = saved(tiny_masked("bert"), words, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = [name for name in weights if "layer.1.attention.self.query" in name]
    save_file({name: tensor for name, tensor in weights.items() if name not in lost}, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"weights outside the masked-LM head: .*layer\.1\.attention.*complete checkpoint"
    ):
        load_masked_model(folder)


@pytest.mark.parametrize("kind", ["decoder", "encoder and decoder"])
def test_what_is_not_an_encoder_is_refused(kind: str, words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    if kind == "decoder":
        model: Any = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=16))
    else:
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = BartConfig(vocab_size=50, d_model=8, max_position_embeddings=16, **sizes, **heads)
        model = BartForConditionalGeneration(config)
    with pytest.raises(ModelError, match=r"has no masked-LM head\. Name an encoder"):
        load_masked_model(saved(model, words, tmp_path))


def test_a_tokenizer_without_a_mask_is_refused_with_the_remedy(
    tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = saved(tiny_masked("bert"), words, tmp_path)
    without = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    without.save_pretrained(folder)
    with pytest.raises(ModelError, match=r'no mask token\. Use the tokenizer .*\("mask_token": "\[MASK\]"\)'):
        load_masked_model(folder)


def test_a_tokenizer_that_does_not_fit_is_refused(
    tiny_masked: Any, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = saved(tiny_masked("bert"), words, tmp_path / "model")
    larger = tmp_path / "larger"
    words = copy.deepcopy(words)  # the fixture is shared
    words.add_tokens([f"word{i}" for i in range(60)])
    words.save_pretrained(larger)
    for path in larger.iterdir():
        shutil.copy(path, folder)
    with pytest.raises(ModelError, match=r"goes up to id \d+, but its embedding table has 50 rows"):
        load_masked_model(folder)
