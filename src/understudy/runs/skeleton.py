"""The skeleton of a run: check, read, prepare, plan, dry run, open, train, conclude. Every training command has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from understudy.models.files.pretrained import noting
from understudy.record import RunRecord
from understudy.runs.concluding import finish
from understudy.runs.devices import machine_faults, on_threads
from understudy.runs.judging.leaks import leak_notes, note_learnt
from understudy.runs.plans import say_notes, say_plan
from understudy.runs.seeds import run_seeds
from understudy.runs.session import Session, open_session
from understudy.runs.subject import Described
from understudy.runs.threads.choice import Threads, as_begun, choose
from understudy.settings.configuration import as_dict, check
from understudy.terminal.lines import silence


class Work(Described, Protocol):
    """What a recipe prepares and the skeleton carries out."""

    def plan_lines(self) -> Mapping[str, str]:
        """What is about to be done, a line a fact: rows, tokens, steps, time, memory."""
        ...

    def carry_out(self, session: Session) -> None:
        """Train, save, and put every model on the record."""
        ...


class TrainingRecipe:
    """The base of a training command's recipe, before its settings: ``class Finetune(TrainingRecipe, FinetuneSettings)``."""

    def faults(self) -> list[str]:
        """What is wrong with the settings, as far as it shows without reading data or weights."""
        return [*super().faults(), *machine_faults(self)]  # type: ignore[misc,arg-type]

    def read(self) -> Any:
        """Read and check the data."""
        raise NotImplementedError

    def prepare(self, data: Any) -> Work:
        """Load, build and check the models."""
        raise NotImplementedError

    def prepared(self, data: Any) -> Work:
        """What :meth:`prepare` returns, with what there is to say of the checkpoints among its notes."""
        notes: list[str] = []
        with noting(notes):
            work = self.prepare(data)
        work.notes = [*work.notes, *notes, *leak_notes(work.subject, self.models_read())]  # type: ignore[misc,attr-defined]
        return work

    def conclude(self, session: Session, work: Work) -> None:
        """Do the work in an open run, and write the report."""
        if session.run.writes:
            note_learnt(session.run.folder, work.subject, session.settings.models_read())
        later: list[str] = []
        with noting(later):
            work.carry_out(session)
        # of checkpoints that were loaded only then: those that were loaded again have had their notes
        for note in later:
            if note not in session.run.record.notes:
                session.run.say(note)
        finish(session)

    def say_plan(self, work: Work, threads: Threads) -> None:
        """Print what is about to be done."""
        with on_threads(threads.training):
            lines = work.plan_lines()
        say_plan({**lines, "threads": threads.line})

    def run(self) -> RunRecord:
        """Check everything, then train, keep the weights that are best on the validation data, and report.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the models, before any training.
            Interrupted: on SIGTERM or Ctrl-C, with a checkpoint written.
        """
        settings: Any = self
        with silence(settings.quiet):
            check(settings)
            with as_begun(settings):
                return run_seeds(settings) if settings.seeds else self._run(settings)

    def _run(self, settings: Any) -> RunRecord:
        """One run, of checked settings."""
        work = self.prepared(self.read())
        threads = choose(settings, work)
        self.say_plan(work, threads)
        if settings.dry_run:
            say_notes([*work.subject.notes, *work.notes])
            return RunRecord(command=settings.command, config=as_dict(settings), seed=settings.seed)
        with open_session(settings, work, threads) as session:
            if not session.run.record.finished:
                self.conclude(session, work)
            return session.run.record
