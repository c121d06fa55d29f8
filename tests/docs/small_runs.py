"""What the test of the pages does to a command or a snippet of theirs in its process: less of everything.

The text of a page stays as it is. It is parsed and checked as it stands; then, where a recipe begins to run, these
settings are lowered.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import understudy
from understudy import commands
from understudy.evaluation import cost
from understudy.models import linear
from understudy.report import plots
from understudy.runs.processes import process
from understudy.settings.configuration import check

ONE = ("epochs", "teacher_epochs", "rounds")
FEW = {"search": 1, "steps": 20, "labelled": 40, "pool": 40, "test": 40}
"""Settings that are lowered to this where they are higher."""
OFF = ("cold_start",)
"""Switched off: it starts processes that load everything anew."""
ALONE = ("baseline", "references")
"""Switched off on all pages but those that show what is compared: half of a toy run's time."""
PAGE = "UNDERSTUDY_TESTS_PAGE"
"""The environment variable that says which page it is."""
COMPARED = ("README.md", "docs/quickstart.md")
FEWER = {"seeds": 1, "limit_train": 2, "unfreeze_epochs": 0, "students": 2, "models": 4}
"""Of these lists only the first entries are kept."""
SMALL = {"awd_lstm": {"embedding": 8, "hidden": 10}}


def begin() -> None:
    """Make all recipes of this process small; draw no plots, measure on a few texts, wait for no disk, free no memory."""
    gc.disable()
    gc.collect = lambda generation=2: 0  # type: ignore[assignment]
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    plots.draw_all = lambda folder, record: []  # type: ignore[assignment]
    cost.measure = partial(cost.measure, latency_texts=2, throughput_texts=8, warmup=1)  # type: ignore[assignment]
    linear.FOLDS = 2  # the probes' cross-validation is a third of a toy run
    assert process.subprocess is subprocess
    process.subprocess = Forking  # type: ignore[assignment]
    imported, public = commands._imported, understudy.__getattr__
    commands._imported = lambda room, place: (
        _small(imported(room, place)) if room == "recipes" else imported(room, place)
    )  # type: ignore[assignment]
    understudy.__getattr__ = lambda name: _small(public(name))  # type: ignore[assignment]


class Forking:
    """Takes the place of the module ``subprocess`` where a family starts its runs: they are forked, with all modules."""

    PIPE, DEVNULL, TimeoutExpired = subprocess.PIPE, subprocess.DEVNULL, subprocess.TimeoutExpired

    class Popen:
        """A forked process for ``[sys.executable, "-c", code]``."""

        def __init__(self, command: list[str], *, stdout: int | None, **_: Any) -> None:
            read, write = os.pipe()
            self.pid = os.fork()
            if self.pid == 0:
                os.close(write)
                os.dup2(read, 0)
                if stdout == subprocess.DEVNULL:
                    for descriptor in (1, 2):
                        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                exec(command[2], {})
                os._exit(1)
            os.close(read)
            self.stdin = os.fdopen(write, "wb")

        def wait(self, timeout: float | None = None) -> int:
            """The exit code, negative for a signal."""
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _small(recipe: Any) -> Any:
    """A recipe's class that lowers its settings before it runs; anything else as it is."""
    if dataclasses.is_dataclass(recipe) and "run" in dir(recipe) and not hasattr(recipe.run, "__wrapped__"):
        whole = recipe.run

        @wraps(whole)
        def run(self: Any) -> Any:
            check(self)  # rows of Python become what can be compared
            lower(self)
            return whole(self)

        recipe.run = run  # type: ignore[attr-defined]
        steps = sys.modules[recipe.__module__]
        if hasattr(steps, "read_steps"):
            steps.read_steps = partial(_lowered_steps, steps.read_steps)
    return recipe


def _lowered_steps(read: Callable[[str], list[Any]], path: str) -> list[Any]:
    """The recipes of a pipeline, lowered before it compares them with what was begun."""
    recipes = read(path)
    for recipe in recipes:
        lower(recipe)  # not checked first: what an earlier step makes is not there yet
    return recipes


def lower(recipe: Any) -> None:
    """Lower the settings of a recipe that are named above, but where it then has more faults than before."""
    faults = set(recipe.faults())
    for name, value in _lowered(recipe).items():
        was = getattr(recipe, name)
        setattr(recipe, name, value)
        if set(recipe.faults()) - faults:
            setattr(recipe, name, was)


def _lowered(recipe: Any) -> dict[str, Any]:
    """The settings that are lowered, and to what."""
    has = {
        name: getattr(recipe, name)
        for name in (*ONE, *FEW, *OFF, *ALONE, *FEWER, *SMALL, "tasks")
        if hasattr(recipe, name)
    }
    new: dict[str, Any] = {name: 1 for name in ONE if has.get(name) is not None}
    off = OFF if os.environ.get(PAGE) in COMPARED else (*OFF, *ALONE)
    new |= {name: False for name in off if name in has}
    new |= {name: most for name, most in FEW.items() if type(has.get(name)) is int and has[name] > most}
    new |= {name: has[name][:most] for name, most in FEWER.items() if isinstance(has.get(name), list)}
    if getattr(recipe, "mode", None) == "transfer":
        new["tasks"] = has["tasks"][:2]
    for group, sizes in SMALL.items():
        if group in has:
            least = {name: min(getattr(has[group], name), most) for name, most in sizes.items()}
            new[group] = dataclasses.replace(has[group], **least)
    return new
