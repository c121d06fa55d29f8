"""Which pieces of a tokenizer's vocabulary make up a word together, told from the pieces themselves."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import pieces

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts that write no spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class WordPieces:
    """What each piece says about where words begin and end; ``(ids,)`` of bool each.

    ``opens``: a word begins with it. ``closes``: the word ends with it, so that the next piece begins another.
    """

    opens: np.ndarray
    closes: np.ndarray

    def first_places(self, ids: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The place of the first piece of the word that each token belongs to.

        Args:
            ids: ``(tokens,)``, rows end to end.
            places: ``(tokens,)``, each token's place within its row, counted from 0.

        Returns:
            ``(tokens,)``; equal for the tokens of one word of one row.

        Example:
            >>> pieces = WordPieces(opens=np.array([True, False]), closes=np.array([False, False]))
            >>> pieces.first_places(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 2, 0, 1])).tolist()
            [0, 0, 0, 0, 0]
        """
        begins = self.opens[ids] | (places == 0)
        begins[1:] |= self.closes[ids[:-1]]
        latest = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
        return places[latest]


def word_pieces(tokenizer: PreTrainedTokenizerBase, *, size: int) -> WordPieces:
    """How a tokenizer's pieces make up words.

    By the marks that :func:`understudy.data.tokens.pieces.pieces` reads. Special tokens, punctuation and pieces of scripts
    that write no spaces stand alone; so does every piece of a tokenizer that marks only the ends of words.

    Args:
        size: the number of ids there are, at least as many as the tokenizer has.
    """
    opens, closes = np.ones(size, bool), np.ones(size, bool)
    for number, piece in pieces(tokenizer).items():
        text = piece.text.decode(errors="ignore")
        if not (_is_punctuation(text) or _UNSPACED.search(text)):
            opens[number], closes[number] = piece.begins, False
    return WordPieces(opens, closes)


def _is_punctuation(text: str) -> bool:
    """Whether there is something, and all of it is space or what BERT takes for punctuation: symbols of ASCII are, as in
    ``$20``, others are not, as in ``€20``, which it takes for one word."""
    return bool(text) and all(
        unicodedata.category(character)[0] in ("PSZ" if character.isascii() else "PZ") for character in text
    )
