"""The trials of a search: rung after rung, the best of each going on; a search that was killed goes on with the rest."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from understudy.data.splits import Splits
from understudy.evaluation.halving import promoted, rungs, sizes
from understudy.folders.run import Run
from understudy.recipes.choose.search.finishing import finish_search
from understudy.recipes.choose.search.looking import begun, costs_of, fitting, look, say_search
from understudy.recipes.choose.search.records import folder_of, scores_on
from understudy.recipes.choose.search.trials import texts_of
from understudy.record import RunRecord
from understudy.report.searching.table import search_table
from understudy.runs.processes.children import run_apart
from understudy.runs.seeds import raise_failed
from understudy.runs.session import go_on, open_folder
from understudy.runs.subject import Subject
from understudy.settings.choose.candidates import candidate
from understudy.settings.configuration import as_dict
from understudy.settings.values import seconds
from understudy.terminal.lines import show
from understudy.terminal.screen import draw


class Ladder(NamedTuple):
    """Which students are trained on which rung."""

    names: list[str]
    """Those that fit, the cheapest first."""
    counts: list[int]
    """How many there are on each rung."""

    @property
    def rungs(self) -> int:
        """How many rungs there are."""
        return len(self.counts)


def run_search(settings: Any, splits: Splits) -> RunRecord:
    """Measure, refuse what fits nothing, train rung after rung, write the best model that fits.

    Args:
        settings: of the search; also the recipe of which each trial is a changed copy.

    Raises:
        ConfigError: before any training, if nothing fits.
        UnderstudyError: in the end, if a student failed by a mistake of the user's.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    found = begun(settings) or look(settings, splits)
    names = fitting(found)
    work = texts_of(splits) * max(found["measured"][name]["epochs"] for name in names)
    how_many = rungs(len(names), eta=settings.eta, most=settings.rungs, work=work)
    ladder = Ladder(names, sizes(len(names), eta=settings.eta, of=how_many))
    say_search(settings, splits, found, ladder.counts)
    if settings.dry_run:
        record = RunRecord(command=settings.command, config=as_dict(settings), seed=settings.seed)
        record.task, record.findings = splits.task.as_dict(), found
        draw(search_table(record.as_dict()))
        return record
    with open_folder(settings) as run:
        if run.record.finished:
            show(f"{run.folder}: this search is finished already; nothing to do.")
            return run.record
        _describe(run, splits, found)
        reached, failed = climb(run, settings, ladder)
        chosen = finish_search(run, settings, splits, reached, last=ladder.rungs, failed=failed)
        if chosen and not failed:
            run.finish()
        raise_failed(run, failed, go_on(run.folder, settings))
        return run.record


def _describe(run: Run, splits: Splits, found: dict[str, Any]) -> None:
    """Put on the record what the search is about, and what was measured: a search that goes on takes it from there."""
    subject = Subject.of_rows(splits)
    run.record.task, run.record.data, run.record.findings = dict(subject.task), subject.data(), found
    run.record.notes = []
    for note in [*subject.notes, *found["notes"]]:
        run.say(note)
    run.save()


def climb(run: Run, settings: Any, ladder: Ladder) -> tuple[dict[str, int], dict[str, Exception]]:
    """Train the students of each rung, each trial in a process of its own.

    Returns:
        The last rung on which each student was trained, and the faults of the trials that failed.
    """
    costs = costs_of(run.record.findings)
    alive, reached, failed = ladder.names, dict[str, int](), dict[str, Exception]()
    total = seconds(settings.time_budget) if settings.time_budget else None
    deadline = None if total is None else time.monotonic() + total
    for number, count in enumerate(ladder.counts, 1):
        alive = promoted(scores_on(run.folder, alive, number - 1), costs, count) if number > 1 else alive
        if not alive:
            break
        show(f"\nrung {number} of {ladder.rungs}: {', '.join(alive)}")
        left = None if deadline is None else max(deadline - time.monotonic(), 1.0) / (ladder.rungs - number + 1)
        failed |= _train(run, settings, alive, number, of=ladder.rungs, budget_s=left)
        reached |= dict.fromkeys(scores_on(run.folder, alive, number), number)
    return reached, failed


def _train(
    run: Run, settings: Any, names: Sequence[str], number: int, *, of: int, budget_s: float | None
) -> dict[str, Exception]:
    members = {
        folder_of(name, number): dataclasses.replace(settings, students=[name], rung=number, rungs=of, parallel=1)
        for name in names
    }
    # of several at a time, one has the teacher label the texts of the rung; the others find its answers
    learner = next((name for name in names if candidate(name).kind != "tfidf"), None)
    first = [folder_of(learner, number)] if settings.parallel > 1 and learner is not None else []
    failed: dict[str, Exception] = {}
    began = time.monotonic()
    for some, parallel in ((first, 1), ([name for name in members if name not in first], settings.parallel)):
        if not some:
            continue
        left = None if budget_s is None else max(budget_s - (time.monotonic() - began), 1.0)
        if left is not None and some is first:  # as much as each of those that come after it
            left /= 1 + math.ceil((len(members) - 1) / settings.parallel)
        here = {name: members[name] for name in some}
        _, wrong = run_apart(run, settings, here, parallel=parallel, budget_s=left)
        failed |= wrong
    return failed
