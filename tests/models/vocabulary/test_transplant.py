"""Tables and whole models moved to another vocabulary."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.vocabulary.origins import origins
from understudy.models.vocabulary.transplant import transplant

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["film", "play", "##s", "##ing", "act", "##or", "f", "##i", "##l", "##m", "ing", ".", ",", "the", "a", "b"]
TEXT = "the films, a play. acting actor the ab filmb"


def word_piece(order: list[str]) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer whose ids are the places in `order`."""
    vocabulary = {token: i for i, token in enumerate(order)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    roles = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def permuted(seed: int, *, fixed: int = 0) -> PreTrainedTokenizerFast:
    """The same tokens at other ids, except the first `fixed` ones."""
    order = [*SPECIAL, *PIECES]
    rest = order[fixed:]
    random.Random(seed).shuffle(rest)
    return word_piece([*order[:fixed], *rest])


OLD = permuted(0, fixed=21)
ROBERTA = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
SIZES = {
    "vocab_size": 21,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
SMALL_BERT = {**SIZES, "hidden_act": "gelu"}
MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL_BERT)),
    "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SIZES, **ROBERTA)),
    "albert": lambda: transformers.AlbertForMaskedLM(
        transformers.AlbertConfig(**SIZES, embedding_size=8, pad_token_id=0, bos_token_id=2, eos_token_id=3)
    ),
    "distilbert": lambda: transformers.DistilBertForMaskedLM(
        transformers.DistilBertConfig(
            vocab_size=21, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=32
        )
    ),
    "electra": lambda: transformers.ElectraForMaskedLM(transformers.ElectraConfig(**SIZES, embedding_size=8)),
    "mobilebert": lambda: transformers.MobileBertForMaskedLM(
        transformers.MobileBertConfig(**SIZES, embedding_size=8, intra_bottleneck_size=8)
    ),
    "untied": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL_BERT, tie_word_embeddings=False)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=21, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=2, eos_token_id=3
        )
    ),
    "awd_lstm": lambda: AWDLSTMForCausalLM(AWDLSTMConfig(vocab_size=21, embedding_size=8, hidden_size=12)),
}


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> Any:
    """Each language model in turn. All parameters are random, including biases and others that are usually zero."""
    torch.manual_seed(0)
    made = MODELS[request.param]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.4)
    return made


def logits(model: Any, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Logits of the text, with the tokens in the order of OLD's ids."""
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([tokenizer(TEXT)["input_ids"]])).logits
    return scores[0][:, torch.tensor(tokenizer.convert_tokens_to_ids(OLD.convert_ids_to_tokens(range(21))))]


def test_a_permuted_vocabulary_changes_nothing(model: Any) -> None:
    new = permuted(7, fixed=1 if type(model).__name__.startswith("Roberta") else 0)
    assert new.get_vocab() != OLD.get_vocab()
    carried, rows = transplant(model, OLD, new)
    assert (rows.kept, rows.composed, rows.averaged) == (21, 0, 0)
    torch.testing.assert_close(logits(carried, new), logits(model, OLD))
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert (carried.get_input_embeddings().weight is carried.get_output_embeddings().weight) == tied


def test_the_model_is_of_the_new_size_and_knows_the_new_ids(model: Any) -> None:
    small = word_piece(["[PAD]", "a", "film", "[SEP]", "[CLS]", "[UNK]", "[MASK]"])
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    carried, rows = transplant(model, OLD, small)
    assert carried.config.vocab_size == len(rows) == 7
    assert carried.get_input_embeddings().weight.shape[0] == carried.get_output_embeddings().weight.shape[0] == 7
    assert not any(21 in weight.shape for weight in carried.state_dict().values())
    for name, token in {"bos": "[CLS]", "eos": "[SEP]", "pad": "[PAD]"}.items():
        if getattr(model.config, f"{name}_token_id", None) is not None:
            assert getattr(carried.config, f"{name}_token_id") == small.convert_tokens_to_ids(token)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.config.vocab_size == 21
    sizes = {name: weight.shape for name, weight in carried.state_dict().items()}
    assert all(
        torch.equal(carried.state_dict()[name], before[name]) for name in before if sizes[name] == before[name].shape
    )


def slow(table: torch.Tensor, old: Any, new: Any, known: dict[str, list[str]]) -> torch.Tensor:
    """Row by row, from a dictionary written by hand: each token, and the old tokens whose mean it gets."""
    rows = []
    for number in range(len(new)):
        token = new.convert_ids_to_tokens(number)
        sources = [table[old.convert_tokens_to_ids(source)] for source in known.get(token, [])]
        rows.append(sum(sources) / len(sources) if sources else sum(table[i] for i in range(len(old))) / len(old))
    return torch.stack(rows)


def test_word_pieces_to_sentence_pieces_by_hand() -> None:
    """Old ``##ing`` is new ``ing``, and old ``film`` is new ``▁film``."""
    vocabulary = [
        *SPECIAL,
        "▁film",
        "▁play",
        "s",
        "ing",
        "▁ing",
        "▁films",
        "▁acting",
        "ors",
        "ilm",
        "▁xyz",
        ".",
        "▁",
        "▁m",
    ]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, [], unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    roles = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    new = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    same = {name: [name] for name in SPECIAL} | {
        "▁film": ["film"],
        "▁play": ["play"],
        "s": ["##s"],
        "ing": ["##ing"],
        "▁ing": ["ing"],
        ".": ["."],
    }
    composed = {"▁films": ["film", "##s"], "▁acting": ["act", "##ing"]}
    table = torch.randn(25, 6)
    rows = origins(OLD, new)
    # WordPiece does not know `ors` and `ilm`, because no word begins like that; it knows `▁m` only within words
    expected = slow(table, OLD, new, same | composed)
    torch.testing.assert_close(rows.carry(table), expected)
    torch.testing.assert_close(rows.carry(table.T, dim=1), expected.T)
    torch.testing.assert_close(rows.carry(table[:, 0]), expected[:, 0])
    assert (rows.kept, rows.composed, rows.averaged) == (
        len(same),
        len(composed),
        len(vocabulary) - len(same | composed),
    )


def test_a_piece_within_a_word_is_not_taken_for_a_word() -> None:
    """The old tokenizer cuts the word `ings` into `ing`, `##s`. Within a word it is `##ing`, `##s`."""
    new = word_piece([*SPECIAL, "ings", "##ings"])
    table = torch.randn(21, 4)
    expected = slow(table, OLD, new, {n: [n] for n in SPECIAL} | {"ings": ["ing", "##s"], "##ings": ["##ing", "##s"]})
    torch.testing.assert_close(origins(OLD, new).carry(table), expected)


def test_bytes_to_sentence_pieces(byte_level: PreTrainedTokenizerFast) -> None:
    old = byte_level
    new = train_tokenizer(["the film filmed naïve café, filming"] * 9, "bpe:80", lowercase=False)
    rows = origins(old, new)
    table = torch.randn(len(old), 5)
    known: dict[str, list[str]] = {"[UNK]": ["<|endoftext|>"], "[CLS]": ["<|endoftext|>"], "[SEP]": ["<|endoftext|>"]}
    for token in set(new.get_vocab()) - set(SPECIAL):
        known[token] = old.tokenize(token.replace("▁", " "))
    torch.testing.assert_close(rows.carry(table), slow(table, old, new, known))
    assert rows.averaged == 2  # GPT-2 has neither a padding token nor a mask token


def test_word_level_vocabularies_follow_ulmfit() -> None:
    """ULMFiT's rule: a word in both vocabularies keeps its row, and a new word gets the mean."""
    old = train_tokenizer(["the film was good"], "words:30")
    new = train_tokenizer(["the film was dreadful"], "words:30")
    rows = origins(old, new)
    table = torch.randn(len(old), 5)
    known = {word: [word] for word in [*SPECIAL, "the", "film", "was"]}
    torch.testing.assert_close(rows.carry(table), slow(table, old, new, known))
    assert (rows.kept, rows.composed, rows.averaged) == (8, 0, 1)


def test_cased_pieces_learn_from_uncased_ones() -> None:
    old = train_tokenizer(["the film"] * 3, "words:30", lowercase=True)
    new = train_tokenizer(["The Film film"] * 3, "words:30", lowercase=False)
    rows = origins(old, new)
    table = torch.randn(len(old), 3)
    known = {"The": ["the"], "Film": ["film"], "film": ["film"]} | {name: [name] for name in SPECIAL}
    torch.testing.assert_close(rows.carry(table), slow(table, old, new, known))
    assert (rows.kept, rows.composed) == (6, 2)


def test_special_tokens_without_a_role_go_by_name() -> None:
    old, new = permuted(0, fixed=21), permuted(3)
    for tokenizer in (old, new):
        tokenizer.add_special_tokens({"additional_special_tokens": ["[EXTRA]"]})
    table = torch.randn(22, 3)
    rows = origins(old, new)
    assert torch.equal(
        rows.carry(table)[new.convert_tokens_to_ids("[EXTRA]")], table[old.convert_tokens_to_ids("[EXTRA]")]
    )
    assert rows.kept == 22


def test_number_types_and_seed_are_left_alone() -> None:
    torch.manual_seed(0)
    model = MODELS["bert"]().to(torch.bfloat16).train()
    state = torch.get_rng_state()
    carried, _ = transplant(model, OLD, permuted(1))
    assert carried.dtype == torch.bfloat16
    assert carried.training
    assert torch.equal(torch.get_rng_state(), state)


def test_positions_that_are_counted_from_the_padding() -> None:
    model = MODELS["roberta"]()
    with pytest.raises(ModelError, match=re.escape("padding token at id 0, but the new tokenizer has it at")):
        transplant(model, OLD, permuted(3))


def test_a_padding_id_that_the_architecture_fixes() -> None:
    model = transformers.MPNetForMaskedLM(transformers.MPNetConfig(**SIZES))
    with pytest.raises(ModelError, match="padding token at id 1, but the new tokenizer has it at 0"):
        transplant(model, OLD, OLD)
