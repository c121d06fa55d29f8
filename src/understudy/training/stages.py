"""Stages of training: what learns in each, how far a run has come, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Schedule = Callable[[int, int], float]
"""``(step of the stage, steps of the stage)`` to the multiplier of every group's learning rate."""


@dataclass(frozen=True)
class Stage:
    """A part of training in which the same parameters learn, with an optimizer and a schedule of its own.

    Args:
        name: what learns, in words.
        epochs: passes over the batches.
        optimizer: called when the stage begins. It sets which parameters require a gradient, and returns a new optimizer
            for them, whose groups have ``initial_lr`` and ``name``. A parameter that learned in the stage before keeps
            its moments.
        from_best: begin with the best weights so far, not with the latest.
        learns: the parameters that learn in this stage; None for all that require a gradient before the first stage.
    """

    name: str
    epochs: int
    optimizer: Callable[[], torch.optim.Optimizer]
    from_best: bool = False
    learns: Sequence[nn.Parameter] | None = field(default=None, compare=False, repr=False)


def may_learn(objective: nn.Module, stages: Sequence[Stage]) -> frozenset[nn.Parameter]:
    """The parameters that learn in at least one stage. To be called before the first stage begins."""
    required = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    return frozenset(
        parameter for stage in stages for parameter in (required if stage.learns is None else stage.learns)
    )


@dataclass
class State:
    """How far a run has come."""

    stage: int = 0
    stage_step: int = 0
    first_epoch: int = 0
    """The epoch with which the stage began."""
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    rows: int = 0
    seconds: float = 0.0
    evaluations_since_best: int = 0
    """In this stage."""
    score_to_beat: float = -math.inf
    """The last score that was enough of an improvement to count; higher is better."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    """The stages that are over, as :attr:`FitResult.stages` has them."""


@dataclass
class FitResult:
    """How a phase of training went. ``metrics`` are those of the best evaluation, whose weights the model now has."""

    steps: int = 0
    epochs: int = 0
    seconds: float = 0.0
    rows: int = 0
    best_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    stopped_by: str = "epochs"
    stages: list[dict[str, Any]] = field(default_factory=list)
    """For each stage its ``name``, its ``steps``, and what it was ``stopped_by``."""
