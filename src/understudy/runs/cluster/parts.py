"""Parts of a pool that actors of a Ray cluster answer for, each with a model of its own: Ray Data hands them out."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from understudy.errors import ModelError, UnderstudyError, require
from understudy.runs.cluster.connection import Cluster, check_threads
from understudy.runs.cluster.machines import variables

_RETRIES = 3
"""How often a part is given to another actor, where a process or a machine goes."""
_NUMBER, _WORK, _DONE = "number", "work", "done"
_REFUSED, _BROKEN = "refused", "broken"

Answer = Callable[[Any], Any]
"""What an actor has: it takes the work of a part and returns what is asked for."""


class ActorError(RuntimeError):
    """A mistake of ours in an actor, with its traceback."""


def answered_parts(
    cluster: Cluster,
    make: Callable[[], Answer],
    parts: Iterable[tuple[int, Any]],
    *,
    threads: int,
    on_gpus: bool = True,
) -> Generator[tuple[int, Any], None, None]:
    """Have numbered parts done by actors, as many as the cluster has room for; what was done comes as it is ready.

    Args:
        cluster: the one that this process is connected to.
        make: makes what answers, once in each actor, which may be on another machine; a picklable function.
        parts: what is to be done; it can be pickled, and so can what is returned.
        threads: cores of an actor.
        on_gpus: where the cluster has GPUs, an actor has one of them.

    Yields:
        The number of a part, and what was returned for it, in any order.

    Raises:
        ConfigError: if no machine has so many cores.
        ModelError: if the actors die, or one refuses its part by a mistake of the user's.
        ActorError: if one fails by a mistake of ours.
    """
    ray: Any = require("ray", extra="cluster")
    check_threads(threads, cluster.cpus)
    refs = [
        ray.put(pa.table({_NUMBER: [number], _WORK: pa.array([pickle.dumps(work)], pa.large_binary())}))
        for number, work in parts
    ]
    if not refs:
        return
    gpus = cluster.gpus if on_gpus else 0
    room = gpus or max(1, sum(cores // threads for cores in cluster.cpus))
    actors = min(room, len(refs))
    data = _quiet_data()
    with _unwarned():
        done = data.from_arrow_refs(refs).map_batches(
            PartActor,
            fn_constructor_args=(pickle.dumps(make), os.getcwd(), variables(), threads),
            batch_size=1,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            num_cpus=threads,
            num_gpus=1 if gpus else 0,
            max_task_retries=_RETRIES,
        )
        tables = iter(done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    try:
        while (table := _next(tables)) is not None:
            for number, written in zip(table[_NUMBER].to_pylist(), table[_DONE].to_pylist()):
                end, found = pickle.loads(written)  # noqa: S301
                if end == _REFUSED:
                    raise ModelError(*found)
                if end == _BROKEN:
                    raise ActorError(found)
                yield number, found
    except ray.exceptions.RayError as error:
        said = str(error).strip().rpartition("\n")[2][:300]
        raise ModelError(
            f"the actors of the cluster failed ({type(error).__name__}: {said}). What is done is kept: give the same command again."
        ) from error
    finally:
        with _unwarned():
            del tables  # the actors end with it
            del done


def _next(tables: Iterator[pa.Table]) -> pa.Table | None:
    """The next table, or None: filters of warnings must not stay changed while a generator waits."""
    with _unwarned():
        return next(tables, None)


class PartActor:
    """Answers for one part after the other; what answers is made for the first one.

    Args:
        make: a pickled function that makes it.
        folder: where relative paths begin, if this machine sees it.
        environment: variables that are set before anything of ours is loaded.
        threads: of torch and of the libraries of linear algebra.
    """

    def __init__(self, make: bytes, folder: str, environment: dict[str, str], threads: int) -> None:
        os.environ.update({**environment, "OMP_NUM_THREADS": str(threads)})
        with suppress(OSError):  # what is not found then is named
            os.chdir(folder)
        self._make, self._answer = make, None

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows with what was done in place of the work."""
        done = [pickle.dumps(self._done(work)) for work in table[_WORK].to_pylist()]
        return pa.table({_NUMBER: table[_NUMBER], _DONE: pa.array(done, pa.large_binary())})

    def _done(self, work: bytes) -> tuple[str, Any]:
        """How it ended, and what was done, or faults of the user's, or a mistake of ours."""
        try:
            if self._answer is None:
                self._answer = pickle.loads(self._make)()  # noqa: S301
            return _DONE, self._answer(pickle.loads(work))  # type: ignore[misc]  # noqa: S301
        except UnderstudyError as error:
            return _REFUSED, tuple(f"on {platform.node()}: {fault}" for fault in error.faults)
        except Exception:
            return _BROKEN, f"on {platform.node()}: {traceback.format_exc()}"


def _quiet_data() -> Any:
    """The module ``ray.data``, which prints neither bars nor plans."""
    with _unwarned():
        data: Any = require("ray.data", extra="cluster")
        context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return data


class _unwarned(warnings.catch_warnings):
    """Inside, nothing is said of what Ray will do otherwise one day."""

    def __enter__(self) -> Any:
        found = super().__enter__()
        warnings.simplefilter("ignore")
        return found
