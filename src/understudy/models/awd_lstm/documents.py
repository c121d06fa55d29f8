"""Documents as an AWD-LSTM reads them: rows aligned at their last token, documents cut into pieces."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from understudy.models.students.student import is_traced


class Aligned(NamedTuple):
    """Rows aligned at their last token, time first."""

    ids: Tensor
    """``(tokens, rows)``."""
    absent: Tensor | None
    """``(tokens, rows, 1)``, true at the steps before a row's first token; None if there are no such steps."""
    full_from: int
    """The first step at which every row has a token."""


def align_rows(input_ids: Tensor, attention_mask: Tensor | None, *, backward: bool) -> Aligned:
    """Align every row at its last token, and leave out the steps at which no row has a token.

    Args:
        input_ids: ``(rows, tokens)``.
        attention_mask: 1 at real tokens, which must be contiguous in each row; None if nothing is padding.
        backward: reverse each row within its length.

    Example:
        >>> ids, absent, full_from = align_rows(
        ...     torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]), backward=False
        ... )
        >>> ids[full_from:].tolist(), absent[:full_from, :, 0].tolist()
        ([[6, 8], [7, 9]], [[False, True]])
    """
    if attention_mask is None:
        ids = input_ids.t()
        return Aligned(ids.flip(0) if backward else ids, None, 0)
    tokens = input_ids.shape[1]
    length = attention_mask.sum(1, keepdim=True)
    first = attention_mask.argmax(1, keepdim=True)  # padding may be on the left
    place = torch.arange(tokens, device=input_ids.device) - (
        tokens - length
    )  # the place among a row's own tokens, from 0
    source = first + (length - 1 - place if backward else place)
    ids = input_ids.gather(1, source.clamp(0, tokens - 1)).t()
    absent = (place < 0).t()[..., None]
    if is_traced():
        return Aligned(ids, absent, tokens)
    fewest, most = torch.stack(length.aminmax()).tolist()
    most = max(most, 1)  # if all rows are empty, one step without any token remains
    if fewest == most:
        return Aligned(ids[tokens - most :], None, 0)
    return Aligned(ids[tokens - most :], absent[tokens - most :], most - fewest)


def document_spans(tokens: int, size: int, *, cut: int) -> list[tuple[int, int]]:
    """Begins and ends of the pieces of a document: none is longer than `size`, and one begins at `cut`.

    Example:
        >>> document_spans(10, 4, cut=5)
        [(0, 4), (4, 5), (5, 9), (9, 10)]
    """
    begins = [*range(0, cut, size), *range(cut, tokens, size)]
    return list(zip(begins, [*begins[1:], tokens]))
