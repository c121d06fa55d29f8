"""The Ray cluster that work is spread over: which one it is, joined or started, and how many cores it has."""

from __future__ import annotations

import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from understudy.cores import usable_cores
from understudy.errors import ConfigError, require

_ADDRESS, _LOCAL, _PORT = "RAY_ADDRESS", "local", 6379
_ANSWER_S = 5.0
"""Seconds in which the head of a cluster has to answer."""
_WAY_OUT = "Start it with 'ray start --head', name another one in RAY_ADDRESS, or give RAY_ADDRESS=local for a Ray of this machine alone."


class Address(NamedTuple):
    """Where a cluster is, and who says so."""

    name: str
    """``host:port``, or ``local``."""
    because: str
    found: bool = False
    """Whether Ray noted it itself. Then Ray also takes the token that it keeps for its clusters."""

    @property
    def is_local(self) -> bool:
        """Whether a Ray is started for this command, on this machine alone."""
        return self.name == _LOCAL

    @property
    def line(self) -> str:
        """Where the work is done, for the plan.

        Example:
            >>> Address("10.0.0.1:6379", "RAY_ADDRESS says so").line
            'on Ray at 10.0.0.1:6379, because RAY_ADDRESS says so'
        """
        where = "on a Ray of this machine alone" if self.is_local else f"on Ray at {self.name}"
        return f"{where}, because {self.because}"


class Cluster(NamedTuple):
    """What there is to compute with."""

    name: str
    cpus: tuple[int, ...]
    """Of each machine."""
    gpus: int

    @property
    def line(self) -> str:
        """All of it, for people.

        Example:
            >>> Cluster("Ray at 10.0.0.1:6379", (8, 4), 0).line
            'Ray at 10.0.0.1:6379: 2 machines, 12 cores'
        """
        machines = f"{len(self.cpus)} machine{'s' * (len(self.cpus) != 1)}"
        gpus = f", {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else ""
        return f"{self.name}: {machines}, {sum(self.cpus)} core{'s' * (sum(self.cpus) != 1)}{gpus}"


def address() -> Address:
    """The cluster that work would be spread over: the one of ``RAY_ADDRESS``, else the one that ``ray start`` started here.

    Without either, a Ray is started for this command on this machine alone.

    Raises:
        ConfigError: if ``RAY_ADDRESS`` names none.
    """
    if named := os.environ.get(_ADDRESS, "").strip():
        if "://" in named:
            raise ConfigError(
                f"RAY_ADDRESS={named}: a Ray client's address is not supported. Run the command on a machine of the cluster, with RAY_ADDRESS=HOST:{_PORT}."
            )
        return Address(named, "RAY_ADDRESS says so")
    started = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    with suppress(OSError):  # Ray's own place for it, which 'ray stop' removes
        return Address(started.read_text(encoding="utf-8").strip(), f"{started} says so", found=True)
    return Address(_LOCAL, "RAY_ADDRESS names no cluster, and none was started here")


def checked_address() -> Address:
    """:func:`address`, if somebody answers there.

    Raises:
        ConfigError: if nobody does.
    """
    found = address()
    if not found.is_local:
        host, _, port = found.name.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
        except ValueError:
            raise ConfigError(
                f"RAY_ADDRESS must be HOST:PORT, such as 10.0.0.1:{_PORT}, or local, but is {found.name}."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{found.name}: no Ray answers there ({error.strerror or error}), and {found.because}. {_WAY_OUT}"
            ) from None
    return found


@contextmanager
def connected() -> Iterator[Cluster]:
    """Inside, Ray can be used. A cluster that was joined is left in the end, a Ray that was started here is stopped.

    Where this process is connected already, it stays so.

    Raises:
        UnderstudyError: if Ray is not installed.
        ConfigError: if the cluster cannot be joined.
    """
    ray: Any = require("ray", extra="cluster")
    if ray.is_initialized():
        yield described(ray)
        return
    place = checked_address()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options = {"num_cpus": usable_cores(), "include_dashboard": False} if place.is_local else {}
    try:
        with _own_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Ray will do otherwise one day
            ray.init(
                address="auto" if place.found else place.name, log_to_driver=False, logging_level="ERROR", **options
            )
    except Exception as error:  # Ray raises Exception itself where a process of its own is late
        ray.shutdown()
        raise ConfigError(
            f"{place.name}: the Ray there cannot be joined: {' '.join(str(error).split())[:300]} {_WAY_OUT}"
        ) from error
    try:
        yield described(ray)
    finally:
        with _own_signals():
            ray.shutdown()


def described(ray: Any) -> Cluster:
    """The cluster that this process is connected to."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise ConfigError("Ray: no machine of the cluster has a core to compute with. Start some with --num-cpus.")
    name = ray.get_runtime_context().gcs_address
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    return Cluster(f"Ray at {name}", tuple(sorted(int(node["CPU"]) for node in nodes)), gpus)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Afterwards the handler of SIGTERM is the one that it was: Ray sets its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_threads(asked: int, cpus: tuple[int, ...]) -> int:
    """So many threads, if a machine has the cores for them.

    Raises:
        ConfigError: if none has: the work would wait for ever.
    """
    if asked > max(cpus):
        raise ConfigError(
            f"--threads {asked}: no machine of the cluster has so many cores; the largest has {max(cpus)}. Give at most {max(cpus)}."
        )
    return asked


def threads_of(cpus: tuple[int, ...], parallel: int) -> int:
    """The most threads that so many runs can have at the same time, each on one of the machines; at least 1.

    Example:
        >>> threads_of((8, 8), 2), threads_of((3, 3), 3), threads_of((4,), 9)
        (8, 1, 1)
    """
    fitting = (count for count in range(max(cpus), 1, -1) if sum(cores // count for cores in cpus) >= parallel)
    return next(fitting, 1)
