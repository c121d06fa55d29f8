"""Which heads and neurons go in a round, and how a record holds what was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.by_length import length_batches
from understudy.data.splits import Rows
from understudy.data.tasks import Kind
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.shrink.prune.blocks import headed_blocks
from understudy.models.shrink.prune.choice import normalised, removed_by, strongest
from understudy.models.shrink.prune.importance import importance
from understudy.objectives.supervised import label_loss

Kept = list[list[int]]


class Amounts:
    """How many heads and neurons go by the end of each round.

    Args:
        model: as it was before.
        heads, neurons: shares.
        per_layer: the same in each layer.

    Raises:
        ModelError: if the model has none, or so many cannot go.
    """

    def __init__(self, model: Any, *, heads: float, neurons: float, per_layer: bool) -> None:
        blocks = headed_blocks(model)
        self.before = {"heads": [block.heads for block in blocks], "neurons": [block.neurons for block in blocks]}
        self.shares = {"heads": heads, "neurons": neurons}
        self.per_layer = per_layer
        for name, counts in self.before.items():  # refuses what cannot be
            strongest([np.ones(count) for count in counts], remove=self.gone(name, 1.0), even=per_layer)

    def gone(self, name: str, done: float) -> int:
        """How many have gone when this part of the pruning is done."""
        counts = self.before[name]
        layers = len(counts) if self.per_layer and len(set(counts)) == 1 else None
        return removed_by(sum(counts), self.shares[name], done=done, layers=layers)

    def kept(self, scores: dict[str, list[Tensor]], *, done: float) -> dict[str, Kept]:
        """What stays, by what it is worth."""
        found = {}
        for name, parts in scores.items():
            arrays = normalised([part.numpy() for part in parts])
            left = self.gone(name, done) - (sum(self.before[name]) - sum(map(len, arrays)))
            found[name] = strongest(arrays, remove=left, even=self.per_layer)
        return found


def measured(
    model: Any,
    encoded: Encoded,
    rows: Rows,
    kind: Kind,
    *,
    names: Sequence[str],
    max_tokens: int,
    class_weights: Sequence[float] | None = None,
) -> dict[str, list[Tensor]]:
    """What heads and neurons are worth on labelled rows, by name.

    Args:
        encoded: the token ids of `rows`.
        class_weights: what a row of each class counts.
    """
    device = next(model.parameters()).device

    def batches() -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for some in length_batches(encoded.lengths, max_tokens=max_tokens, padded="attention_mask" in names):
            inputs = {name: part.to(device) for name, part in collate(encoded, some, names=names).items()}
            yield inputs, torch.from_numpy(rows.labels[some]).to(device)

    return importance(model, batches(), partial(label_loss, kind=kind, class_weights=class_weights))._asdict()


def as_record(kept: Mapping[str, Kept], sizes: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """What stays of each layer, a hexadecimal number a layer; its lowest bit is the first unit.

    Example:
        >>> as_record({"heads": [[0, 2, 3]]}, {"heads": [4]})
        {'heads': ['d']}
    """
    return {
        name: [f"{sum(1 << unit for unit in part):0{-(-size // 4)}x}" for part, size in zip(parts, sizes[name])]
        for name, parts in kept.items()
    }


def from_record(told: dict[str, list[str]]) -> dict[str, Kept]:
    """What :func:`as_record` was given.

    Example:
        >>> from_record({"heads": ["d"]})
        {'heads': [[0, 2, 3]]}
    """
    return {name: [_units(int(part, 16)) for part in parts] for name, parts in told.items()}


def _units(bits: int) -> list[int]:
    return [unit for unit in range(bits.bit_length()) if bits >> unit & 1]
