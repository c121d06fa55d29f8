"""Experiment trackers that a run may also report to. This module imports neither torch nor rich."""

from __future__ import annotations

from typing import Any

from understudy.errors import ConfigError, require

WANDB = "wandb"
TRACKERS = ("tensorboard", WANDB)
"""The values of ``--track``."""


def check_tracker(name: str | None) -> None:
    """Fail early if the tracker that was asked for cannot be used; None asks for none.

    Raises:
        ConfigError: if there is no such tracker.
        UnderstudyError: if it is not installed; the message has the install line.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise ConfigError(f"track must be one of {', '.join(TRACKERS)}, but is {name!r}.")
    require(name, extra="tracking")


def shown_as(tracker: str, *, run: str, group: str | None, seed: int) -> dict[str, dict[str, str]]:
    """How a tracker shows a run: under its folder's name, and several of one model or one family together.

    TensorBoard takes the names of folders for that.

    Args:
        tracker: one of :data:`TRACKERS`.
        run: the name of the run folder.
        group: what runs with other seeds have in common; None for a run by itself.
        seed: of the run.

    Example:
        >>> shown_as("wandb", run="bert-seed-1", group="bert", seed=1)
        {'wandb': {'name': 'bert-seed-1', 'job_type': 'seed 1', 'group': 'bert'}}
        >>> shown_as("tensorboard", run="bert-seed-1", group="bert", seed=1)
        {}
    """
    if tracker != WANDB:
        return {}
    return {WANDB: {"name": run, "job_type": f"seed {seed}", **({} if group is None else {"group": group})}}


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as trackers take it: numbers and strings; nested names are joined by dots.

    Example:
        >>> flat({"epochs": 3, "bilstm": {"hidden": 256}, "text": ["a", "b"]})
        {'epochs': 3, 'bilstm.hidden': 256, 'text': 'a b'}
    """
    rows: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            rows |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        elif isinstance(value, list | tuple):
            rows[key] = " ".join(map(str, value))
        else:
            rows[key] = value if isinstance(value, int | float | str) else str(value)
    return rows
