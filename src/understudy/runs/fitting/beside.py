"""A phase of training in a process of its own, beside another phase: on two cores both take the time of one.

The second process writes the phase's files (``<phase>*.pt``) where the first one would, and its rows of
``progress.csv`` into a file beside them. When it is done, the first process calls :func:`train_phase` as it would have
without it, finds the phase finished, and puts the rows where they belong. Whoever is killed, and whenever: what is on
disk is a phase that goes on, in whichever process.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from torch import nn

from understudy.data.batches.contract import BatchSource
from understudy.errors import Interrupted, UnderstudyError
from understudy.folders.lock import Lock
from understudy.folders.run import Run
from understudy.record import RunRecord
from understudy.runs.devices import make_accelerator
from understudy.runs.fitting.apart import framed
from understudy.runs.fitting.phase import train_phase
from understudy.runs.session import Session
from understudy.terminal.lines import say
from understudy.training.checkpoint_files import done_path
from understudy.training.progress.display import Display
from understudy.training.progress.log import ProgressLog
from understudy.training.stages import FitResult
from understudy.training.stop import Stop

_LAST_WORDS_S = 120.0
"""Seconds that a process may take to write its checkpoint."""


@dataclass(frozen=True)
class Training:
    """What :func:`understudy.runs.fitting.phase.train_phase` is called with. It can be sent to another process."""

    phase: str
    objective: nn.Module
    batches: BatchSource
    validation: Callable[[nn.Module], Mapping[str, float]]
    learning_rate: float
    fresh: bool = False
    keep: Literal["best", "last"] = "best"
    steps: int = 0
    """How many there are at most, for the progress bar."""

    def carry_out(self, session: Session, *, begun: bool = False, budget_s: float | None) -> FitResult:
        """Train it here."""
        return train_phase(
            session,
            self.objective,
            self.batches,
            phase=self.phase,
            validation=self.validation,
            learning_rate=self.learning_rate,
            fresh=self.fresh,
            begun=begun,
            budget_s=budget_s,
            keep=self.keep,
        )


class Beside:
    """A second process that trains one phase while this one trains another; it ends with the ``with`` block.

    Args:
        session: of the run. If its record does not say that phases are trained side by side, there is no second process,
            and the phase is trained when it is asked for.
        phases: the names of both, the other process's last. If one of them is finished, there is nothing to gain.
    """

    def __init__(self, session: Session, *phases: str) -> None:
        self._session = session
        self.side_by_side = session.side_by_side
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = session.run.folder / "checkpoints"
        self._needed = self.side_by_side and not any(done_path(self._folder, phase).exists() for phase in phases)

    def __enter__(self) -> Beside:
        """Start the process, which loads torch while this one still prepares."""
        if self._needed:
            begin = f"import sys; sys.path = {sys.path!r}; from understudy.runs.fitting.apart import main; main()"
            # signals of the terminal are this process's to hand on
            self._process = subprocess.Popen(
                [sys.executable, "-c", begin],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.terminate()  # it writes a checkpoint
        try:
            process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(OSError):  # it was gone before it had read all
            process.stdin.close()

    def begin(self, training: Training) -> None:
        """Have the other process train a phase, if there is one."""
        if self._process is None or self._process.stdin is None:
            return
        session, remaining = self._session, self._session.stop.remaining()
        work = partial(
            _apart,
            training,
            folder=session.run.folder,
            settings=session.settings,
            metrics=list(session.metrics),
            columns=session.log.columns,
            hardware=session.run.record.hardware,
            ends_at=None if remaining is None else time.time() + remaining,
        )
        try:
            self._process.stdin.write(framed(pickle.dumps(work)))
            self._process.stdin.flush()
        except (OSError, pickle.PicklingError, AttributeError, TypeError):
            self._end()  # it has died, or is to train what cannot be sent (a class in a function): it is trained here

    def finish(self, training: Training) -> FitResult:
        """What came of the phase; what the other process has not done is done here.

        Raises:
            Interrupted: on SIGTERM or Ctrl-C.
        """
        session = self._session
        if not self.side_by_side:
            return training.carry_out(session, budget_s=session.stop.remaining())
        self._wait(training)
        rows = _rows(session.run.folder, training.phase)
        with _owned(self._folder):
            log = session.log
            if not done_path(self._folder, training.phase).exists():
                log = ProgressLog(rows, session.log.columns)
                if self._process is not None:
                    say(f"  {training.phase}: its process has ended too early; it is trained here.")
            result = training.carry_out(replace(session, log=log), begun=True, budget_s=session.stop.remaining())
            if rows.exists():
                session.log.take_in(rows, training.phase)
                rows.unlink()
        return result

    def _wait(self, training: Training) -> None:
        """Until the other process is done; its progress is shown."""
        if self._process is None:
            return
        session = self._session
        session.display.start(f"{training.phase}, in a process of its own", training.steps)
        while True:
            try:
                self._process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                session.stop_if_asked()
                session.display.update(_last_step(_rows(session.run.folder, training.phase)))
        session.display.close()


def _apart(
    training: Training,
    *,
    folder: Path,
    settings: Any,
    metrics: list[str],
    columns: list[str],
    hardware: dict[str, Any],
    ends_at: float | None,
) -> int:
    """In the other process: train a phase and leave its files; the exit code."""
    record = RunRecord(command=settings.command, config={}, seed=settings.seed, hardware=hardware)
    run = Run(folder, record, writes=False)  # the record is the first process's
    (folder / "checkpoints").mkdir(exist_ok=True)
    with _owned(folder / "checkpoints"), Stop() as stop:
        log = ProgressLog(_rows(folder, training.phase), columns)
        accelerator = make_accelerator(settings)
        session = Session(run, accelerator, stop, Display(visible=False), log, settings, metrics)
        budget_s = None if ends_at is None else max(ends_at - time.time(), 0.0)
        try:
            training.carry_out(session, begun=True, budget_s=budget_s)
        except Interrupted as error:
            return 128 + error.signal_number
        except UnderstudyError:
            return 2  # the first process comes to the same, and says it
    return 0


def _rows(folder: Path, phase: str) -> Path:
    """Where the rows of ``progress.csv`` are until the phase is done."""
    return folder / "checkpoints" / f"{phase}.csv"


def _owned(checkpoints: Path) -> Lock:
    """One process at a time works on the phase: a killed run's second process may need a moment to notice."""
    return Lock(checkpoints, waits=True)


def _last_step(rows: Path) -> int:
    """The step of the last complete row."""
    lines = rows.read_bytes().rpartition(b"\n")[0].splitlines() if rows.exists() else []
    return int(lines[-1].split(b",")[2]) if len(lines) > 1 else 0
