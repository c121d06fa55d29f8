"""Which number of threads a run trains with, and why: it stands in the plan and on the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list

from understudy.cores import MOST_THREADS, threads_asked_for, usable_cores
from understudy.errors import OutputError
from understudy.inference.logits import parameter_summary
from understudy.record import RunRecord
from understudy.runs.devices import on_threads, processes
from understudy.runs.plans import training_seconds
from understudy.runs.threads.chosen import BECAUSE, SIDE_BY_SIDE, TRAINING_THREADS, Threads
from understudy.runs.threads.probe import fewest_of_the_fast, step_seconds
from understudy.terminal.lines import say

SMALL = 1_000_000
"""Parameters that multiply, up to which a model trains on one thread: its steps are many small operations, and handing
each to several threads costs as much as it saves on a quiet machine, and several times the work on a busy one."""
LONG_S = 10.0
"""Seconds that a training takes at least if another one is to run beside it: a process needs some to load torch."""


@contextmanager
def as_begun(settings: Any) -> Iterator[None]:
    """Inside, torch and the libraries of linear algebra use as many threads as the run that is resumed was begun with.

    A sum that is cut into another number of parts has other bits. A run that begins uses the threads that are asked for,
    otherwise torch's number, but no more than the cores that the process may use.

    Raises:
        OutputError: if the record says no possible number.
    """
    known, torchs = _begun(settings), torch.get_num_threads()
    now = settings.threads or (torchs if threads_asked_for() else min(torchs, usable_cores()))
    begun = now if known is None else _possible(settings, known.hardware.get("threads", now))
    if begun != now and processes().is_main_process:
        say(f"  {Path(settings.output).expanduser()}: uses {begun} threads, as when it was begun, not {now}.")
    with on_threads(begun):
        yield


def choose(settings: Any, work: Any) -> Threads:
    """The threads for training: as begun, as asked for, one for a small model, otherwise measured.

    All processes call it, and all get the same.

    Args:
        settings: of the run, inside :func:`as_begun`.
        work: what is trained; without a ``plan`` nothing is trained step by step.

    Raises:
        OutputError: if the record of the run that is resumed says no possible number.
    """
    most, known = torch.get_num_threads(), _begun(settings)
    if known is not None:
        begun = known.hardware.get(TRAINING_THREADS, known.hardware.get("threads", most))
        side_by_side = known.hardware.get(SIDE_BY_SIDE, False) is True
        return Threads(_possible(settings, begun), known.hardware.get(BECAUSE, "as it was begun"), side_by_side)
    cores = usable_cores()
    over = f"; only {cores} cores are here" if most > cores else ""
    if settings.threads is not None:
        return Threads(most, f"as --threads says{over}")
    if threads_asked_for() is not None:
        return Threads(most, f"as OMP_NUM_THREADS says{over}")
    state = processes()
    most = max(1, min(most, cores // state.num_processes))
    if most == 1:
        return Threads(1, "because a process has one core, or torch was given one thread")
    plan = getattr(work, "plan", None)
    if state.device.type != "cpu" or (plan is None and not getattr(work, "small", False)):
        return Threads(most, "one a core")
    if plan is None or _multiplying(work) <= SMALL:
        return Threads(1, "because the model is small", _pays_side_by_side(work))
    seconds = step_seconds(plan, work.batches, _contenders(most))
    chosen = fewest_of_the_fast(seconds)
    said = ", ".join(f"{time_s * 1000:.0f} ms on {count}" for count, time_s in sorted(seconds.items()))
    found = [Threads(chosen, f"measured: a batch takes {said}")]
    if state.num_processes > 1:
        broadcast_object_list(found)
    return found[0]


def _pays_side_by_side(work: Any) -> bool:
    """Whether what is trained twice takes so much longer than the start of a second process that it is worth one."""
    launched = torch.distributed.is_available() and torch.distributed.is_initialized()  # a group has its members
    if launched or not getattr(work, "trains_twice", False):
        return False
    with on_threads(1):
        return training_seconds(work.plan, work.batches, tokens=work.tokens) >= LONG_S


def _contenders(most: int) -> list[int]:
    """The powers of two below a number, and the number.

    Example:
        >>> _contenders(6)
        [1, 2, 4, 6]
    """
    return [*(1 << bit for bit in range((most - 1).bit_length())), most]


def _multiplying(work: Any) -> int:
    """The parameters that a token is multiplied with: tables that are only looked up do not count."""
    model = work.plan.objective.model
    summary = parameter_summary(model)
    # the table of a language model is its head as well
    is_language_model = str(work.subject.task["kind"]).endswith("language_model")
    return summary["parameters"] - (0 if is_language_model else summary["embedding_parameters"])


def _begun(settings: Any) -> RunRecord | None:
    """The record of the run that is resumed."""
    record = Path(settings.output or "").expanduser() / "record.json"
    return RunRecord.load(record) if settings.resume and settings.output and record.exists() else None


def _possible(settings: Any, threads: object) -> int:
    if type(threads) is int and 0 < threads <= MOST_THREADS:
        return threads
    record = Path(settings.output).expanduser() / "record.json"
    raise OutputError(
        f"{record}: not a record of a run (threads must be a number from 1 to {MOST_THREADS:,}). Name another --output."
    )
