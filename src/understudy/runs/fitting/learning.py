"""From settings to a learning plan: rates by layer, frozen layers, stages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.tasks import Kind
from understudy.errors import ConfigError, ModelError
from understudy.models.structure.compiled import blocks_to_compile, compiled_blocks
from understudy.settings.training import TrainSettings
from understudy.settings.values import parse_rate
from understudy.training.optimizers.groups import Group, Rate
from understudy.training.optimizers.lazy_adamw import adamw
from understudy.training.optimizers.nt_asgd import nt_asgd
from understudy.training.stages import Stage
from understudy.training.unfreezing.order import in_words
from understudy.training.unfreezing.plan import LearningPlan

_WIDE = 300.0
"""The standard deviation of numbers that students no longer reach: with 148 they had 0.96 of the variance, with 1,483 0.5 to 0.6."""


def learning_plan(objective: nn.Module, settings: TrainSettings, *, learning_rate: float) -> LearningPlan:
    """Which layers of an objective learn, when, and at which rates.

    Args:
        objective: ready to be trained; every parameter that may learn requires a gradient.
        settings: of the training command.
        learning_rate: used where the settings name none, or want it found.

    Raises:
        ConfigError: if the model does not have the layers that the settings name, or no blocks to compile.
    """
    if settings.compile:
        try:
            blocks_to_compile(objective.model)
        except ModelError as error:
            raise ConfigError(*(f"--compile: {fault} Leave it out." for fault in error.faults)) from None
    asked = parse_rate(settings.learning_rate)
    return LearningPlan(
        objective,
        epochs=settings.epochs,
        learning_rate=learning_rate if asked is None or asked == "auto" else asked,
        discriminative=settings.discriminative,
        freeze=settings.freeze,
        unfreeze=settings.unfreeze,
        unfreeze_epochs=settings.unfreeze_epochs,
    )


def stages(plan: LearningPlan, settings: TrainSettings, *, learning_rate: Rate | None = None) -> list[Stage]:
    """The stages of a plan, under the optimizer that the settings name.

    Args:
        plan: what learns, when.
        settings: of the training command.
        learning_rate: instead of the plan's.
    """
    adam = partial(adamw, betas=(settings.beta1, settings.beta2))
    kinds: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]]
    kinds = {"adamw": (adam, 0.01), "nt_asgd": (nt_asgd, 1.2e-6)}
    make, decay = kinds[settings.optimizer]
    decay = decay if settings.weight_decay is None else settings.weight_decay
    return plan.stages(weight_decay=decay, learning_rate=learning_rate, make=make)


def compiled(model: Any, settings: TrainSettings) -> AbstractContextManager[None]:
    """Inside, a model's blocks are compiled if the settings ask for it."""
    return compiled_blocks(model) if settings.compile else nullcontext()


def learning_lines(plan: LearningPlan, settings: TrainSettings) -> dict[str, str]:
    """The plan in words, for a person: rates, frozen layers, stages."""
    groups = [group for group in plan.groups() if group.name in plan.names]
    lines = {"learning rate": _rates(groups, settings)}
    if plan.frozen:
        lines["frozen"] = f"{in_words(plan.frozen)}; dropout stays on there"
    if len(plan.parts) > 1:
        said = [f"{part.name} ({part.epochs})" for part in plan.parts]
        lines["stages"] = f"{', then '.join(said)} (epochs); the schedule restarts at each stage"
    return lines


def _rates(groups: list[Group], settings: TrainSettings) -> str:
    if settings.learning_rate == "auto":
        return f"the peak is found by a sweep before training; {settings.schedule}"
    rates = [f"{group.learning_rate:.3g}" for group in groups]
    if len(set(rates)) == 1:
        return f"{rates[0]} at the peak; {settings.schedule}"
    named = ", ".join(f"{group.name} {rate}" for group, rate in zip(groups, rates))
    return f"{named}, each at the peak; {settings.schedule}"


def said_of_min_delta(settings: TrainSettings) -> list[str]:
    """A sentence where ``--min_delta`` is given and settings without anything open have no patience that it could be for."""
    if not settings.min_delta or settings.patience is not None:
        return []
    return ["min_delta: has no effect, because these settings come to no patience. Give --patience too."]


def said_of_scale(kind: Kind, labels: np.ndarray) -> list[str]:
    """A sentence about numbers that a new network does not reach in its usual steps: its answers stay near their mean.

    Example:
        >>> said_of_scale("regression", np.array([0.0, 2000.0]))[0][:53]
        'the labels lie around their mean by 1,000, and a new '
        >>> said_of_scale("regression", np.array([0.0, 20.0]))
        []
    """
    known = labels[~np.isnan(labels)] if kind == "regression" else labels[:0]
    spread = float(known.std()) if known.size else 0.0
    if spread < _WIDE:
        return []
    return [
        f"the labels lie around their mean by {spread:,.0f}, and a new student's answers stay near the mean of such numbers. Divide them in all files, those of the teacher too, so that they lie around it by 1 to 100."
    ]
