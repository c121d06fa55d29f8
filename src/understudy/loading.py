"""The one way to load what understudy wrote; ``config.json`` says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.inference import LinearPredictor, Predictor


def load(folder: str | Path) -> Predictor | LinearPredictor:
    """A trained model, ready to answer: ``understudy.load("runs/student").predict(["a text", ...])``.

    Args:
        folder: a run folder or its ``model/``.

    Raises:
        ModelError: if there is no model of ours in it.
    """
    from understudy.inference import LinearPredictor, Predictor
    from understudy.models.load import kind_of, load_trained, resolve
    from understudy.models.tfidf import Tfidf

    found = resolve(str(folder))
    if kind_of(found) == "tfidf":
        return LinearPredictor(Tfidf.load(Path(found)))
    return Predictor(*load_trained(found))


def register() -> None:
    """Teach transformers' Auto classes the architectures of our students."""
    from understudy.models.load import register

    register()
