"""Pieces without the marks of their tokenizers."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from understudy.data.tokens.pieces import Piece, pieces, role_id
from understudy.data.tokens.vocabulary import train_tokenizer

TEXTS = ["the film filmed naïve", "un café, filming the café"] * 5


def word_piece(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer like BERT's."""
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")


def unmarked(tokenizer: PreTrainedTokenizerFast) -> dict[str, Piece]:
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    return {names[number]: piece for number, piece in pieces(tokenizer).items()}


def test_four_families_say_the_same(byte_level: PreTrainedTokenizerFast) -> None:
    word, part = Piece(b"film", True), Piece(b"ing", False)
    bpe = unmarked(train_tokenizer(["filming film king sing"] * 9, "bpe:60"))
    assert (bpe["▁film"], bpe["ing"]) == (word, part)
    found = unmarked(word_piece(["[PAD]", "[UNK]", "film", "##ing", "##", "ing"]))
    assert (found["film"], found["##ing"], found["ing"]) == (word, part, Piece(b"ing", True))
    assert found["##"] == Piece(b"##", True)
    assert unmarked(byte_level)["Ġfilm"] == word
    assert unmarked(train_tokenizer(["film"], "words:9"))["film"] == word


def test_byte_level_letters_are_bytes(byte_level: PreTrainedTokenizerFast) -> None:
    """The bytes of a byte-level tokenizer's pieces are the bytes of the text."""
    text = " naïve café ☃"
    known = pieces(byte_level)
    found = [known[i] for i in byte_level(text)["input_ids"]]
    assert b"".join(b" " * piece.begins + piece.text for piece in found) == text.encode()
    assert {piece.text for piece in known.values() if len(piece.text) == 1} >= {
        bytes([i]) for i in range(256) if i != 32
    }


def test_byte_fallback() -> None:
    backend = Tokenizer(models.BPE({"<0xC3>": 0, "▁a": 1, "▁": 2, "a": 3}, [("▁", "a")], byte_fallback=True))
    found = unmarked(PreTrainedTokenizerFast(tokenizer_object=backend))
    assert (found["<0xC3>"], found["▁a"], found["▁"]) == (Piece(b"\xc3", False), Piece(b"a", True), Piece(b"", True))


def test_ends_of_words() -> None:
    backend = Tokenizer(models.BPE({"film</w>": 0, "fil": 1}, [], end_of_word_suffix="</w>"))
    assert unmarked(PreTrainedTokenizerFast(tokenizer_object=backend)) == {
        "film</w>": Piece(b"film", True),
        "fil": Piece(b"fil", True),
    }


def test_special_tokens_are_left_out() -> None:
    assert not set(pieces(train_tokenizer(TEXTS, "bpe:60"))) & {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("role", "expected"), [("cls", 2), ("bos", 2), ("eos", 3), ("mask", 4), ("pad", 0)])
def test_roles_stand_in(role: str, expected: int) -> None:
    assert role_id(train_tokenizer(TEXTS, "bpe:60"), role) == expected


def test_roles_that_nothing_fills(byte_level: PreTrainedTokenizerFast) -> None:
    assert [role_id(byte_level, role) for role in ("cls", "sep", "pad", "mask")] == [0, 0, None, None]
