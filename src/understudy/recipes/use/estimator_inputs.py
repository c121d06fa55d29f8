"""What the estimators are given, as a run takes it: texts as rows, classes and their weights by name, a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from understudy.data.class_weights import BALANCED
from understudy.data.readers.labels.cells import number
from understudy.data.readers.labels.values import MISSING
from understudy.errors import nearest


def text_rows(X: Any) -> list[dict[str, str]]:
    """Texts as rows of one column, or of two for pairs.

    Raises:
        ValueError: if they are no texts.
    """
    if isinstance(X, str):
        raise ValueError("X must be a list of texts, but is a single string")
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        X = list(X.itertuples(index=False, name=None))
    elif hasattr(X, "columns") and callable(getattr(X, "rows", None)):  # polars
        X = X.rows()
    elif hasattr(X, "toarray"):
        raise ValueError("X must be texts, but is a sparse matrix")
    elif hasattr(X, "tolist"):
        X = X.tolist()
    made = []
    for place, row in enumerate(X):
        parts = (row,) if isinstance(row, str) else tuple(row) if isinstance(row, Sequence) else (None,)
        if len(parts) not in (1, 2) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"X must be texts, or pairs of texts, but row {place} is {row!r:.60}")
        made.append(dict(zip(("text",) if len(parts) == 1 else ("text_a", "text_b"), parts)))
    return made


def named_weights(given: Any, names: Mapping[Any, str]) -> list[str]:
    """``class_weight`` as ``--class_weights`` has it.

    Args:
        names: by class.

    Raises:
        ValueError: if it is neither ``balanced`` nor a mapping of classes to numbers above 0.
    """
    if given is None:
        return []
    if isinstance(given, Mapping):
        if strange := [name for name in given if name not in names]:
            raise ValueError(f"class_weight names the classes {strange}, which are not in y")
        if not all(isinstance(weight, Real) and float(weight) > 0 for weight in given.values()):
            raise ValueError(f"class_weight must give each class a number above 0, but is {dict(given)}")
        return [f"{names[name]}={float(weight)!r}" for name, weight in given.items()]
    if given != BALANCED:
        raise ValueError(f"class_weight must be 'balanced', a dict or None, but is {given!r}")
    return [BALANCED]


def seed_of(random_state: Any) -> int:
    """The seed of a run, from what scikit-learn takes for one.

    Example:
        >>> seed_of(None), seed_of(3), 0 <= seed_of(np.random.RandomState(0)) < 2**31
        (0, 3, True)
    """
    if random_state is None or isinstance(random_state, Integral):
        return int(random_state or 0)
    return int(check_random_state(random_state).randint(2**31 - 1))


def class_names(classes: np.ndarray) -> list[str]:
    """A name for each class that reading labels leaves as it is: texts and whole numbers as they are, others by number."""
    if classes.dtype.kind in "iu":
        return [str(name) for name in classes]
    names = [str(name) for name in classes]
    plain = all(isinstance(name, str) and name == name.strip() != "" and np.isnan(number(name)) for name in classes)
    return names if plain and not MISSING & set(names) else [f"class {i}" for i in range(len(names))]


def check_settings(recipe: Any, given: Mapping[str, Any] | None, own: Collection[str], *, name: str) -> None:
    """Refuse settings that a recipe does not have, or that the estimator gives it by itself.

    Args:
        recipe: its class.
        given: what the user wants of it.
        own: the names of what the estimator gives it.
        name: what `given` is called, for messages.

    Raises:
        ValueError: for the first of them.
    """
    known = [field.name for field in dataclasses.fields(recipe)]
    for key in given or {}:
        if key not in known:
            raise ValueError(
                f"{name} names '{key}', which is no setting of {recipe.command}.{nearest(str(key), known)}"
            )
        if key in own:
            raise ValueError(f"{name} names '{key}', which the estimator sets by itself. Leave it out.")
