"""Which tokens of a text are hidden, and by what: a pure function of text, row number, seed and epoch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import special_ids
from understudy.data.tokens.word_pieces import WordPieces, word_pieces

_MASKED, _RANDOM = 0.8, 0.9
"""80 % of the chosen tokens become the mask, 10 % a random word, and 10 % stay as they are."""

_CHOICE, _FATE, _WORD, _OTHER = range(4)
"""The draws for a token: three for masking it, one for :meth:`Masking.uniform`."""

_STEP = 0x9E3779B97F4A7C15
_BITS = 2**64 - 1


@dataclass(frozen=True)
class Masking:
    """BERT's masking, with new draws each epoch (dynamic masking).

    Each token that is not special is chosen with the same probability: by itself or, with `words`, together with the
    other pieces of its word. 80 % of the chosen tokens are replaced by the mask, 10 % by a random ordinary token, and
    10 % stay as they are.

    A draw is a hash of seed, epoch, row and place, not the state of a generator. So the masks of a row do not depend on
    its batch, order, block or process, and a run that is killed and resumed draws the same masks.

    Every token has the same chance whatever the length of its text, so a short text often has no mask: at 15 %, a text
    of three words has none in 61 % of the epochs. It then adds nothing to the loss. (If at least one token of each text
    were masked, words of short texts would be learnt far more often than words of long ones.)

    Attributes:
        mask_id: the id of the mask token.
        maskable: bool ``(ids,)``: false for special tokens and for ids that the tokenizer does not have.
        probability: the probability that a token is chosen.
        seed: determines every draw, together with epoch, row and place.
        words: which pieces make up a word, to choose whole words. None: choose single pieces.
        rounds: the masks repeat after so many epochs. None: never.

    Reference:
        Devlin et al. 2019, arXiv 1810.04805, section 3.1; Liu et al. 2019, arXiv 1907.11692, section 4.1 (dynamic
        masking).
    """

    mask_id: int
    maskable: np.ndarray
    probability: float
    seed: int
    words: WordPieces | None = None
    rounds: int | None = None

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        *,
        probability: float = 0.15,
        whole_words: bool = False,
        seed: int = 0,
        rounds: int | None = None,
    ) -> Masking:
        """The masking for a tokenizer.

        Raises:
            ValueError: if the tokenizer has no mask token, or the probability is not above 0 and at most 1.
        """
        if tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no mask token")
        if not 0 < probability <= 1:
            raise ValueError(f"probability must be above 0 and at most 1, but is {probability}")
        ids = list(tokenizer.get_vocab().values())
        size = max(ids) + 1
        maskable = np.zeros(size, bool)
        maskable[ids] = True
        maskable[list(special_ids(tokenizer))] = False
        words = word_pieces(tokenizer, size=size) if whole_words else None
        return cls(int(tokenizer.mask_token_id), maskable, probability, seed, words, rounds)

    def __call__(
        self, ids: np.ndarray, rows: np.ndarray, places: np.ndarray, *, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask some tokens.

        Args:
            ids: ``(tokens,)``, the rows end to end, special tokens included.
            rows: ``(tokens,)``, the number of each token's row in the data.
            places: ``(tokens,)``, the place of each token within its row, counted from 0.
            epoch: each epoch has its own masks.

        Returns:
            The ids that the model reads, int64 ``(tokens,)``, and which tokens were chosen, bool ``(tokens,)``.

        Example:
            >>> masking = Masking(mask_id=0, maskable=np.array([False, True, True]), probability=1.0, seed=0)
            >>> shown, chosen = masking(np.array([0, 1, 2]), np.zeros(3, int), np.arange(3), epoch=0)
            >>> chosen.tolist()
            [False, True, True]
        """
        draws = _Draws(self.seed, self.round(epoch), rows)
        units = places if self.words is None else self.words.first_places(ids, places)
        chosen = (draws(units, _CHOICE) < self.probability) & self.maskable[ids]
        where = np.flatnonzero(chosen)
        fate, word = draws.at(where, places, _FATE), draws.at(where, places, _WORD)
        ordinary = np.flatnonzero(self.maskable)
        replaced = np.where(fate < _MASKED, self.mask_id, ordinary[(word * len(ordinary)).astype(np.int64)])
        shown = np.asarray(ids, np.int64).copy()
        shown[where] = np.where(fate < _RANDOM, replaced, shown[where])
        return shown, chosen

    def round(self, epoch: int) -> int:
        """The first epoch with the same masks as this one.

        Example:
            >>> [Masking(0, np.array([True]), 0.15, seed=0, rounds=2).round(epoch) for epoch in range(4)]
            [0, 1, 0, 1]
        """
        return epoch if self.rounds is None else epoch % self.rounds

    def uniform(self, rows: np.ndarray, places: np.ndarray, *, epoch: int) -> np.ndarray:
        """A number in [0, 1) for each token, ``(tokens,)``, independent of how it is masked."""
        return _Draws(self.seed, self.round(epoch), rows)(places, _OTHER)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that determines the masks of an epoch, except how pieces make up words."""
        told = f"{self.mask_id} {self.probability} {self.seed} {self.words is not None}".encode()
        return hashlib.sha256(told + self.maskable.tobytes()).hexdigest()


class _Draws:
    """Numbers in [0, 1) by row, place and draw. The same arguments give the same numbers."""

    def __init__(self, seed: int, epoch: int, rows: np.ndarray) -> None:
        key = _mixed(np.array([seed & _BITS], np.uint64)) + np.uint64(epoch & _BITS)
        self._rows = _mixed(_mixed(key) + np.asarray(rows).astype(np.uint64) * np.uint64(_STEP))

    def __call__(self, places: np.ndarray, draw: int) -> np.ndarray:
        return _uniform(self._rows, places, draw)

    def at(self, tokens: np.ndarray, places: np.ndarray, draw: int) -> np.ndarray:
        """The numbers of the tokens with these indices among the rows and `places`: ``(len(tokens),)``."""
        return _uniform(self._rows[tokens], places[tokens], draw)


def _uniform(keys: np.ndarray, places: np.ndarray, draw: int) -> np.ndarray:
    numbers = np.asarray(places).astype(np.uint64) * np.uint64(4) + np.uint64(draw + 1)
    return (_mixed(keys + numbers * np.uint64(_STEP)) >> np.uint64(11)) * 2.0**-53


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every bit of the input affects every bit of the output.

    Reference:
        Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators", OOPSLA, figure 1.
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
