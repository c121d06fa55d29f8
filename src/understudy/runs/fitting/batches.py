"""The batches of a phase: rows of similar length, sliced for the processes that train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.tokens.encode import Encoded
from understudy.inference.logits import token_budget
from understudy.objectives.teachers.teacher import Teacher
from understudy.runs.devices import processes


def phase_batches(
    encoded: Encoded,
    labels: np.ndarray,
    model: nn.Module,
    *,
    names: Sequence[str],
    batch_size: int,
    max_tokens: int | None,
    seed: int,
    rows: np.ndarray | None = None,
    teacher: Teacher | None = None,
) -> BucketedBatches:
    """Batches for a model, as this process is to read them.

    Args:
        encoded: token ids of all texts.
        labels: of all texts, as :class:`understudy.data.splits.Rows` has them.
        names: the inputs that the model gets.
        batch_size: rows of an optimizer step, over all processes.
        max_tokens: padded tokens of a micro-batch; None for as many as suit the model and its device.
        seed: fixes the order.
        rows: the numbers of the texts to learn from; all by default.
        teacher: what has answered for the texts; None to learn from labels alone.
    """
    state = processes()
    return BucketedBatches(
        encoded,
        labels,
        names=names,
        batch_size=batch_size,
        max_tokens=max_tokens or token_budget(state.device, model),
        seed=seed,
        rows=rows,
        teacher=teacher,
        world_size=state.num_processes,
        rank=state.process_index,
    )
