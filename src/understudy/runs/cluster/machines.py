"""Whether every machine of a cluster can do the work: the same versions, and storage that all of them see."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError, require
from understudy.runs.cluster.connection import Cluster, connected
from understudy.settings.engine import RAY
from understudy.version import VERSION

_SAME = ("understudy", "python", "torch", "transformers")
_ANSWER_S = 120.0
_PASSED_ON = ("UNDERSTUDY_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "WANDB_")
"""Beginnings of the environment variables that work on another machine gets from this process."""


def variables() -> dict[str, str]:
    """The environment variables that work on another machine gets from this process."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}


def versions_here() -> dict[str, str]:
    """The versions that must be the same everywhere: others may compute other numbers."""
    named = {name: metadata.version(name) for name in ("torch", "transformers")}
    return {"understudy": VERSION, "python": platform.python_version(), **named}


@contextmanager
def spread_over(engine: str, folder: Path) -> Iterator[Cluster | None]:
    """Inside, runs below a folder can be spread over a cluster, if that is asked for: then all its machines see the folder.

    Raises:
        UnderstudyError: if the cluster cannot be joined, or a machine lacks what is needed.
    """
    if engine != RAY:
        yield None
        return
    with connected() as cluster:
        check_machines(require("ray", extra="cluster"), folder=folder)
        yield cluster


def check_machines(ray: Any, *, folder: Path | None = None) -> None:
    """Ask every machine of the cluster what it has and what it sees.

    Args:
        ray: the module, connected.
        folder: one that all machines must see; a file is written there and read by each of them. The folder that this
            process is in must be there too: relative paths begin in it.

    Raises:
        ConfigError: with a sentence for each machine that lacks something.
    """
    expected, token = versions_here(), uuid.uuid4().hex
    mark = None if folder is None else folder.resolve() / f".shared.understudy-{token[:12]}.tmp"
    try:
        if mark is not None:
            mark.write_text(token, encoding="ascii")
        faults = _faults(ray, expected, mark, token)
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)
    if faults:
        raise ConfigError(*faults)


def _faults(ray: Any, expected: dict[str, str], mark: Path | None, token: str) -> list[str]:
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    ask = ray.remote(_question())
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    here = None if mark is None else os.getcwd()
    asked = {
        node["NodeManagerHostname"]: ask.options(
            num_cpus=0, max_retries=0, scheduling_strategy=affinity(node_id=node["NodeID"], soft=False)
        ).remote(None if mark is None else str(mark), here)
        for node in nodes
    }
    faults = []
    for name, answer in asked.items():
        try:
            found, said, there = ray.get(answer, timeout=_ANSWER_S)
        except ray.exceptions.RayError as error:
            faults.append(f"{name}: does not answer ({type(error).__name__}). Restart Ray there.")
            continue
        for what in _SAME:
            if found[what] != expected[what]:
                has = f"has {what} {found[what]}" if found[what] else f"has no {what}"
                faults.append(f"{name}: {has}, but this machine has {expected[what]}. Install the same there.")
        if mark is not None and said != token:
            faults.append(
                f"{name}: does not see {mark.parent}. Name an --output on storage that all machines of the cluster share."
            )
        elif not there:
            faults.append(
                f"{name}: does not see {here}, the folder that you are in. Start from a folder that all machines of the cluster share."
            )
    return faults


def _question() -> Any:
    """A function that needs nothing of ours: a machine may lack us."""

    def answer(mark: str | None, here: str | None) -> tuple[dict[str, str | None], str | None, bool]:
        from importlib import import_module, metadata
        from os.path import isdir
        from platform import python_version

        found: dict[str, str | None] = {"python": python_version()}
        for name in ("torch", "transformers"):
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = None
        try:
            found["understudy"] = import_module("understudy.version").VERSION
        except ImportError:
            found["understudy"] = None
        said = None
        try:
            if mark is not None:
                with open(mark, encoding="ascii") as file:
                    said = file.read()
        except OSError:
            pass
        return found, said, here is None or isdir(here)

    return answer
