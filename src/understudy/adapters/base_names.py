"""Whether the base that an adapter's file names is the one it is put into, as far as their names tell."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.errors import ModelError
from understudy.models.files.names import read_model_config, resolve

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")


def check_named_base(told: str, base: str, model_type: str, *, origin: str, place: str, force: bool = False) -> bool:
    """Compare the base that another library's file names with the one that an adapter is to be put into.

    These files say nothing of the base's weights, so its name is all there is. The names of checkpoints are compared without
    their owners: ``bert-base-uncased`` is ``google-bert/bert-base-uncased``.

    Args:
        told: what the file names; may be empty.
        base: the base's name here.
        model_type: the architecture of both.
        origin: where the adapter is, for messages.
        place: where the file says it, for messages.
        force: whether a base of another name is accepted.

    Returns:
        Whether the names could be compared: False where one is that of a folder, which can be called anything.

    Raises:
        ModelError: if they are the names of different checkpoints.

    Example:
        >>> check_named_base("roberta-base", "FacebookAI/roberta-base", "roberta", origin="x", place="x/y.json")
        True
        >>> check_named_base("/home/someone/base", "FacebookAI/roberta-base", "roberta", origin="x", place="x/y.json")
        False
    """
    named, own = _checkpoint(told, model_type), _own_names(base, model_type)
    if named is None or not own:
        return told in ("", base, str(Path(base).expanduser().resolve()))
    if named not in own and not force:
        raise ModelError(
            f"{origin}: belongs to another base: it was trained in {told}, but this one is {base}. Name that base. If both have the same weights, correct {place}. (import adapter and predict --adapters take this one with --force, load_adapter with force=True.)"
        )
    return True


def _own_names(base: str, model_type: str) -> set[str]:
    """The checkpoints that a base may be: by its name, and by what older versions of transformers wrote into a folder."""
    names = [base]
    if Path(base).expanduser().is_dir():
        names.append(str(read_model_config(resolve(base)).get("_name_or_path") or ""))
    return {found for name in names if (found := _checkpoint(name, model_type)) is not None}


def _checkpoint(name: str, model_type: str) -> str | None:
    """The checkpoint that a name stands for, without its owner; None for a folder whose name tells nothing."""
    parts = [part for part in re.split(r"[/\\]", name) if part]
    cached = [part for part in parts if part.startswith("models--")]
    if cached:  # a folder of the hub's cache
        return cached[-1].rpartition("--")[2].lower()
    if not parts:
        return None
    is_id = _HUB_ID.fullmatch(name) is not None and parts[0] != "runs" and not Path(name).is_dir()
    last = parts[-1].lower()
    return last if is_id or last.startswith(f"{model_type}-") else None
