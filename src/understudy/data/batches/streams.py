"""Texts as continuous streams of tokens, cut into windows that a recurrent model reads one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from understudy.data.batches.contract import Batch
from understudy.data.batches.token_order import TokenOrder, epoch_order
from understudy.data.batches.windows import SHORTEST_WINDOW, Window, stream_starts, window_plan
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded

SCORING_STREAMS, _SCORING_TOKENS = 64, 1000
"""An evaluation reads so many streams at once, or fewer if each would have less than so many tokens."""


@dataclass
class StreamBatch(Batch):
    """A window of some streams: ``inputs["input_ids"]`` and ``labels`` (the next tokens) are ``(streams, tokens)``.

    ``counts`` has ``rows`` (streams), ``tokens`` (targets) and ``transitions`` (pairs of neighbouring targets).
    """

    first: int = 0
    """The number of the first stream on this rank; recurrent state is kept under it."""
    begins: bool = False
    """Whether the streams start here; an older state belongs to another epoch."""


class StreamBatches:
    """Encoded texts as continuous streams: what a recurrent language model is trained on.

    The texts of an epoch are joined in an order drawn by seed and epoch, then cut into `streams` streams. Every batch
    has one window of each stream of this rank and continues where the batch before it ended. A window of more than
    `max_tokens` tokens is cut into micro-batches of fewer streams; a micro-batch never has two windows of one stream.
    Only the current window is copied.

    Args:
        encoded: the texts, each with its end-of-text token, see
            :func:`understudy.data.tokens.end_of_text.encode_streams`.
        streams: the number of streams over all ranks; rank r has those numbered r, r + world_size, … .
        bptt: the expected length of a window, see :func:`window_plan`.
        seed: for the order of the texts and the lengths of the windows.
        backward: read every stream from its end to its start.
        max_tokens: the most tokens of a micro-batch. None: no limit.

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
            raise ValueError(f"{world_size} processes need at least as many streams, but there are {streams}")
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
        """Optimizer steps in an epoch. They vary a little with the lengths of the windows."""
        return len(self._windows(epoch))

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[StreamBatch]]:
        """The micro-batches of each step, from step `start` on."""
        tokens = TokenOrder(self.encoded, epoch_order(len(self.encoded), self.seed, epoch), backward=self.backward)
        for number, window in enumerate(self._windows(epoch)[start:], start):
            yield [self._batch(tokens, window, piece, begins=number == 0) for piece in self._pieces]

    def padding_ratio(self) -> float:
        """Tokens computed, padding included, divided by real tokens. Only ends of shorter streams are padded."""
        return float(np.diff(self._starts).max() * self.streams / (len(self.encoded.ids) - 1))

    def _windows(self, epoch: int) -> list[Window]:
        return window_plan(int(np.diff(self._starts).max()), bptt=self.bptt, seed=self.seed, epoch=epoch)

    def _batch(self, tokens: TokenOrder, window: Window, piece: np.ndarray, *, begins: bool) -> StreamBatch:
        own = self._own[piece]
        batch = _window_batch(tokens, self._starts[own], self._starts[own + 1], window)
        return replace(batch, rate=window.rate, first=int(piece[0]), begins=begins)


def scoring_batches(encoded: Encoded, *, backward: bool = False, window: int = 64) -> Iterator[StreamBatch]:
    """The texts in their own order as streams, for an evaluation: every token except the first is a target once.

    The number of streams depends only on the number of tokens: 64, or fewer if each would have less than 1,000 tokens.
    Neither that number nor the length of a window depends on the batches of training. The recurrent state is carried
    from window to window.

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
    """One window of the streams that start at `starts` and predict up to `ends`."""
    places = starts[:, None] + np.arange(window.start, window.stop + 1)
    ids = tokens.at(np.minimum(places, len(tokens) - 1))
    real = places[:, 1:] <= ends[:, None]
    labels = np.where(real, ids[:, 1:], NO_LABEL)
    return StreamBatch(
        inputs={"input_ids": torch.from_numpy(ids[:, :-1].copy())},
        counts={"rows": len(ids), "tokens": int(real.sum()), "transitions": int(real[:, 1:].sum())},
        labels=torch.from_numpy(labels),
    )
