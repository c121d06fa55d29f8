"""One text, one answer: alone, in any batch, in any order, whatever the architecture, its tokenizer and their padding."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from understudy.data.tasks import Task
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ModelError
from understudy.inference.predictor import Predictor
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.pooled import PooledClassifier

WORDS = [f"w{i}" for i in range(30)]
SIZES = {"vocab_size": 35, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ROLES = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
GPT = {"vocab_size": 35, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 2, "eos_token_id": 3}
BART = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
FFN = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "decoder_start_token_id": 2}
CONFIGS: dict[str, Callable[[], Any]] = {
    "albert": lambda: hf.AlbertConfig(**SIZES, embedding_size=8),
    "bart": lambda: hf.BartConfig(vocab_size=35, d_model=16, **BART, **FFN, **ROLES),
    "bert": lambda: hf.BertConfig(**SIZES),
    "bloom": lambda: hf.BloomConfig(vocab_size=35, hidden_size=16, n_layer=2, n_head=2, **ROLES),
    "convbert": lambda: hf.ConvBertConfig(**SIZES, embedding_size=16),
    "deberta-v2": lambda: hf.DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p"]),
    "distilbert": lambda: hf.DistilBertConfig(vocab_size=35, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "electra": lambda: hf.ElectraConfig(**SIZES, embedding_size=8),
    "fnet": lambda: hf.FNetConfig(**SIZES),
    "gpt2": lambda: hf.GPT2Config(**GPT),
    "gpt2, padded with its end": lambda: hf.GPT2Config(**GPT, pad_token_id=3),
    "llama": lambda: hf.LlamaConfig(**SIZES, num_key_value_heads=2, bos_token_id=2, eos_token_id=3),
    "mobilebert": lambda: hf.MobileBertConfig(**SIZES, embedding_size=8, intra_bottleneck_size=8),
    "modernbert": lambda: hf.ModernBertConfig(**SIZES, **ROLES, cls_token_id=2, sep_token_id=3),
    "mpnet": lambda: hf.MPNetConfig(**SIZES),
    "opt": lambda: hf.OPTConfig(
        vocab_size=35, hidden_size=16, word_embed_proj_dim=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=32
    ),
    "roberta": lambda: hf.RobertaConfig(**SIZES, type_vocab_size=1),
    "t5": lambda: hf.T5Config(
        vocab_size=35, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0, **ROLES
    ),
    "xlnet": lambda: hf.XLNetConfig(vocab_size=35, d_model=16, n_layer=2, n_head=2, d_inner=32),
}


def build(architecture: str) -> Any:
    """A classifier with random weights, far from the usual small start, so that differences show."""
    torch.manual_seed(0)
    model = hf.AutoModelForSequenceClassification.from_config(CONFIGS[architecture]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def words(*, side: str, pad: bool, specials: bool = True) -> Any:
    """Whole words, with or without a padding token, in BERT's template or bare."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if specials:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    roles = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "[SEP]"}
    roles |= {"pad_token": "[PAD]"} if pad else {}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=backend, padding_side=side, **roles)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def task(arity: int) -> Task:
    """Two classes of single texts or of pairs."""
    return Task(text=(("a",), ("b",))[:arity], label="label", kind="single_label", labels=("x", "y"))


def check_one_answer(model: Any, tokenizer: Any, arity: int) -> None:
    """Texts of 0 to 20 words: alone, all at once, and by threes in another order."""
    rng = random.Random(1)
    texts = [tuple(" ".join(rng.choices(WORDS, k=n)) for _ in range(arity)) for n in (0, 1, 2, 3, 3, 7, 12, 20, 1, 5)]
    predictor = Predictor(model, tokenizer, task(arity), 40)
    alone = np.concatenate([predictor.logits([text]) for text in texts])
    assert np.isfinite(alone).all()
    tolerance = 1e-4 * np.abs(alone).max()
    np.testing.assert_allclose(predictor.logits(texts), alone, atol=tolerance)
    order = rng.sample(range(len(texts)), len(texts))
    for start in range(0, len(order), 3):
        part = order[start : start + 3]
        np.testing.assert_allclose(predictor.logits([texts[i] for i in part]), alone[part], atol=tolerance)


@pytest.mark.parametrize("architecture", sorted(CONFIGS))
@pytest.mark.parametrize(("side", "pad", "arity"), [("left", True, 1), ("left", False, 2), ("right", False, 1)])
def test_a_text_has_one_answer(architecture: str, side: str, pad: bool, arity: int) -> None:
    check_one_answer(build(architecture), words(side=side, pad=pad), arity)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "xlnet"])
def test_a_text_without_any_token_has_one_answer(architecture: str) -> None:
    check_one_answer(build(architecture), words(side="right", pad=True, specials=False), 1)


def test_the_padding_of_tokenizer_and_configuration_is_one() -> None:
    model, tokenizer = build("gpt2, padded with its end"), words(side="right", pad=True)
    settle_inputs(model, tokenizer)
    assert tokenizer.pad_token_id == model.config.pad_token_id == TextEncoder(tokenizer, max_length=None).pad_id == 3
    model, tokenizer = build("gpt2"), words(side="right", pad=True)
    settle_inputs(model, tokenizer)
    assert tokenizer.pad_token_id == model.config.pad_token_id == 0
    model, tokenizer = build("bert"), words(side="left", pad=True)
    settle_inputs(model, tokenizer)
    assert tokenizer.padding_side == "right"
    model, tokenizer = build("xlnet"), words(side="right", pad=True)
    settle_inputs(model, tokenizer)
    assert tokenizer.padding_side == "left"


def test_a_model_that_cannot_mask_gets_no_padding() -> None:
    for architecture in ("fnet", "convbert"):
        assert "attention_mask" not in settle_inputs(build(architecture), words(side="right", pad=True))
    assert "attention_mask" in settle_inputs(build("bert"), words(side="right", pad=True))


def test_a_model_whose_rows_read_each_other_is_refused() -> None:
    class Mixing(hf.BertForSequenceClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            out = super().forward(*args, **kwargs)
            out.logits = out.logits + out.logits.sum(0)
            return out

    with pytest.raises(ModelError, match=r"'bert' model cannot be used here.*other texts of the batch"):
        settle_inputs(Mixing(hf.BertConfig(**SIZES)), words(side="right", pad=True))


def test_an_encoder_under_a_mean_has_one_answer() -> None:
    encoder = build("roberta").base_model
    pooled = PooledClassifier.assemble(encoder, torch.randn(2, 16), torch.zeros(2))
    check_one_answer(pooled, words(side="left", pad=False), 2)


@pytest.fixture
def slow(tmp_path: Path) -> Any:
    """PhoBERT's tokenizer: written in Python, and without type ids."""
    (tmp_path / "bpe.codes").write_text("".join(f"w {i}</w> 1\n" for i in range(9)))
    (tmp_path / "vocab.txt").write_text("".join(f"w{i} 1\n" for i in range(30)))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PhobertTokenizer"}))
    return hf.AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("arity", [1, 2])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_slow_tokenizer(slow: Any, side: str, arity: int) -> None:
    slow.padding_side = side
    check_one_answer(build("roberta"), slow, arity)


@pytest.mark.parametrize("length", [None, 9, 8])
def test_a_slow_tokenizer_tells_the_texts_of_a_pair_apart(slow: Any, length: int | None) -> None:
    encoder = TextEncoder(slow, max_length=length)
    for pair in [("w1 w2 w3", "w4"), ("w1", "w4 w5 w6 w7 w8"), ("", "w4"), ("w1", "")]:
        ids, segments = encoder.one(pair)
        cut = {"truncation": True, "max_length": length} if length else {}
        assert ids == slow(*pair, **cut)["input_ids"]
        assert segments is not None
        whole = slow.build_inputs_with_special_tokens
        second = slow(pair[1], add_special_tokens=False)["input_ids"]
        first = [token for token, segment in zip(ids, segments) if not segment]
        rest = [token for token, segment in zip(ids, segments) if segment]
        assert first + rest == ids
        assert rest[:-1] == second[: len(rest[:-1])] if pair[1] else not rest
        assert not pair[1] or whole([], [5])[:-2] == first[:1] + first[-2:]
