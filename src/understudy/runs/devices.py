"""Processes, devices and precision, by ``accelerate``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from threadpoolctl import threadpool_limits

from understudy.errors import OutputError
from understudy.models.structure.compiler import can_compile
from understudy.record import RunRecord
from understudy.settings.training import TrainSettings
from understudy.terminal.lines import say

_WAIT = timedelta(days=2)
"""How long the other processes wait while one labels."""
_MOST_THREADS = 4096


def processes() -> PartialState:
    """The processes of this run; the first call joins them."""
    # by itself, accelerate takes several processes on a CPU for several runs of one process
    several_on_cpu = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    return PartialState(cpu=several_on_cpu, timeout=_WAIT)


def make_accelerator(settings: TrainSettings, tracking: Path | None = None) -> Accelerator:
    """Devices, autocast and loss scaling, process groups and trackers, by ``accelerate``."""
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
    # accelerate keeps a process's first precision, but one process may make several runs; the process group, a state
    # of its own, stays
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=settings.track,
        project_config=ProjectConfiguration(logging_dir=str(tracking) if tracking else None),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def accelerator_name(accelerator: Accelerator | PartialState) -> str | None:
    """What a CUDA device is called; None on a CPU."""
    return torch.cuda.get_device_name(accelerator.device) if accelerator.device.type == "cuda" else None


@contextmanager
def as_begun(settings: Any) -> Iterator[None]:
    """Inside, torch and the libraries of linear algebra use as many threads as the run that is resumed was begun with.

    A sum that is cut into another number of parts has other bits.

    Raises:
        OutputError: if the record says no possible number.
    """
    record = Path(settings.output or "").expanduser() / "record.json"
    known = RunRecord.load(record) if settings.resume and settings.output and record.exists() else None
    now = torch.get_num_threads()
    begun = now if known is None else known.hardware.get("threads", now)
    if type(begun) is not int or not 0 < begun <= _MOST_THREADS:
        raise OutputError(
            f"{record}: not a record of a run (threads must be a number from 1 to {_MOST_THREADS:,}). Name another --output."
        )
    if begun == now:
        yield
        return
    if processes().is_main_process:
        say(f"  {record.parent}: uses {begun} threads, as when it was begun, not {now}.")
    with threadpool_limits(begun):
        torch.set_num_threads(begun)
        try:
            yield
        finally:
            torch.set_num_threads(now)


def machine_faults(settings: TrainSettings) -> list[str]:
    """What settings ask of this machine that it does not have."""
    faults = []
    if settings.precision == "fp16" and not torch.cuda.is_available():
        faults.append("precision fp16 needs a CUDA device, and there is none here. Give --precision fp32 or bf16.")
    if settings.compile and not can_compile():
        faults.append(
            "--compile needs a compiler, and none was found. Install g++, name another in the environment variable CXX (with CUDA: gcc, CC), or leave it out."
        )
    return faults
