"""Logits in, labels and probabilities out. NumPy only: no torch, no transformers."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.data.tasks import Task, Text
from understudy.errors import ModelError

Label = str | list[str] | float
"""A class's name, the names of several labels, or a number (regression)."""

_SHOWN = 5
"""Labels that a notebook shows of an answer."""
_LEAST = 1e-12
"""Averaged probabilities are kept this far from 0 and 1, so that their logits are finite."""


def probabilities(logits: np.ndarray, task: Task, *, temperature: float = 1.0) -> np.ndarray:
    """Softmax over the classes; a sigmoid for each label of a multi-label task; the value itself for regression.

    Args:
        logits: ``(..., outputs)``.
        temperature: what the logits of a classifier are divided by, see :mod:`understudy.functional.temperature`. No
            decision depends on it.

    Returns:
        ``(..., outputs)``.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> probabilities(np.array([[0.0, np.log(3.0)]]), task).round(2).tolist()
        [[0.25, 0.75]]
    """
    if task.kind == "regression":
        return logits
    logits = logits if temperature == 1.0 else logits / temperature
    if task.kind == "multi_label":
        return 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid in a form that cannot overflow
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def averaged_logits(
    logits: Sequence[np.ndarray], task: Task, *, temperatures: Sequence[float] | None = None
) -> np.ndarray:
    r"""Logits whose :func:`probabilities` are the mean of several models' probabilities (regression: of their values).

    .. math:: p(y \mid x) = \tfrac1M \textstyle\sum_m p_m(y \mid x)

    Unlike the mean of logits, the mean of probabilities does not depend on the scale of a model's logits: a TF-IDF
    model and a network have equal weight.

    Args:
        logits: one array ``(rows, outputs)`` a model, all with the outputs in the order of the task's labels.
        temperatures: one a model, so that a model which is too sure of itself does not outvote the others; 1 by default.

    Returns:
        float32 ``(rows, outputs)``.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> mean = averaged_logits([np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])], task)
        >>> probabilities(mean, task).round(2)
        array([[0.7, 0.3]], dtype=float32)
    """
    temperatures = [1.0] * len(logits) if temperatures is None else temperatures
    parts = [probabilities(part.astype(np.float64), task, temperature=t) for part, t in zip(logits, temperatures)]
    mean = np.mean(parts, axis=0)
    if task.kind == "multi_label":
        mean = np.clip(mean, _LEAST, 1 - _LEAST)
        return np.log(mean / (1 - mean)).astype(np.float32)
    return (mean if task.kind == "regression" else np.log(np.maximum(mean, _LEAST))).astype(np.float32)


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model says of one text. ``dict(prediction)`` and ``prediction["label"]`` work too.

    Its ``repr`` shows the label and its probability; a notebook shows the likeliest labels as a table.

    Attributes:
        label: a name, a list of names (multi-label) or a number (regression).
        probabilities: one entry a label, in the task's order; empty for regression.
    """

    label: Label
    probabilities: dict[str, float]

    def __repr__(self) -> str:
        shares = self.probabilities
        known = shares.get(self.label) if isinstance(self.label, str) else None
        return f"Prediction({self.label!r}{'' if known is None else f', {known:.3f}'})"

    def _repr_html_(self) -> str:
        ordered = sorted(self.probabilities.items(), key=lambda item: -item[1])[:_SHOWN]
        if not ordered:
            return html.escape(repr(self))
        rows = "".join(
            f'<tr><td>{html.escape(name)}</td><td style="text-align:right">{100 * share:.1f} %</td><td><progress value="{share:.4f}" max="1"></progress></td></tr>'
            for name, share in ordered
        )
        more = len(self.probabilities) - len(ordered)
        return f"<table>{rows}{f'<tr><td>and {more} more</td></tr>' if more else ''}</table>"

    def keys(self) -> tuple[str, ...]:
        """The names of the fields."""
        return ("label", "probabilities")

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)


def predictions(
    logits: np.ndarray, task: Task, *, threshold: float = 0.5, temperature: float = 1.0, top_k: int | None = None
) -> list[Prediction]:
    """Logits as labels with probabilities.

    Args:
        logits: ``(rows, outputs)``.
        threshold: of a multi-label task, the least probability of a label that is predicted.
        temperature: see :func:`probabilities`.
        top_k: only the probabilities of the so many likeliest labels, the likeliest first.

    Raises:
        ValueError: if `top_k` is less than 1, or the task has no labels.
        ModelError: if a logit is infinite or not a number: any label would be made up.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="multi_label", labels=("funny", "sad"))
        >>> predictions(np.array([[2.0, -2.0]]), task)[0].label
        ['funny']
        >>> predictions(np.array([[-2.0, 2.0]]), task, top_k=1)[0].probabilities.keys()
        dict_keys(['sad'])
    """
    if top_k is not None and (top_k < 1 or task.kind == "regression"):
        what = "this model answers with a number" if task.kind == "regression" else f"top_k is {top_k}"
        raise ValueError(f"top_k is the number of labels to show, at least 1, but {what}")
    if not np.isfinite(logits).all():
        raise ModelError(
            "the model's answers are not finite numbers for some texts, so they say nothing. Its weights are damaged, or its training went wrong: copy or train it again."
        )
    if task.kind == "regression":
        return [Prediction(value, {}) for value in logits[:, 0].tolist()]
    found = []
    for row in probabilities(logits.astype(np.float64), task, temperature=temperature).tolist():
        by_label = dict(zip(task.labels, row, strict=True))
        several = [label for label, share in by_label.items() if share >= threshold]
        label = several if task.kind == "multi_label" else max(by_label, key=by_label.__getitem__)
        if top_k is not None:
            by_label = dict(sorted(by_label.items(), key=lambda item: -item[1])[:top_k])
        found.append(Prediction(label, by_label))
    return found


def check_texts(texts: Sequence[Text], task: Task) -> None:
    """Check that texts are a sequence of what the task reads, so that no model misreads them.

    Raises:
        ValueError: if `texts` is one bare string, or one of them is not what the task has (a string, or a pair of
            strings).

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> check_texts("a film", task)
        Traceback (most recent call last):
        ValueError: texts must be a list of texts, but is the string 'a film'. For a single text there is predict_one.
    """
    if isinstance(texts, str):
        raise ValueError(
            f"texts must be a list of texts, but is the string {texts!r:.80}. For a single text there is predict_one."
        )
    alike = hasattr(texts, "arity")  # in understudy.data.texts.Texts all rows have the same number of texts
    single = not task.is_pair
    for text in itertools.islice(texts, 1) if alike else texts:
        if single and isinstance(text, str):
            continue
        parts: Any = text if isinstance(text, Sized) and not isinstance(text, str) else (text,)
        if len(parts) != len(task.text) or not all(isinstance(part, str) for part in parts):
            expected = "a pair of strings" if task.is_pair else "a string"
            raise ValueError(f"each text must be {expected} for this model, but one is {text!r:.80}")
