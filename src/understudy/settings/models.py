"""Names of models and files in settings, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.errors import UnderstudyError, nearest
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


def file_faults(name: str) -> list[str]:
    """What is wrong with the name of a file, before it is read.

    Example:
        >>> file_faults("nowhere/answers.jsonl")
        ["nowhere/answers.jsonl: no such file. There is no folder 'nowhere' either."]
    """
    path = Path(name).expanduser()
    if path.exists():
        return []
    if not path.parent.is_dir():
        return [f"{name}: no such file. There is no folder '{path.parent}' either."]
    return [
        f"{name}: no such file.{nearest(path.name, [entry.name for entry in path.parent.iterdir()]) or ' Check the path.'}"
    ]
