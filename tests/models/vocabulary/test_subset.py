"""Tokenizers with fewer tokens: texts are cut as before, and models answer as before."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaTokenizer,
)

from understudy.data.texts import Texts
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.models.files.save import write_tokenizer
from understudy.models.files.tokenizers import read_tokenizer
from understudy.models.structure.layers import word_embeddings
from understudy.models.vocabulary.subset import subset_model, subset_tokenizer

SYLLABLES = ["ka", "lo", "mi", "tra", "ben", "os", "un", "der", "stu", "dy", "é", "ü", "ng", "x", "qu"]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 64,
}


def texts_of(seed: int, syllables: list[str], count: int = 200) -> list[str]:
    """Texts of made-up words."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(80)]
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) + rng.choice(["", ".", " 12!"]) for _ in range(count)]


EVERYTHING = texts_of(0, SYLLABLES, 600)
CORPUS = texts_of(1, SYLLABLES[:8])


def word_pieces() -> Any:
    """BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    made.train_from_iterator(EVERYTHING, trainer)
    return BertTokenizer(vocab=made.get_vocab())


def byte_pairs() -> Any:
    """RoBERTa's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(EVERYTHING, trainer)
    model = json.loads(made.to_str())["model"]
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


def unigrams() -> Any:
    """XLM-R's, with its mask at the end."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=220,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    made.train_from_iterator(EVERYTHING, trainer)
    vocab = json.loads(made.to_str())["model"]["vocab"]
    return XLMRobertaTokenizer(vocab=[tuple(piece) for piece in vocab])


def marked_pairs() -> Any:
    """Our own ``bpe:N``."""
    return train_tokenizer(EVERYTHING, "bpe:200")


def whole_words() -> Any:
    """Our own ``words:N``."""
    return train_tokenizer(EVERYTHING, "words:120")


@pytest.fixture(scope="module", params=[word_pieces, byte_pairs, unigrams, marked_pairs, whole_words])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """One of each kind."""
    return request.param()


def test_the_corpus_is_cut_as_before(tokenizer: Any) -> None:
    subset = subset_tokenizer(tokenizer, Texts.of([(text,) for text in CORPUS]))
    assert len(subset.tokenizer) == len(subset.kept) < len(tokenizer)
    assert subset.used <= len(subset.kept)
    for text in CORPUS:
        for pair in (None, CORPUS[0]):
            ids = subset.tokenizer(text, pair)["input_ids"]
            assert subset.kept[ids].tolist() == tokenizer(text, pair)["input_ids"]
            names = subset.tokenizer.convert_ids_to_tokens(ids)
            assert names == tokenizer.convert_ids_to_tokens(tokenizer(text, pair)["input_ids"])
    for name in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(subset.tokenizer, f"{name}_token") == getattr(tokenizer, f"{name}_token")
        number = getattr(subset.tokenizer, f"{name}_token_id")
        assert subset.kept[number] == getattr(tokenizer, f"{name}_token_id")
    assert subset.tokenizer.pad_token_id == tokenizer.pad_token_id


def test_it_is_the_same_when_it_is_read_back(tokenizer: Any, tmp_path: Path) -> None:
    subset = subset_tokenizer(tokenizer, Texts.of([(text,) for text in CORPUS]))
    write_tokenizer(subset.tokenizer, tmp_path, name="it")
    found = read_tokenizer(str(tmp_path))
    assert found.get_vocab() == subset.tokenizer.get_vocab()
    for text in [*CORPUS[:20], *EVERYTHING[:20], "", "未知 😀 zzz"]:
        assert found(text)["input_ids"] == subset.tokenizer(text)["input_ids"]


def test_other_texts_are_still_spelled(tokenizer: Any) -> None:
    """Their characters are kept, so what had no unknown token has none now; of whole words that is not so."""
    subset = subset_tokenizer(tokenizer, Texts.of([(text,) for text in CORPUS]))
    if isinstance(tokenizer.backend_tokenizer.model, models.WordLevel):
        return
    for text in EVERYTHING:
        before, after = tokenizer(text)["input_ids"], subset.tokenizer(text)["input_ids"]
        assert before.count(tokenizer.unk_token_id) == after.count(subset.tokenizer.unk_token_id)


@pytest.mark.parametrize(
    ("make", "kind", "config"),
    [
        (word_pieces, BertForSequenceClassification, BertConfig),
        (byte_pairs, RobertaForSequenceClassification, RobertaConfig),
        (unigrams, XLMRobertaForSequenceClassification, XLMRobertaConfig),
    ],
)
def test_logits_of_kept_words_are_the_same_to_the_bit(make: Any, kind: Any, config: Any) -> None:
    old = make()
    torch.manual_seed(0)
    model = kind(config(vocab_size=len(old) + 3, pad_token_id=old.pad_token_id, **SMALL)).eval()
    subset = subset_tokenizer(old, Texts.of([(text,) for text in CORPUS]))
    small = subset_model(model, old, subset)
    assert word_embeddings(small).num_embeddings == small.config.vocab_size == len(subset.kept)
    assert torch.equal(word_embeddings(small).weight, word_embeddings(model).weight[subset.kept])
    for text in CORPUS[:30]:
        with torch.no_grad():
            one, other = (
                m(**t(text, return_tensors="pt")).logits for m, t in ((model, old), (small, subset.tokenizer))
            )
        assert torch.equal(one, other)


def test_a_word_that_was_unknown_stays_so() -> None:
    """`ab` is taken before nothing fits; without it `a` and `##bc` would."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "ab", "##bc", "x", "xa"]
    old = BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary)})
    texts = ["abc", "a", "xbc"]
    subset = subset_tokenizer(old, Texts.of([(text,) for text in texts]))
    assert [subset.tokenizer.tokenize(text) for text in texts] == [old.tokenize(text) for text in texts]
    assert subset.tokenizer.tokenize("abc") == ["[UNK]"]
    assert "ab" in subset.tokenizer.get_vocab()
    assert "xa" not in subset.tokenizer.get_vocab()


def test_texts_of_another_script_keep_nothing() -> None:
    with pytest.raises(ModelError, match="knows no word of these 1 texts"):
        subset_tokenizer(word_pieces(), Texts.of([("未知",)]))


def test_a_tokenizer_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.models.vocabulary.subset._KINDS", ("BPE",))
    with pytest.raises(ModelError, match="is of the kind WordPiece"):
        subset_tokenizer(word_pieces(), Texts.of([("kalo",)]))


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the merges that lead to a token it is no longer reached."""
    monkeypatch.setattr("understudy.models.vocabulary.subset.merges_of", lambda model: [])
    with pytest.raises(ModelError, match="would be cut into other tokens"):
        subset_tokenizer(byte_pairs(), Texts.of([(text,) for text in CORPUS]))


def test_a_tokenizer_in_python_is_refused() -> None:
    class InPython(PreTrainedTokenizerFast):
        backend_tokenizer = None

    made = word_pieces()
    made.__class__ = InPython
    with pytest.raises(ModelError, match="is written in Python"):
        subset_tokenizer(made, Texts.of([("kalo",)]))
