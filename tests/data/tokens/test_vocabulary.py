"""Tokenizers trained on the texts at hand."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from understudy.data.tokens.vocabulary import retrain_tokenizer, train_tokenizer
from understudy.errors import ConfigError, DataError

TEXTS = ["The film was good, the play was not.", "Filming a good play", "the the the"]


def many_texts() -> list[str]:
    rng = random.Random(0)
    stems = ["".join(rng.choices(string.ascii_lowercase, k=5)) for _ in range(60)]
    return [" ".join(rng.choice(stems) + rng.choice(["", "s", "ing", "ed"]) for _ in range(12)) for _ in range(200)]


def test_words_are_the_most_frequent_ones() -> None:
    texts = many_texts()
    counts = Counter(word for text in texts for word in text.split())
    tokenizer = train_tokenizer(texts, "words:45")
    kept = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    assert len(kept) == 40
    assert min(counts[word] for word in kept) >= max(counts[word] for word in set(counts) - kept)


@pytest.mark.parametrize("spec", ["words:30", "bpe:60"])
def test_shape_of_the_encoding(spec: str) -> None:
    tokenizer = train_tokenizer(TEXTS, spec)
    assert [tokenizer.convert_ids_to_tokens(i) for i in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    start = "▁" if spec.startswith("bpe") else ""
    assert tokenizer.convert_ids_to_tokens(tokenizer("The").input_ids) == ["[CLS]", f"{start}the", "[SEP]"]
    pair = tokenizer("the", "the the")
    assert pair.token_type_ids == [0, 0, 0, 1, 1, 1]
    assert tokenizer.pad_token_id == 0
    assert tokenizer.padding_side == "right"
    assert tokenizer.unk_token_id in tokenizer("☃").input_ids


def test_pieces_build_words_that_were_never_seen() -> None:
    tokenizer = train_tokenizer(many_texts(), "bpe:300")
    tokens = tokenizer.tokenize("zebraing")
    assert "[UNK]" not in tokens
    assert "".join(tokens) == "▁zebraing"
    assert len(tokenizer.get_vocab()) == 300
    assert tokenizer.decode(tokenizer("zebraing").input_ids, skip_special_tokens=True) == "zebraing"
    assert tokenizer.tokenize(" zebraing\n\t zebraing ") == tokens * 2


def test_punctuation_stands_alone() -> None:
    tokens = train_tokenizer(["good, good. good," * 3], "bpe:40").tokenize("good,good")
    assert tokens[:2] == ["▁good", ","]


def test_large_alphabets_do_not_outgrow_the_size() -> None:
    texts = [chr(0x4E00 + i) + chr(0x4E01 + i) for i in range(500)] + ["the film"] * 100
    assert len(train_tokenizer(texts, "bpe:100").get_vocab()) <= 100


@pytest.mark.parametrize("spec", ["words:80", "bpe:150"])
def test_same_texts_same_tokenizer(spec: str) -> None:
    first, second = (train_tokenizer(iter(many_texts()), spec).backend_tokenizer.to_str() for _ in range(2))
    assert first == second


def test_case_is_kept_on_demand() -> None:
    assert "Film" in train_tokenizer(["Film film Été"], "words:20", lowercase=False).get_vocab()
    lower = train_tokenizer(["Film Été"], "words:20").get_vocab()
    assert {"film", "ete"} <= set(lower)


@pytest.mark.parametrize("spec", ["words:30", "bpe:60"])
def test_saved_and_loaded_by_transformers(spec: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, spec)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert dict(loaded("A good film", "zzz")) == dict(tokenizer("A good film", "zzz"))


@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_nothing_to_learn_from(texts: list[str]) -> None:
    with pytest.raises(DataError, match="contain no word"):
        train_tokenizer(texts, "words:30")


def test_the_padding_has_the_id_that_is_asked_for() -> None:
    tokenizer = train_tokenizer(TEXTS, "bpe:60", pad_id=1)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (1, 0, 4)
    assert [tokenizer.convert_ids_to_tokens(i) for i in (2, 3)] == ["[CLS]", "[SEP]"]
    with pytest.raises(ValueError, match="from 0 to 4, but is 5"):
        train_tokenizer(TEXTS, "bpe:60", pad_id=5)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("spec", ["words:40", "bpe:60"])
def test_a_new_tokenizer_treats_case_as_the_old_one_does(spec: str, lowercase: bool) -> None:
    old = train_tokenizer(["The film"], "bpe:30", lowercase=lowercase, pad_id=1)
    old.model_max_length = 77
    new = retrain_tokenizer(["Film Film film"] * 3, spec, like=old)
    mark = "▁" if spec.startswith("bpe") else ""
    assert (f"{mark}Film" in new.get_vocab()) != lowercase
    assert (new.pad_token_id, new.model_max_length) == (1, 77)


def test_words_are_split_by_the_rules_of_the_old_words() -> None:
    backend = Tokenizer(models.WordLevel({"xxunk": 0, "xxpad": 1, "a": 2}, unk_token="xxunk"))
    backend.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("|")
    backend.post_processor = processors.TemplateProcessing(single="xxpad $A", special_tokens=[("xxpad", 1)])
    old = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="xxunk", pad_token="xxpad")
    new = retrain_tokenizer(["the film|a play", "the film"], "words:30", like=old)
    assert new.get_vocab() == {"xxunk": 0, "xxpad": 1, "the film": 2, "a play": 3}
    assert new("the film")["input_ids"] == [1, 2]
    assert new.pad_token_id == 1
    with pytest.raises(DataError, match="contain no word"):
        retrain_tokenizer(["|"], "words:30", like=old)


def test_bytes_stay_bytes_and_words_need_not(byte_level: PreTrainedTokenizerFast) -> None:
    old = byte_level
    first, second = (retrain_tokenizer(iter(many_texts()), "bpe:320", like=old) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()
    assert len(first) == 320
    assert first.decode(first("☃ un café\n\n").input_ids) == "☃ un café\n\n"
    assert first.eos_token == "<|endoftext|>"
    assert "zebra" in retrain_tokenizer(["zebra"], "words:30", like=old).get_vocab()
    with pytest.raises(
        ConfigError, match="a vocabulary of 100 is too small: its bytes and special tokens alone take 257"
    ):
        retrain_tokenizer(many_texts(), "bpe:100", like=old)


def test_an_encoder_of_bytes_keeps_its_special_tokens_and_their_places() -> None:
    """A tokenizer like RoBERTa's: the padding is token 1, from which positions are counted."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(many_texts(), trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    roles = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special))
    old = PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>", **roles)
    new = retrain_tokenizer(["zebra zebra"] * 9, "bpe:270", like=old)
    assert [new.convert_ids_to_tokens(i) for i in range(5)] == special
    assert new.convert_ids_to_tokens(new("a zebra").input_ids) == ["<s>", "a", "Ġzebra", "</s>"]
    assert (new.pad_token_id, new.mask_token_id, new.cls_token_id) == (1, 4, 0)
