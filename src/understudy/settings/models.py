"""Names of models in settings, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.errors import UnderstudyError
from understudy.models.files.names import resolve


def model_faults(name: str, *, built: Sequence[str] = (), adapters: bool = False) -> list[str]:
    """What is wrong with the name of a model, before anything is loaded.

    Args:
        built: models that the command builds by name.
        adapters: whether it may be an adapter.
    """
    try:
        resolve(name, built=built, adapters=adapters)
    except UnderstudyError as error:
        return list(error.faults)
    return []
