"""What the test of the pages does to a command or a snippet of theirs in its process: less of everything.

The text of a page stays as it is. It is parsed and checked as it stands; then, where a recipe begins to run, these
settings are lowered.
"""

from __future__ import annotations

import dataclasses
import os
from functools import partial, wraps
from typing import Any

import understudy
from understudy import commands
from understudy.evaluation import cost
from understudy.report import plots

ONE = ("epochs", "teacher_epochs", "rounds")
FEW = {"steps": 20, "labelled": 40, "pool": 40, "test": 40}
"""Settings that are lowered to this where they are higher."""
OFF = ("cold_start",)
"""Switched off: it starts processes that load everything anew."""
FEWER = {"seeds": 2, "limit_train": 2, "unfreeze_epochs": 0}
"""Of these lists only the first entries are kept."""
SMALL = {"awd_lstm": {"embedding": 8, "hidden": 10}}


def begin() -> None:
    """Make all recipes of this process small; draw no plots, measure on a few texts, wait for no disk."""
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    plots.draw_all = lambda folder, record: []  # type: ignore[assignment]
    cost.measure = partial(cost.measure, latency_texts=2, throughput_texts=8, warmup=1)  # type: ignore[assignment]
    imported, public = commands._imported, understudy.__getattr__
    commands._imported = lambda room, place: _small(imported(room, place)) if room == "recipes" else imported(room, place)  # type: ignore[assignment]
    understudy.__getattr__ = lambda name: _small(public(name))  # type: ignore[assignment]


def _small(recipe: Any) -> Any:
    """A recipe's class that lowers its settings before it runs; anything else as it is."""
    if dataclasses.is_dataclass(recipe) and "run" in dir(recipe) and not hasattr(recipe.run, "__wrapped__"):
        whole = recipe.run

        @wraps(whole)
        def run(self: Any) -> Any:
            lower(self)
            return whole(self)

        recipe.run = run  # type: ignore[attr-defined]
    return recipe


def lower(recipe: Any) -> None:
    """Lower the settings of a recipe that are named above, but where it then has more faults than before."""
    faults = set(recipe.faults()) if hasattr(recipe, "faults") else set()
    for name, value in _lowered(recipe).items():
        was = getattr(recipe, name)
        setattr(recipe, name, value)
        if hasattr(recipe, "faults") and set(recipe.faults()) - faults:
            setattr(recipe, name, was)


def _lowered(recipe: Any) -> dict[str, Any]:
    """The settings that are lowered, and to what."""
    has = {name: getattr(recipe, name) for name in (*ONE, *FEW, *OFF, *FEWER, *SMALL, "tasks") if hasattr(recipe, name)}
    new: dict[str, Any] = {name: 1 for name in ONE if has.get(name) is not None}
    new |= {name: False for name in OFF if name in has}
    new |= {name: most for name, most in FEW.items() if type(has.get(name)) is int and has[name] > most}
    new |= {name: has[name][:most] for name, most in FEWER.items() if isinstance(has.get(name), list)}
    if getattr(recipe, "mode", None) == "transfer":
        new["tasks"] = has["tasks"][:2]
    for group, sizes in SMALL.items():
        if group in has:
            least = {name: min(getattr(has[group], name), most) for name, most in sizes.items()}
            new[group] = dataclasses.replace(has[group], **least)
    return new
