"""The pieces of a vocabulary without the marks of their tokenizer, so that pieces of different tokenizers compare.

WordPiece writes ``##ing`` for a piece that continues a word. SentencePiece writes ``▁film`` and byte-level BPE ``Ġfilm``
for a piece that begins one; byte-level BPE also writes a character in place of each byte. Here a piece is its bytes and
whether it begins a word: ``film``, ``▁film`` and ``Ġfilm`` are the same piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
_STAND_INS = {"cls": "bos", "bos": "cls", "sep": "eos", "eos": "sep"}
"""The token that starts or ends a text has one role in encoders and another in generators."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Piece(NamedTuple):
    """A token without the marks of its tokenizer."""

    text: bytes
    begins: bool
    """Whether it begins a word."""


def pieces(tokenizer: PreTrainedTokenizerBase) -> dict[int, Piece]:
    """The id and the unmarked piece of every token that is not special.

    If a tokenizer marks only the ends of words (``film</w>``), every piece counts as the beginning of a word.

    Example:
        >>> from understudy.data.tokens.vocabulary import train_tokenizer
        >>> tokenizer = train_tokenizer(["a film"], "bpe:40")
        >>> pieces(tokenizer)[tokenizer.convert_tokens_to_ids("▁film")]
        Piece(text=b'film', begins=True)
    """
    marks = _marks(tokenizer)
    special = special_ids(tokenizer)
    return {number: marks.off(token) for token, number in tokenizer.get_vocab().items() if number not in special}


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The ids of all special tokens: those with a role, and those that were added as special without one.

    transformers' ``all_special_ids`` lacks those of the second kind that its settings do not name.
    """
    try:
        added = tokenizer.added_tokens_decoder
    except NotImplementedError:
        added = {}
    return set(tokenizer.all_special_ids) | {number for number, token in added.items() if token.special}


def role_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of the special tokens that a tokenizer has, by their role: ``pad``, ``unk``, ``cls``, ``sep`` …"""
    ids = {role: getattr(tokenizer, f"{role}_token_id", None) for role in ROLES}
    return {role: int(number) for role, number in ids.items() if number is not None}


def role_id(tokenizer: PreTrainedTokenizerBase, role: str) -> int | None:
    """The id of the token with a role, or of the token that replaces it; None if the tokenizer has neither.

    ``cls`` and ``bos`` replace each other, and so do ``sep`` and ``eos``: a tokenizer may have only one of each pair.
    """
    own = role_ids(tokenizer)
    return own.get(role, own.get(_STAND_INS.get(role, "")))


class _Marks(NamedTuple):
    """How a tokenizer marks its pieces. Without any mark, every token is a word."""

    begins: str = ""
    """Before a piece that begins a word."""
    goes_on: str = ""
    """Before a piece that continues a word."""
    ends: str = ""
    """After a piece that ends a word."""
    spelled: Mapping[str, int] = {}
    """The byte that each character represents."""

    def off(self, token: str) -> Piece:
        """The piece without its marks. A token that is only the mark of continuation is a word."""
        if match := _BYTE.fullmatch(token):
            return Piece(bytes([int(match[1], 16)]), False)
        begins = token.startswith(self.begins)
        text = token.removeprefix(self.begins)
        if self.goes_on and text != self.goes_on and text.startswith(self.goes_on):
            begins, text = False, text.removeprefix(self.goes_on)
        text = text.removesuffix(self.ends) or text
        if self.spelled and all(character in self.spelled for character in text):
            return Piece(bytes(self.spelled[character] for character in text), begins)
        return Piece(text.encode(errors="surrogatepass"), begins)


def _marks(tokenizer: PreTrainedTokenizerBase) -> _Marks:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        model: Any = backend.model
        if "ByteLevel" in f"{backend.pre_tokenizer}{backend.decoder}":
            return _Marks(begins="Ġ", spelled={character: byte for byte, character in bytes_to_unicode().items()})
        if isinstance(model, models.WordLevel):
            return _Marks()
        if prefix := getattr(model, "continuing_subword_prefix", None):
            return _Marks(goes_on=prefix)
        if suffix := getattr(model, "end_of_word_suffix", None):
            return _Marks(ends=suffix)
    # Only the tokens show it: a normaliser, or a tokenizer written in Python, may add SentencePiece's mark.
    counts = {
        mark: sum(token.startswith(mark) and token != mark for token in tokenizer.get_vocab()) for mark in ("▁", "##")
    }
    if not any(counts.values()):
        return _Marks()
    return _Marks(begins="▁") if counts["▁"] >= counts["##"] else _Marks(goes_on="##")
