"""Processes, devices and precision, by ``accelerate``; threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration
from threadpoolctl import threadpool_limits

from understudy.models.structure.compiler import can_compile
from understudy.settings.training import TrainSettings

_WAIT = timedelta(days=2)
"""How long the other processes wait while one labels."""


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
def a_batch_a_core(device: torch.device | str) -> Iterator[int]:
    """Inside, how many batches a network is to compute at once, each on a thread of its own: none waits for another.

    On a processor as many as torch had threads; an accelerator computes one.
    """
    if torch.device(device).type != "cpu":
        yield 1
        return
    workers = torch.get_num_threads()
    with on_threads(1):
        yield workers


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Inside ``with``, torch and the libraries of linear algebra use so many threads.

    Args:
        count: of this process.

    Example:
        >>> before = torch.get_num_threads()
        >>> with on_threads(1):
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def on_exactly(threads: int) -> Iterator[None]:
    """Inside ``with``, so many threads compute; of one, texts are split by it as well."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false" if threads == 1 else "true"
    try:
        with on_threads(threads):
            yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def computes_bf16() -> bool:
    """Whether products in bfloat16 are fast here, or there at all: other processors have no LSTM in it."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def machine_faults(settings: TrainSettings) -> list[str]:
    """What settings ask of this machine that it does not have."""
    faults = []
    if settings.precision == "fp16" and not torch.cuda.is_available():
        faults.append("precision fp16 needs a CUDA device, and there is none here. Give --precision auto.")
    if settings.precision == "bf16" and not computes_bf16():
        faults.append(
            "precision bf16 needs a CUDA device or a processor that multiplies in it, and there is neither here: it would take ten times as long as fp32. Give --precision auto."
        )
    if settings.compile and not can_compile():
        faults.append(
            "--compile needs a compiler, and none was found. Install g++, name another in the environment variable CXX (with CUDA: gcc, CC), or leave it out."
        )
    return faults
