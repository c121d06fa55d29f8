"""An open run: its folder, devices, signals, time budget and display. Runs are opened here and nowhere else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
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
from understudy.folders.run import Run, default_folder, open_run
from understudy.functional.scoring import higher_is_better
from understudy.inference.answering import Answering
from understudy.models.files.fingerprints import files_fingerprint
from understudy.record import RunRecord, flat, hardware, versions
from understudy.runs.devices import accelerator_name, make_accelerator, processes
from understudy.runs.subject import Described
from understudy.runs.threads.chosen import BECAUSE, SIDE_BY_SIDE, TRAINING_THREADS, Threads
from understudy.settings.configuration import as_dict, given
from understudy.settings.values import seconds
from understudy.terminal.lines import show
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.progress.trackers import shown_as
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
    def threads(self) -> int:
        """How many threads a process trains with."""
        known = self.run.record.hardware
        return int(known.get(TRAINING_THREADS, known["threads"]))

    @property
    def side_by_side(self) -> bool:
        """Whether two phases are trained at the same time."""
        return bool(self.run.record.hardware.get(SIDE_BY_SIDE, False))

    @property
    def device(self) -> torch.device:
        """Where models live."""
        return self.accelerator.device

    def metric(self) -> tuple[str, bool]:
        """The metric that selects models, and whether more of it is better."""
        name = self.settings.metric or self.metrics[0]
        return name, higher_is_better(name)

    def answers(self, model: Answering, texts: Texts) -> np.ndarray:
        """A model's outputs for texts, ``(texts, outputs)``; signals are checked for every few hundred texts."""
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
    run = open_run(
        settings.command,
        as_dict(settings),
        given=given(settings),
        output=output[0],
        overwrite=settings.overwrite,
        resume=settings.resume,
        seed=settings.seed,
        writes=state.is_main_process,
    )
    if not run.record.finished:
        before = _circumstances(run.record)
        run.record.versions = versions()
        kept = (TRAINING_THREADS, BECAUSE, SIDE_BY_SIDE)
        chosen = {name: known for name, known in run.record.hardware.items() if name in kept}
        run.record.hardware = chosen | hardware(
            threads=torch.get_num_threads(), accelerator=accelerator_name(state), processes=state.num_processes
        )
        for name, value in _circumstances(run.record).items():
            if name in before and before[name] != value:
                run.say(
                    f"begun with {name} {before[name]}, and gone on with {value}: the result may differ by rounding."
                )
        run.save()
    return run


def _circumstances(record: RunRecord) -> dict[str, Any]:
    """What a result depends on beside its inputs; a run goes on if it changes, and says so."""
    return {
        **record.versions,
        **{f"the {name}": record.hardware[name] for name in ("cpu", "accelerator") if record.hardware},
    }


def check_inputs(run: Run, names: Iterable[str]) -> None:
    """Put the fingerprints of files on the record, or compare them with those of the beginning.

    Args:
        names: of files and models, see :func:`understudy.models.files.fingerprints.files_fingerprint`.

    Raises:
        OutputError: if one of them has changed since.
    """
    found = {name: files_fingerprint(name) for name in names}
    before, run.record.inputs = run.record.inputs, {name: known for name, known in found.items() if known is not None}
    # a name that is not read any more is that of a folder which was moved, if what is in it is read
    moved = set(before) - set(found)
    same = set(run.record.inputs.values())
    if changed := [
        name
        for name, known in before.items()
        if (known not in same if name in moved else run.record.inputs.get(name) != known)
    ]:
        raise _begun_on("other files", changed, run)


def _begun_on(what: str, changed: list[str], run: Run) -> OutputError:
    return OutputError(
        f"{run.folder}: was started on {what}: {', '.join(changed)} changed since. Resume with the original, or give --overwrite instead of --resume to start again."
    )


def go_on(folder: Path, settings: Any) -> str:
    """How to go on with a run that was stopped: a sentence, its path quoted for a shell."""
    without = ", without --overwrite" if settings.overwrite else ""
    return f"Go on with the same command, --output {shlex.quote(str(folder))} and --resume{without}."


@contextmanager
def open_session(settings: Any, work: Described, threads: Threads | None = None) -> Iterator[Session]:
    """Open a run and everything around it; in the end the record is saved and the signal handlers are put back.

    Args:
        settings: of the command.
        work: what is done in it.
        threads: those of training; by default as many as of everything else.

    A run that is finished already has ``run.record.finished`` set: there is nothing left to do.

    Raises:
        OutputError: as :func:`open_folder`; or if the run was begun on other data, for another task or with other models.
    """
    with open_folder(settings) as run:
        if threads is not None and not run.record.finished:
            run.record.hardware |= threads.on_record()
        _describe(run, work, settings.models_read())
        if run.record.finished:
            show(f"{run.folder}: this run is finished already; nothing to do.")
            yield Session(run, None, Stop(), Display(visible=False), None, settings, work.subject.metrics)  # type: ignore[arg-type]
            return
        with _training(run, settings, work) as session:
            yield session


@contextmanager
def _training(run: Run, settings: Any, work: Described) -> Iterator[Session]:
    """Everything around a run that is not finished."""
    metrics = work.subject.metrics
    accelerator = make_accelerator(settings, run.folder / "tracking")
    if settings.track:
        name, group = run.folder.resolve().name, settings.tracked_group()
        shown = shown_as(settings.track, run=name, group=group, seed=settings.seed)
        accelerator.init_trackers("understudy", config=_for_trackers(as_dict(settings)), init_kwargs=shown)
    accelerator.wait_for_everyone()
    for note in [*work.subject.notes, *work.notes]:
        run.say(note)
    budget = seconds(settings.time_budget) if settings.time_budget else None
    log = ProgressLog(
        run.folder / "progress.csv",
        progress_columns(work.terms, metrics, groups=work.groups, momentum=settings.cycle_momentum),
        writes=run.writes,
    )
    with Stop(budget_s=budget) as stop, Display(visible=run.writes) as display:
        try:
            yield Session(run, accelerator, stop, display, log, settings, metrics)
        except Interrupted as error:
            error.remedy = go_on(run.folder, settings)
            raise
    if settings.track:
        accelerator.end_training()


def _describe(run: Run, work: Described, names: Iterable[str]) -> None:
    """Put on the record what the run is about, or compare it with what it was begun on.

    Raises:
        OutputError: if data, task or files are not those of before.
    """
    record = run.record
    found, task = work.subject.data(), json.loads(json.dumps(work.subject.task))
    before = record.data or found
    # what was not on the record when the run was begun cannot be compared
    parts = {name: {**found.get(name, {}), **before.get(name, {})} for name in before | found}
    if changed := [name for name, part in parts.items() if name not in before or part != found.get(name)]:
        raise _begun_on("other data", changed, run)
    # which metrics there are depends on the version; the one that selects is a setting
    if changed := [name for name, value in record.task.items() if name != "metrics" and task.get(name) != value]:
        raise _begun_on("another task", changed, run)
    check_inputs(run, names)
    record.data, record.task = found, task
    if not record.finished:
        run.save()  # before anything is trained on it


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
