"""Raw text as continuous streams of tokens, cut into windows that a recurrent model reads one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.batches.bucketed import Batch
from understudy.data.tasks import NO_LABEL
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError

SHORTEST_WINDOW = 5
"""Tokens; a shorter rest of an epoch joins the window before it."""
_WINDOW_SPREAD = 5.0
_HALVED = 0.05
SCORING_STREAMS, _SCORING_TOKENS = 64, 1000
"""An evaluation reads so many streams at once, or fewer where they would be shorter than so many tokens."""


class Window(NamedTuple):
    """The targets ``start … stop - 1`` of every stream; ``rate`` is its length over the expected one."""

    start: int
    stop: int
    rate: float


def window_plan(targets: int, *, bptt: int, seed: int, epoch: int) -> list[Window]:
    """Windows of varying length over an epoch, so that no token always stands where the gradient is cut.

    The length of a window is drawn from N(s, 5²), where s is `bptt` with probability 0.95 and ``bptt / 2`` otherwise,
    and is at least 5. A step's learning rate is multiplied by its length over `bptt`, for otherwise short windows would
    weigh their tokens more.

    Args:
        targets: tokens that the longest stream predicts in the epoch.
        bptt: the expected length.
        seed, epoch: determine the lengths, nothing else does.

    Returns:
        Windows without gaps or overlaps; the last one ends at `targets`.

    Reference:
        Merity, Keskar & Socher 2018, "AWD-LSTM", arXiv 1708.02182, section 5 (variable length backpropagation
        sequences).

    Example:
        >>> [(window.start, window.stop) for window in window_plan(100, bptt=40, seed=0, epoch=0)]
        [(0, 41), (41, 79), (79, 100)]
    """
    rng = np.random.default_rng([seed, epoch, 1])
    windows: list[Window] = []
    start = 0
    while start < targets:
        base = bptt / 2 if rng.random() < _HALVED else float(bptt)
        stop = start + max(SHORTEST_WINDOW, round(rng.normal(base, _WINDOW_SPREAD)))
        if targets - stop < SHORTEST_WINDOW:
            stop = targets
        windows.append(Window(start, stop, (stop - start) / bptt))
        start = stop
    return windows


def stream_starts(tokens: int, streams: int) -> np.ndarray:
    """Where the streams begin in the epoch's tokens, and last where the final one ends: int64 ``(streams + 1,)``.

    Stream i reads from ``starts[i]`` and predicts the tokens ``starts[i] + 1 … starts[i + 1]``: its last target is the
    first token that the next one reads, so that each token of the epoch but the very first is predicted exactly once.
    The streams' lengths differ by one at most, longer ones first.

    Example:
        >>> stream_starts(12, 3).tolist()
        [0, 4, 8, 11]
    """
    each, more = divmod(tokens - 1, streams)
    return np.arange(streams + 1) * each + np.minimum(np.arange(streams + 1), more)


@dataclass
class StreamBatch(Batch):
    """A window of some streams: ``inputs["input_ids"]`` and ``labels`` (the next tokens) are ``(streams, tokens)``.

    ``counts`` has ``rows`` (streams), ``tokens`` (targets) and ``transitions`` (neighbouring targets in the window).
    """

    first: int = 0
    """The first of the streams, by its number on this rank: recurrent state is kept by it."""
    begins: bool = False
    """Whether the streams begin here; a state from before belongs to another epoch."""


class StreamBatches:
    """Encoded texts as continuous streams: what a recurrent language model is trained on.

    The texts of an epoch stand end to end, in an order drawn by seed and epoch, cut into `streams` streams. Every
    batch has all streams of this rank, one window of each, and goes on where the one before it ended. A window of more
    than `max_tokens` tokens is cut into micro-batches of fewer streams: other streams, never later windows, fill a
    large batch. Nothing is copied but the window at hand.

    Args:
        encoded: the texts, each with its end-of-text token (see :func:`encode_streams`).
        streams: over all ranks; rank r has those numbered r, r + world_size, … .
        bptt: the expected length of a window; see :func:`window_plan`.
        backward: read every stream from its end to its beginning.
        seed: of the order and the windows' lengths.

    Raises:
        ValueError: if there are fewer streams than ranks, or too few tokens for so many streams.
    """

    def __init__(
        self,
        encoded: Encoded,
        *,
        streams: int,
        bptt: int,
        seed: int,
        backward: bool = False,
        max_tokens: int | None = None,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        if streams < world_size:
            raise ValueError(f"{world_size} processes need as many streams at least, but there are {streams}")
        if len(encoded.ids) <= streams * SHORTEST_WINDOW:
            raise ValueError(
                f"{streams} streams need more than {streams * SHORTEST_WINDOW} tokens, but there are {len(encoded.ids)}"
            )
        self.encoded, self.streams, self.bptt, self.seed, self.backward = encoded, streams, bptt, seed, backward
        self._starts = stream_starts(len(encoded.ids), streams)
        self._own = np.arange(rank, streams, world_size)
        most, fewest = -(-streams // world_size), streams // world_size
        pieces = 1 if max_tokens is None else min(fewest, -(-most * bptt // max_tokens))
        self._pieces = np.array_split(np.arange(len(self._own)), pieces)

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch, which vary a little with the windows' lengths."""
        return len(self._windows(epoch))

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[StreamBatch]]:
        """The micro-batches of each step, from step `start` on."""
        tokens = TokenOrder(self.encoded, epoch_order(len(self.encoded), self.seed, epoch), backward=self.backward)
        for number, window in enumerate(self._windows(epoch)[start:], start):
            yield [self._batch(tokens, window, piece, begins=number == 0) for piece in self._pieces]

    def padding_ratio(self) -> float:
        """Tokens computed over tokens real: nothing is padded but the end of the shorter streams."""
        return float(np.diff(self._starts).max() * self.streams / (len(self.encoded.ids) - 1))

    def _windows(self, epoch: int) -> list[Window]:
        return window_plan(int(np.diff(self._starts).max()), bptt=self.bptt, seed=self.seed, epoch=epoch)

    def _batch(self, tokens: TokenOrder, window: Window, piece: np.ndarray, *, begins: bool) -> StreamBatch:
        own = self._own[piece]
        batch = _window_batch(tokens, self._starts[own], self._starts[own + 1], window)
        return replace(batch, rate=window.rate, first=int(piece[0]), begins=begins)


def scoring_batches(encoded: Encoded, *, backward: bool = False, window: int = 64) -> Iterator[StreamBatch]:
    """The texts in their order as streams for an evaluation: every token but the first is a target once.

    The number of streams follows from the number of tokens alone: 64, or fewer where each would have less than 1,000.
    Neither it nor the length of a window, over which the state is carried, depends on how training cuts its batches.

    Example:
        >>> encoded = Encoded(np.array([5, 6, 7, 3], np.int32), np.array([0, 4]), None, 0, "right", "")
        >>> [(batch.inputs["input_ids"].tolist(), batch.labels.tolist()) for batch in scoring_batches(encoded)]
        [([[5, 6, 7]], [[6, 7, 3]])]
    """
    tokens = TokenOrder(encoded, np.arange(len(encoded)), backward=backward)
    streams = min(SCORING_STREAMS, max(1, len(encoded.ids) // _SCORING_TOKENS))
    starts = stream_starts(len(encoded.ids), streams)
    for start in range(0, int(np.diff(starts).max()), window):
        stop = min(start + window, int(np.diff(starts).max()))
        yield replace(_window_batch(tokens, starts[:-1], starts[1:], Window(start, stop, 1.0)), begins=start == 0)


def _window_batch(tokens: TokenOrder, starts: np.ndarray, ends: np.ndarray, window: Window) -> StreamBatch:
    """One window of the streams that read from `starts` and predict up to `ends`."""
    places = starts[:, None] + np.arange(window.start, window.stop + 1)
    ids = tokens.at(np.minimum(places, len(tokens) - 1))
    real = places[:, 1:] <= ends[:, None]
    labels = np.where(real, ids[:, 1:], NO_LABEL)
    return StreamBatch(
        inputs={"input_ids": torch.from_numpy(ids[:, :-1].copy())},
        counts={"rows": len(ids), "tokens": int(real.sum()), "transitions": int(real[:, 1:].sum())},
        labels=torch.from_numpy(labels),
    )


def epoch_order(texts: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the texts in an epoch: a pure function of its arguments."""
    return np.random.default_rng([seed, epoch]).permutation(texts)


class TokenOrder:
    """The tokens of texts in an order, end to end, as one long array that is never made.

    Args:
        order: the numbers of the texts.
        backward: as that array would be read from its end.
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
        """The token ids at these places: int64, of the shape of `places`."""
        places = self._total - 1 - places if self._backward else places
        texts = np.searchsorted(self._starts, places, side="right") - 1
        return self._ids[self._sources[texts] + places - self._starts[texts]].astype(np.int64)


def encode_streams(texts: Texts, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Texts in full, each as its tokenizer makes it ready for a model, so that a classifier reads what was trained on.

    Where the tokenizer adds nothing (GPT-2's), an end-of-text token follows each text.

    Raises:
        ModelError: if it has no such token.
    """
    return encode(texts, tokenizer, max_length=None, end_id=end_id(tokenizer) if _marks_nothing(tokenizer) else None)


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a text: the tokenizer's own end of sequence, else its separator.

    Raises:
        ModelError: if it has neither.
    """
    for token in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token is not None:
            return int(token)
    raise ModelError(
        "the tokenizer has neither an end-of-sequence nor a separator token, so texts cannot be told apart in a stream. Give its tokenizer_config.json an eos_token."
    )


def _marks_nothing(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.num_special_tokens_to_add() == 0
