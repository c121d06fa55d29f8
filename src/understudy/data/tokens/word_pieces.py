"""Which pieces of a tokenizer's vocabulary make up a word together, found from the pieces themselves."""

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
"""Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True)
class WordPieces:
    """Where words begin and end according to each piece; bool ``(ids,)`` both.

    ``opens``: a word begins with this piece. ``closes``: a word ends with it, so the next piece begins another word.
    """

    opens: np.ndarray
    closes: np.ndarray

    def first_places(self, ids: np.ndarray, places: np.ndarray) -> np.ndarray:
        """For each token, the place of the first piece of its word.

        Args:
            ids: ``(tokens,)``, the rows end to end.
            places: ``(tokens,)``, the place of each token within its row, counted from 0.

        Returns:
            ``(tokens,)``; equal for all tokens of one word in one row.

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
    """How the pieces of a tokenizer make up words, by their marks (see :mod:`understudy.data.tokens.pieces`).

    Special tokens, punctuation and pieces of scripts without spaces are words of their own. So is every piece of a
    tokenizer that marks only the ends of words.

    Args:
        size: the number of ids, at least the largest id of the tokenizer plus one.
    """
    opens, closes = np.ones(size, bool), np.ones(size, bool)
    for number, piece in pieces(tokenizer).items():
        text = piece.text.decode(errors="ignore")
        if not (_is_punctuation(text) or _UNSPACED.search(text)):
            opens[number], closes[number] = piece.begins, False
    return WordPieces(opens, closes)


def _is_punctuation(text: str) -> bool:
    """Whether a text is not empty and all of it is white space or punctuation as BERT sees it.

    For BERT, ASCII symbols are punctuation (``$20`` is two words) and other symbols are not (``€20`` is one word).
    """
    return bool(text) and all(
        character.isspace() or unicodedata.category(character)[0] in ("PSZ" if character.isascii() else "PZ")
        for character in text
    )
