"""Texts as independent blocks of tokens: what a transformer that predicts the next token is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from understudy.data.batches.by_length import bucketed_plan
from understudy.data.batches.contract import Batch
from understudy.data.batches.token_order import TokenOrder, epoch_order
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded


class CausalBlocks:
    """The texts of an epoch, joined in an order drawn by seed and epoch and cut into blocks of one length.

    A block predicts the token after each of its own tokens. The last target is the first token of the next block, so
    each token of the epoch except the first is predicted exactly once. A block sees nothing of the blocks before it. It
    may hold the end of one text and the start of another, as in the pretraining of GPT-2. Batches are random blocks.

    Args:
        encoded: the texts, each with its end-of-text token, see
            :func:`understudy.data.tokens.end_of_text.encode_streams`.
        length: tokens of a block.
        batch_size: blocks of an optimizer step, over all ranks.
        max_tokens, seed, world_size, rank: as in :func:`understudy.data.batches.by_length.bucketed_plan`.

    Raises:
        ValueError: if there are fewer blocks than ranks, or a batch has fewer blocks than there are ranks.
    """

    def __init__(
        self,
        encoded: Encoded,
        *,
        length: int,
        batch_size: int,
        max_tokens: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.encoded, self.length, self.seed = encoded, length, seed
        targets = len(encoded.ids) - 1
        lengths = np.full(-(-targets // length), length)
        self._plan = partial(
            bucketed_plan,
            lengths,
            batch_size=batch_size,
            max_tokens=max_tokens,
            seed=seed,
            world_size=world_size,
            rank=rank,
        )
        self._steps = len(self._plan(epoch=0))

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch; the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        tokens = TokenOrder(self.encoded, epoch_order(len(self.encoded), self.seed, epoch))
        for step in self._plan(epoch=epoch)[start:]:
            yield [_block_batch(tokens, blocks * self.length, self.length) for blocks in step]

    def padding_ratio(self) -> float:
        """Tokens computed, padding included, divided by real tokens. Only the last block is padded."""
        targets = len(self.encoded.ids) - 1
        return -(-targets // self.length) * self.length / targets


def scoring_blocks(encoded: Encoded, *, length: int, max_tokens: int) -> Iterator[Batch]:
    """The texts in their own order as blocks, for an evaluation: every token except the first is a target once.

    Example:
        >>> encoded = Encoded(np.array([5, 6, 7, 3], np.int32), np.array([0, 4]), None, 0, "right", "")
        >>> batch, = scoring_blocks(encoded, length=2, max_tokens=8)
        >>> batch.inputs["input_ids"].tolist(), batch.labels.tolist()
        ([[5, 6], [7, 3]], [[6, 7], [3, -100]])
    """
    tokens = TokenOrder(encoded, np.arange(len(encoded)))
    starts = np.arange(0, len(encoded.ids) - 1, length)
    rows = max(1, max_tokens // length)
    for first in range(0, len(starts), rows):
        yield _block_batch(tokens, starts[first : first + rows], length)


def _block_batch(tokens: TokenOrder, starts: np.ndarray, length: int) -> Batch:
    """Blocks that start at `starts`. Padding follows the last token, is no target and needs no mask.

    A causal model sees it only after the last target.
    """
    last = len(tokens) - 1
    places = starts[:, None] + np.arange(length + 1)
    ids = tokens.at(np.minimum(places, last))
    real = places[:, 1:] <= last
    return Batch(
        inputs={"input_ids": torch.from_numpy(ids[:, :-1].copy())},
        counts={"rows": len(ids), "tokens": int(real.sum())},
        labels=torch.from_numpy(np.where(real, ids[:, 1:], NO_LABEL)),
    )
