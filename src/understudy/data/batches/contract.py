"""What the training loop consumes: batches, and the sources that yield them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class Batch:
    """One micro-batch.

    ``inputs`` are the model's keyword arguments, each ``(rows, tokens)``. ``counts`` are known before any forward pass;
    the terms of an objective are divided by them. ``teacher_logits`` are ``(rows, outputs)``; a row that the teacher
    never saw is NaN throughout.
    """

    inputs: dict[str, Tensor]
    counts: dict[str, int]
    labels: Tensor | None = None
    teacher_logits: Tensor | None = None
    rate: float = 1.0
    """Multiplier of the learning rate in this step (for BPTT windows of varying length)."""
    task: str = ""
    """Of a training for several tasks, the one that the rows are of; all micro-batches of a step have the same."""

    def to(self, device: torch.device | str) -> Batch:
        """This batch with every tensor on `device`."""
        move = lambda tensor: None if tensor is None else tensor.to(device, non_blocking=True)  # noqa: E731
        return replace(
            self,
            inputs={name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            labels=move(self.labels),
            teacher_logits=move(self.teacher_logits),
        )


class BatchSource(Protocol):
    """What :func:`understudy.training.fit` iterates over."""

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        ...

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """For each optimizer step, from step `start` of the epoch on, the micro-batches of this rank."""
        ...

    def padding_ratio(self) -> float:
        """Tokens computed, padding included, divided by real tokens."""
        ...
