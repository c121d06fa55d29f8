"""An open run: its folder, devices, signals, time budget and display. Runs are opened here and nowhere else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from understudy.data.texts import Texts
from understudy.errors import Interrupted, OutputError
from understudy.functional.scoring import higher_is_better
from understudy.inference.answering import Answering
from understudy.record import Run, default_folder, flat, hardware, open_run, versions
from understudy.runs.devices import accelerator_name, make_accelerator, processes
from understudy.runs.work import Described
from understudy.settings.configuration import as_dict, given
from understudy.settings.values import seconds
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.stop import Stop

_TEXTS_AT_ONCE = 512


@dataclass
class Session:
    """An open run with everything that training needs."""

    run: Run
    accelerator: Accelerator
    stop: Stop
    display: Display
    log: ProgressLog
    settings: Any
    metrics: Sequence[str]
    """The names of the scores that an evaluation gives; the first one selects, unless the settings name another."""

    @property
    def device(self) -> torch.device:
        """Where models live."""
        return self.accelerator.device

    def metric(self) -> tuple[str, bool]:
        """The metric that selects models, and whether more of it is better."""
        name = self.settings.metric or self.metrics[0]
        return name, higher_is_better(name)

    def answers(self, model: Answering, texts: Texts) -> np.ndarray:
        """A model's outputs for texts, ``(texts, outputs)``; signals are answered every few hundred texts."""
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            self.stop_if_asked()
            parts.append(model.logits(texts[start : start + _TEXTS_AT_ONCE]))
        return np.concatenate(parts)

    def stop_if_asked(self) -> None:
        """Leave after a signal, at a point where all that has been done is on disk.

        Raises:
            Interrupted: if there was one.
        """
        if self.stop.signal_number is not None:
            raise Interrupted(self.stop.signal_number)


def open_folder(settings: Any) -> Run:
    """Open the run folder that settings name: a new one, or with ``resume`` an unfinished or finished one.

    Raises:
        OutputError: if the folder is in use, was made with other settings, or cannot be written.
    """
    state = processes()
    output = [settings.output or str(default_folder(settings.command))]
    if state.num_processes > 1:
        broadcast_object_list(output)  # the folder's name has the time in it
    return open_run(
        settings.command,
        as_dict(settings),
        given=given(settings),
        output=output[0],
        overwrite=settings.overwrite,
        resume=settings.resume,
        seed=settings.seed,
        writes=state.is_main_process,
    )


def go_on(folder: Path, settings: Any) -> str:
    """How to go on with a run that was stopped: a sentence, its path quoted for a shell."""
    without = ", without --overwrite" if settings.overwrite else ""
    return f"Go on with the same command, --output {shlex.quote(str(folder))} and --resume{without}."


@contextmanager
def open_session(settings: Any, work: Described) -> Iterator[Session]:
    """Open a run and everything around it; in the end the record is saved and the signal handlers are put back.

    A run that is finished already has ``run.record.finished`` set: there is nothing left to do.

    Raises:
        OutputError: as :func:`open_folder`; or if the run was begun on other data.
    """
    run, subject = open_folder(settings), work.subject
    if run.record.finished:
        print(f"{run.folder}: this run is finished already; nothing to do.")
        yield Session(run, None, Stop(), Display(visible=False), None, settings, subject.metrics)  # type: ignore[arg-type]
        return
    accelerator = make_accelerator(settings, run.folder / "tracking")
    if settings.track:
        accelerator.init_trackers("understudy", config=_for_trackers(as_dict(settings)))
    accelerator.wait_for_everyone()
    _describe(run, work, accelerator)
    budget = seconds(settings.time_budget) if settings.time_budget else None
    log = ProgressLog(
        run.folder / "progress.csv",
        progress_columns(work.terms, subject.metrics, groups=work.groups, momentum=settings.cycle_momentum),
        writes=run.writes,
    )
    with Stop(budget_s=budget) as stop, Display(visible=run.writes) as display:
        try:
            yield Session(run, accelerator, stop, display, log, settings, subject.metrics)
        except Interrupted as error:
            error.remedy = go_on(run.folder, settings)
            raise
    if settings.track:
        accelerator.end_training()


def _describe(run: Run, work: Described, accelerator: Accelerator) -> None:
    """Put on the record what the run is about and where it happens."""
    record, subject = run.record, work.subject
    record.versions = versions()
    record.hardware = hardware(
        threads=torch.get_num_threads(),
        accelerator=accelerator_name(accelerator),
        processes=accelerator.num_processes,
    )
    record.task = dict(subject.task)
    found = {name: {"rows": len(texts), "fingerprint": texts.fingerprint} for name, texts in subject.texts.items()}
    before = record.data or found
    if changed := [name for name in before | found if before.get(name) != found.get(name)]:
        raise OutputError(
            f"{run.folder}: was begun on other data: {', '.join(changed)} changed since. Give --overwrite instead of --resume to start afresh, or resume with the data of before."
        )
    record.data = found
    for note in [*subject.notes, *work.notes]:
        run.say(note)


def _for_trackers(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as trackers take it: numbers and strings, nested names joined by dots.

    Example:
        >>> _for_trackers({"epochs": 3, "bilstm": {"hidden": 256}, "text": ["a", "b"]})
        {'epochs': 3, 'bilstm.hidden': 256, 'text': 'a b'}
    """
    rows: dict[str, Any] = {}
    for key, value in flat(config).items():
        if isinstance(value, list | tuple):
            rows[key] = " ".join(map(str, value))
        else:
            rows[key] = value if isinstance(value, int | float | str) else str(value)
    return rows
