"""The unpruned model, and how much of it may go: what is refused before any work."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.errors import ModelError
from understudy.inference.predictor import Predictor
from understudy.recipes.ship.prune.choosing import Amounts
from understudy.recipes.train.distill.teachers import Teachers
from understudy.settings.ship.prune import PruneSettings


def network(teachers: Teachers, name: str) -> Predictor:
    """The unpruned model.

    Raises:
        ModelError: if it is none that can be pruned, or has its labels in another order than the data.
    """
    model, columns, _ = teachers.models[name]
    if not isinstance(model, Predictor):
        raise ModelError(f"{name}: is no network with weights that can be removed. Name a run of finetune or distill.")
    if (columns != np.arange(len(columns))).any():
        raise ModelError(
            f"{name}: has its labels in another order than the data ({', '.join(teachers.task.labels)}). Prune with the data that it was trained on, or fine-tune it on these."
        )
    return model


def amounts(model: Any, settings: PruneSettings) -> Amounts:
    """How much goes, checked.

    Raises:
        ModelError: if the model has no heads, or nothing would go.
    """
    try:
        found = Amounts(model, heads=settings.heads, neurons=settings.neurons, per_layer=settings.per_layer)
    except ModelError as error:
        raise ModelError(*(f"{settings.model}: {fault}" for fault in error.faults)) from None
    for name, counts in found.before.items():
        share = found.shares[name]
        if share and not found.gone(name, 1.0):
            of = f"{counts[0]} {name} in each layer" if settings.per_layer else f"{sum(counts)} {name}"
            raise ModelError(f"{settings.model}: --{name} {share:g} of {of} is less than one. Give more.")
    return found
