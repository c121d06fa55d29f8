"""Names of models in settings, checked before anything is loaded."""

from __future__ import annotations

from understudy.errors import UnderstudyError
from understudy.models.files.names import resolve


def model_faults(name: str) -> list[str]:
    """What is wrong with the name of a model, before anything is loaded."""
    try:
        resolve(name)
    except UnderstudyError as error:
        return list(error.faults)
    return []
