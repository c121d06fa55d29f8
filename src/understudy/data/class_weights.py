"""What a row of each class counts in the loss: as much as any other, or more where the class is rare."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from understudy.data.tasks import Task
from understudy.errors import ConfigError, nearest

BALANCED = "balanced"


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    r"""Weights with which all classes count alike, however many rows they have: the mean weight of a row is 1.

    .. math:: w_c = \frac{n}{k \, n_c}

    Args:
        labels: class indices ``(rows,)`` of n rows; negative ones are no labels and are left out.
        classes: how many there are; those k that have rows share the weight, and the others have the weight 1.

    Reference:
        King & Zeng 2001, "Logistic regression in rare events data"; scikit-learn's ``compute_class_weight``.

    Example:
        >>> balanced_weights(np.array([0, 0, 0, 1, -100]), 3)
        (0.6666666666666666, 2.0, 1.0)
    """
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    present = max(int((counts > 0).sum()), 1)
    return tuple(float(counts.sum() / (present * count)) if count else 1.0 for count in counts)


def class_weight_faults(asked: Sequence[str]) -> list[str]:
    """What is wrong with ``--class_weights``, as far as it shows without the names of the classes.

    Example:
        >>> class_weight_faults(["balanced"]), class_weight_faults(["spam=5", "ham=0.5"])
        ([], [])
        >>> class_weight_faults(["balance"])
        ["class_weights must be balanced, or CLASS=NUMBER for some classes, but is 'balance'. Did you mean 'balanced'?"]
    """
    if list(asked) == [BALANCED]:
        return []
    faults, named = [], []
    for part in asked:
        name, equals, weight = part.rpartition("=")
        if not equals:
            rule = "class_weights must be balanced, or CLASS=NUMBER for some classes"
            faults.append(f"{rule}, but is {part!r}.{nearest(part, [BALANCED])}")
        elif not 0 < _as_float(weight) < math.inf:
            faults.append(f"class_weights must be positive numbers, but that of '{name}' is {weight!r}.")
        elif name in named:
            faults.append(f"class_weights names '{name}' more than once.")
        named.append(name)
    return faults


def class_weights(asked: Sequence[str], labels: np.ndarray, task: Task) -> tuple[float, ...] | None:
    """The weights of a task's classes, in their order; None where none are asked for.

    Args:
        asked: ``["balanced"]``, or ``["spam=5"]``: classes that are not named have the weight 1.
        labels: of the training rows.

    Raises:
        ConfigError: if the task has no classes of which a row has one, or a name is none of them.
    """
    if not asked:
        return None
    if task.kind != "single_label":
        what = "numbers" if task.kind == "regression" else "several labels a row"
        raise ConfigError(
            f"--class_weights is for rows that have one class each, but the labels in column '{task.label}' are {what}. Leave it out."
        )
    if faults := class_weight_faults(asked):
        raise ConfigError(*faults)
    if list(asked) == [BALANCED]:
        return balanced_weights(labels, task.outputs)
    given = {name: _as_float(weight) for name, _, weight in (part.rpartition("=") for part in asked)}
    if unknown := [name for name in given if name not in task.labels]:
        raise ConfigError(
            *(
                f"class_weights names '{name}', which is none of the classes {', '.join(task.labels[:20])}.{nearest(name, task.labels)}"
                for name in unknown
            )
        )
    return tuple(given.get(name, 1.0) for name in task.labels)


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
