"""Files of tensors that a kill cannot break, and the state of torch's random generators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from understudy.atomic import OUTPUT, new_file
from understudy.checksums import DamagedFile, seal, verified
from understudy.errors import ConfigError
from understudy.failpoints import failpoint


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state (tensors and plain containers). At any moment the file is the old one or the new one, complete.

    Raises:
        OutputError: if the disk is full or the file cannot be written.
    """
    with new_file(
        path,
        remedy=f"{OUTPUT}; with --resume it goes on from the last checkpoint",
        before_rename=lambda: failpoint("checkpoint.write"),
    ) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch's writer raises it in place of the file's own error
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
        seal(file)
    failpoint("checkpoint.written")


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint into main memory without executing anything in it; None if there is no such file.

    Raises:
        ConfigError: if it is damaged.
    """
    if not path.exists():
        return None
    try:
        verified(path)
    except DamagedFile as error:
        raise ConfigError(
            f"{path}: the checkpoint is damaged ({error}). Give --overwrite in place of --resume to start afresh."
        ) from None
    return torch.load(path, map_location="cpu", weights_only=True)


def random_state() -> dict[str, Any]:
    """The state of torch's generators (CPU and CUDA), which dropout and masking draw from."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set torch's generators to a state that :func:`random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
