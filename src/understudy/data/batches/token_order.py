"""The order of the texts in an epoch, and their tokens as one long sequence in that order."""

from __future__ import annotations

import numpy as np

from understudy.data.tokens.encode import Encoded


def epoch_order(texts: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of the texts in the order of an epoch: a pure function of its arguments."""
    return np.random.default_rng([seed, epoch]).permutation(texts)


class TokenOrder:
    """The tokens of texts joined in a given order: one long array that is never in memory.

    Args:
        encoded: the texts.
        order: ``(texts,)``, the numbers of the texts.
        backward: read the array from its end.
    """

    def __init__(self, encoded: Encoded, order: np.ndarray, *, backward: bool = False) -> None:
        self._ids = encoded.ids
        self._sources = np.asarray(encoded.offsets)[order]
        ends = np.cumsum(encoded.lengths[order])
        self._starts = ends - encoded.lengths[order]
        self._total = int(ends[-1]) if len(ends) else 0
        self._backward = backward

    def __len__(self) -> int:
        return self._total

    def at(self, places: np.ndarray) -> np.ndarray:
        """The token ids at these places, int64, in the shape of `places`."""
        places = self._total - 1 - places if self._backward else places
        texts = np.searchsorted(self._starts, places, side="right") - 1
        return self._ids[self._sources[texts] + places - self._starts[texts]].astype(np.int64)
