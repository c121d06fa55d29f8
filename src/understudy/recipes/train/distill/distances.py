"""What ``--distance`` can be: one table of the distances between student and teacher; and the loss that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from understudy.data.splits import Splits
from understudy.data.tasks import Kind
from understudy.functional.logit_distances import bernoulli_kl, forward_kl, hard_cross_entropy, logit_mse
from understudy.objectives.distill import Distance, DistillClassifier
from understudy.settings.ship.prune import PruneSettings
from understudy.settings.train.distill import DistillSettings

DISTANCES: Mapping[str, Mapping[Kind, Distance]] = {
    "mse": {"single_label": logit_mse, "multi_label": logit_mse, "regression": logit_mse},
    "kl": {"single_label": forward_kl, "multi_label": bernoulli_kl},
    "hard": {"single_label": hard_cross_entropy},
}
"""Name, kind of labels, function; a kind that a distance lacks is refused."""
SOFTENED = {"kl"}
"""Distances that take a temperature."""


def distance_faults(name: str, kind: Kind) -> list[str]:
    """What is wrong with a distance for labels of a kind."""
    if kind in DISTANCES[name]:
        return []
    fitting = " or ".join(other for other, kinds in DISTANCES.items() if kind in kinds)
    labels = {"multi_label": "several labels a text", "single_label": "one label a text"}.get(kind, kind)
    return [f"distance must be {fitting} for {labels}, but is {name!r}."]


def distance(name: str, kind: Kind, *, temperature: float) -> Distance:
    """The distance of a name, for labels of a kind: unreduced, ``(rows,)``.

    Args:
        temperature: softens both sides, where the distance takes one.
    """
    found: Callable[..., Tensor] = DISTANCES[name][kind]
    return partial(found, temperature=temperature) if name in SOFTENED else found


def objective_of(model: nn.Module, settings: DistillSettings | PruneSettings, splits: Splits) -> DistillClassifier:
    """The loss of a student, or of what pruning has left: labels and distance, weighted as the settings say."""
    kind = splits.task.kind
    apart = distance(settings.distance, kind, temperature=settings.temperature)
    return DistillClassifier(model, kind, apart, alpha=settings.alpha, class_weights=splits.class_weights)
