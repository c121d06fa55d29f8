"""nanotoken beside tokenizers: the same ids on everything, or not used."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from understudy.data.tokens import backend as backend_module
from understudy.data.tokens.backend import Backend
from understudy.data.tokens.fast import FastTokenizer, Sample, checked_fast_tokenizer, sample_texts

nanotoken = pytest.importorskip("nanotoken")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"


def bert(*, lowercase: bool = True) -> Tokenizer:
    """A tokenizer as BERT's over a small vocabulary."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    tokens += ["film", "the", "##ing", "é", "中", "##文", "ß", "İ", "Film"]
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.add_special_tokens([AddedToken(name, special=True) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    return made


def both(*, max_length: int | None = 12, side: Any = "right", lowercase: bool = True) -> tuple[Backend, Backend]:
    """The same tokenizer with and without nanotoken."""
    plain = Backend(bert(lowercase=lowercase), max_length=max_length, side=side, fast=False)
    quick = Backend(bert(lowercase=lowercase), max_length=max_length, side=side, sample=plain.make_sample())
    quick.one("a")
    quick.one("a")
    assert quick._fast is not None
    return quick, plain


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_length", [3, 12, None])
@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_of_odd_texts_are_the_same(side: Any, max_length: int | None, lowercase: bool) -> None:
    quick, plain = both(max_length=max_length, side=side, lowercase=lowercase)
    rng = random.Random(0)
    texts = sample_texts(bert())
    texts += ["".join(chr(rng.randrange(0xD7FF)) for _ in range(rng.randrange(40))) for _ in range(300)]
    one, other = quick.part(texts), plain.part(texts)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    np.testing.assert_array_equal(one.ids, other.ids)
    assert one.ids.dtype == other.ids.dtype == np.int32
    assert one.segments is None
    assert [quick.one(text) for text in texts[:80]] == [plain.one(text) for text in texts[:80]]


QUICK, PLAIN = both()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_ids_of_any_text_are_the_same(text: str) -> None:
    assert QUICK.one(text) == PLAIN.one(text)


def test_the_sample_has_the_whole_vocabulary() -> None:
    tokenizer = bert()
    ids = Backend(bert(), max_length=None, fast=False).part(sample_texts(tokenizer)).ids
    # with these rules no text has marks inside a word, accents or capitals
    reachable = [token for token in tokenizer.get_vocab() if token.removeprefix("##").isalnum() and token.isascii()]
    assert {tokenizer.token_to_id(token) for token in {*reachable, "中"} - {"Film"}} <= set(ids.tolist())


def test_any_change_of_the_table_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    plain = Backend(bert(), max_length=12, fast=False)
    sample = plain.make_sample()
    told = json.loads(plain.content)
    words = told["model"]["vocab"]
    for one, other in (("film", "the"), ("##q", "##z"), ("中", "é"), ("[UNK]", "[MASK]")):
        told["model"]["vocab"] = words | {one: words[other], other: words[one]}
        assert checked_fast_tokenizer(json.dumps(told), lambda: sample, max_length=12, side="right") is None
    assert capsys.readouterr().err.count("so it is not used") == 4
    assert checked_fast_tokenizer(plain.content, lambda: sample, max_length=12, side="right") is not None


def test_what_it_does_not_know_is_left_to_tokenizers() -> None:
    def never() -> Sample:
        raise AssertionError

    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).to_str()
    assert checked_fast_tokenizer(words, never, max_length=None, side="right") is None
    with pytest.raises(ValueError, match="WordPiece"):
        FastTokenizer(words, max_length=None, side="right")


def test_pairs_rows_of_one_text_and_spelt_specials_are_not_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_WORTH_A_CHECK", 1)
    quick, plain = Backend(bert(), max_length=12), Backend(bert(), max_length=12, fast=False)
    pair = ("the film", "a film [SEP]")
    assert quick.one(pair) == plain.one(pair)
    assert quick._fast is None
    assert quick.one("the film [SEP]") == plain.one("the film [SEP]")
    assert quick._fast is not None
    for options in ({"split": True}, {"spell_special": True}):
        other = Backend(bert(), max_length=12, **options)  # type: ignore[arg-type]
        other.part(["the film [SEP]"] * 3)
        assert other._fast is None


def test_it_is_checked_once_for_many_texts_and_not_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_checked", {})
    few = Backend(bert(), max_length=12)
    few.part(["the film"] * 10)
    assert few._fast is None
    for _ in range(2):
        many = Backend(bert(), max_length=12)
        part = many.part(["the film"] * 1000)
        assert part.ids.tolist() == few.one("the film")[0] * 1000
        assert many._fast is not None
    assert len(backend_module._checked) == 1
    for _ in range(98):
        few.part(["the film"] * 10)
    assert few._fast is None
    few.part(["the film"] * 10)
    assert few._fast is not None


def test_without_nanotoken_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nanotoken", None)
    monkeypatch.setattr(backend_module, "_checked", {})
    assert Backend(bert(), max_length=12).part(["the film"] * 1000).lengths.sum() == 4000


def test_half_of_a_character_is_refused_alike() -> None:
    for one in both():
        with pytest.raises(ValueError, match="half of a character"):
            one.part(["\ud800"])
