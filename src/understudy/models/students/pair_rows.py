"""The two texts of an encoded pair as rows of their own, as a tokenizer encodes single texts: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ModelError
from understudy.models.students.student import is_traced

_TEXT = "a"
"""Any text that is a token or more."""


class PairLayout(NamedTuple):
    """The special tokens of a tokenizer: around a single text, and before, between and after the texts of a pair."""

    starts: tuple[int, ...]
    """The ids before a single text, such as ``[CLS]``."""
    ends: tuple[int, ...]
    """The ids after it, such as ``[SEP]``."""
    before: int
    """How many there are before the first text of a pair."""
    between: int
    after: int

    @classmethod
    def of(cls, values: Sequence[Any]) -> PairLayout:
        """The layout of :meth:`as_list`.

        Raises:
            TypeError: if a value is of another type.
            ValueError: if there are not as many.
        """
        starts, ends, before, between, after = values
        return cls(tuple(map(int, starts)), tuple(map(int, ends)), int(before), int(between), int(after))

    def as_list(self) -> list[Any]:
        """Plain values, for JSON."""
        return [list(self.starts), list(self.ends), self.before, self.between, self.after]


def pair_layout(tokenizer: PreTrainedTokenizerBase) -> PairLayout:
    """Where a tokenizer puts its special tokens, found by what it makes of a short text.

    Raises:
        ModelError: if the ids of the text are not found again in the pair.
    """
    encoder = TextEncoder(tokenizer, max_length=None)
    text = tokenizer.encode(_TEXT, add_special_tokens=False)
    single, pair = (encoder.one(texts)[0] for texts in ((_TEXT,), (_TEXT, _TEXT)))
    at = _find(text, single)
    first = _find(text, pair)
    second = _find(text, pair, start=first + len(text))
    if not text or min(at, first, second) < 0:
        raise ModelError(
            f"{type(tokenizer).__name__}: gives a text other tokens in a pair than alone, so the texts of a pair cannot be read apart. Give --pooling mean or head."
        )
    return PairLayout(
        starts=tuple(single[:at]),
        ends=tuple(single[at + len(text) :]),
        before=first,
        between=second - first - len(text),
        after=len(pair) - second - len(text),
    )


def split_pairs(
    ids: Tensor, mask: Tensor, segments: Tensor, layout: PairLayout, *, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Pairs as twice as many single texts, padded on the right: all first texts, then all second texts.

    Args:
        ids: of the pairs, ``(rows, tokens)``.
        mask: 1 at real tokens, which must be contiguous in each row; the padding may be on either side.
        segments: 0 before the first token of the second text and not 0 from that token on.
        pad_id: what the new rows are padded with.

    Returns:
        Ids and mask, ``(2 * rows, tokens)``; fewer tokens where all are shorter and no graph is traced. A row without any
        token is one token of padding that counts as real.

    Example:
        >>> layout = PairLayout(starts=(1,), ends=(2,), before=1, between=1, after=1)
        >>> ids, mask = torch.tensor([[1, 7, 8, 2, 9, 2, 0]]), torch.tensor([[1, 1, 1, 1, 1, 1, 0]])
        >>> rows, real = split_pairs(ids, mask, torch.tensor([[0, 0, 0, 0, 1, 1, 0]]), layout, pad_id=0)
        >>> rows.tolist(), real.tolist()
        ([[1, 7, 8, 2], [1, 9, 2, 0]], [[1, 1, 1, 1], [1, 1, 1, 0]])
    """
    begins = (mask.cumsum(1) == 0).sum(1, keepdim=True)
    total = mask.sum(1, keepdim=True)
    # an empty second text has no token that could begin its segment
    first = torch.minimum((mask * (segments == 0)).sum(1, keepdim=True), total - layout.after)
    where = torch.cat([begins + layout.before, begins + first])
    lengths = torch.cat([first - layout.before - layout.between, total - first - layout.after]).clamp(min=0)
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    ahead = len(layout.starts)
    rows = torch.cat([ids, ids]).gather(1, (where + places - ahead).clamp(0, ids.shape[1] - 1))
    for place, token in enumerate(layout.starts):
        rows = torch.where(places == place, token, rows)
    for place, token in enumerate(layout.ends):
        rows = torch.where(places == ahead + lengths + place, token, rows)
    sizes = lengths + ahead + len(layout.ends)
    rows = torch.where(places < sizes, rows, pad_id)
    real = (places < sizes.clamp(min=1)).to(mask.dtype)
    if is_traced():
        return rows, real
    longest = max(1, int(sizes.max()))
    return rows[:, :longest], real[:, :longest]


def _find(part: Sequence[int], whole: Sequence[int], *, start: int = 0) -> int:
    """Where a run of ids begins in others; -1 if it does not occur from `start` on."""
    places = range(start, len(whole) - len(part) + 1) if start >= 0 else range(0)
    return next((place for place in places if list(whole[place : place + len(part)]) == list(part)), -1)
