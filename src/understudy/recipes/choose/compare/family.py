"""The runs of a comparison: models by seeds by numbers of rows, the distilled ones after their teachers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from understudy.errors import ModelError
from understudy.folders.run import Run
from understudy.recipes.choose.compare.contenders import encoder_of
from understudy.recipes.choose.compare.summing_up import sum_up
from understudy.recipes.choose.compare.tuning import tune
from understudy.record import RunRecord
from understudy.report.card.write import write_card
from understudy.report.comparison.pictures import draw_comparison
from understudy.report.comparison.recommending import recommendation
from understudy.report.comparison.tables import cost_table, quality_table
from understudy.runs.cluster.connection import checked_address
from understudy.runs.cluster.machines import spread_over
from understudy.runs.judging.leaks import doubts_of
from understudy.runs.processes.children import run_apart
from understudy.runs.seeds import finished_record, raise_failed
from understudy.runs.session import go_on, open_folder
from understudy.settings.choose.contestants import Contestant
from understudy.settings.configuration import as_dict
from understudy.settings.engine import LOCAL, RAY
from understudy.settings.values import seconds
from understudy.terminal.lines import show
from understudy.terminal.screen import draw


class Member(NamedTuple):
    """One run of a comparison."""

    model: Contestant
    entry: str
    """As ``--models`` has it."""
    seed: int
    rows: int | None
    """Training rows; None for all of them."""

    def folder(self, settings: Any) -> str:
        """The name of its folder in the comparison's."""
        rows = f"-{self.rows}-rows" if len(settings.limit_train) > 1 else ""
        seed = f"-seed-{self.seed}" if settings.seeds else ""
        return f"{self.model.folder}{rows}{seed}"


def members(settings: Any) -> Iterator[Member]:
    """All runs of a comparison: every model with the first seed and the most rows, then the others.

    So a comparison that is stopped early has something to say of every model.
    """
    for rows in sorted(settings.limit_train, reverse=True) or [None]:
        for seed in settings.seeds or [settings.seed]:
            for entry, model in zip(settings.models, settings.contestants(), strict=True):
                yield Member(model, entry, seed, rows)


def member_recipe(settings: Any, member: Member, *, teacher: str | None, tuned: Mapping[str, Any] | None = None) -> Any:
    """The recipe of one run.

    Args:
        tuned: the settings that were found for its model.
    """
    student = member.model.kind == "student" and not member.model.distilled
    return dataclasses.replace(
        settings,
        models=[member.entry],
        teacher=teacher if member.model.distilled else None,
        encoder=encoder_of(settings) if student else None,
        unlabeled=settings.unlabeled if member.model.distilled else None,
        seed=member.seed,
        seeds=[],
        limit_train=[] if member.rows is None else [member.rows],
        parallel=1,
        engine=LOCAL,
        search=None,
        ranges=[],
        **(tuned or {}),
    )


def run_family(settings: Any) -> RunRecord:
    """Tune and train every model, then those that are distilled from one of them; sum up what is there.

    A model that fails is named and the others go on. A comparison that was killed goes on with the unfinished runs.

    Raises:
        UnderstudyError: in the end, if a model failed by a mistake of the user's.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    with open_folder(settings) as run:
        if run.record.finished:
            show(f"{run.folder}: this comparison is finished already; nothing to do.")
            return run.record
        with spread_over(settings.engine, run.folder) as cluster:
            if cluster is not None:
                show(f"{settings.parallel} runs at a time on {cluster.line}")
            return _run_everyone(run, settings)


def _run_everyone(run: Run, settings: Any) -> RunRecord:
    """Tune and train in an open folder, and sum up."""
    run.record.notes = []
    everyone = {member.folder(settings): member for member in members(settings)}
    later = [name for name, member in everyone.items() if member.model.distilled and settings.teacher is None]
    groups = [[name for name in everyone if name not in later], later]
    work = [_work(settings, [everyone[name] for name in names]) for names in groups]
    total = seconds(settings.time_budget) if settings.time_budget else None
    began, failed = time.monotonic(), dict[str, Exception]()
    for number, names in enumerate(groups):
        left = None if total is None else max(total - (time.monotonic() - began), 1.0)
        share = None if left is None else left * work[number] / max(sum(work[number:]), 1)
        teachers = dict.fromkeys(names, settings.teacher)
        for name in names if number else []:
            teacher = _teacher(settings, everyone[name])
            teachers[name] = str(run.folder / teacher)
            if teacher in failed:
                failed[name] = ModelError(f"its teacher, {teacher}, failed, so it cannot learn.")
                run.say(f"{name} failed: {failed[name]}")
        alive = {name: everyone[name] for name in names if name not in failed}
        failed |= _train(run, settings, alive, teachers, budget_s=share)
    _conclude(run, settings, everyone, complete=not failed)
    raise_failed(run, failed, go_on(run.folder, settings))
    return run.record


def _work(settings: Any, some: Sequence[Member]) -> int:
    """How many runs there are for these, trials included."""
    return len(some) + (settings.search or 0) * len(_to_tune(some))


def _to_tune(some: Sequence[Member]) -> dict[str, Member]:
    """Of every model that is trained in steps, the first of its runs: its trials have that seed and those rows."""
    found: dict[str, Member] = {}
    for member in some:
        if member.model.kind != "tfidf":
            found.setdefault(member.model.folder, member)
    return found


def _train(
    run: Run,
    settings: Any,
    some: Mapping[str, Member],
    teachers: Mapping[str, str | None],
    *,
    budget_s: float | None,
) -> dict[str, Exception]:
    """Tune some of the models, if that is asked for, and train them; the faults of the runs that failed."""
    if not some:
        return {}
    began, tuned, failed = time.monotonic(), dict[str, dict[str, Any]](), dict[str, Exception]()
    first = _to_tune(list(some.values())) if settings.search else {}
    if first:
        trials = settings.search * len(first)
        share = None if budget_s is None else budget_s * trials / (trials + len(some))
        folders = {member.model.folder: name for name, member in reversed(list(some.items()))}
        recipes = {
            name: member_recipe(settings, member, teacher=teachers[folders[name]]) for name, member in first.items()
        }
        tuned, untuned = tune(run, settings, recipes, budget_s=share)
        for name, member in some.items():
            if (error := untuned.get(member.model.folder)) is not None:
                failed[name] = error
                run.say(f"{name} failed: none of its trials succeeded: {' '.join(str(error).split())}")
    ready = {
        name: member_recipe(settings, member, teacher=teachers[name], tuned=tuned.get(member.model.folder))
        for name, member in some.items()
        if name not in failed
    }
    left = None if budget_s is None else max(budget_s - (time.monotonic() - began), 1.0)
    _, others = run_apart(run, settings, ready, parallel=settings.parallel, budget_s=left)
    return failed | others


def _teacher(settings: Any, member: Member) -> str:
    """The folder of the run that teaches: the first encoder with the same seed and rows."""
    first = settings.first_encoder()
    return Member(first, "", member.seed, member.rows).folder(settings)


def _conclude(run: Run, settings: Any, everyone: dict[str, Member], *, complete: bool) -> None:
    """Sum up what is finished, draw and write it, say which model to ship."""
    if not sum_up(run, settings, everyone) or not run.writes:
        return
    children = {name: finished_record(run.folder / name) for name in everyone}
    for note in doubts_of({name: child for name, child in children.items() if child is not None}):
        run.say(note)
    record = run.record.as_dict()
    draw_comparison(run.folder, record)
    write_card(run.folder, record)
    if complete:
        run.finish()
    draw(quality_table(record))
    draw(cost_table(record))
    for sentence in recommendation(record):
        show(sentence)
    show(f"Everything is in {run.folder}")


def say_family(settings: Any) -> RunRecord:
    """Print what every model would do, with the first seed and the most rows, without a folder."""
    runs = list(members(settings))
    where = f" {checked_address().line}" if settings.engine == RAY else ""
    show(f"{len(runs)} runs of {len(settings.models)} models, {settings.parallel} at a time{where}; one of each model:")
    if settings.search:
        tunes = len(_to_tune(runs))
        show(f"before them {settings.search} trials of each of {tunes} models, over {' '.join(settings.ranges)}")
    for member in runs[: len(settings.models)]:
        show(f"\n{member.model.name}")
        if member.model.distilled and settings.teacher is None:
            show(f"  learns from {_teacher(settings, member)}, when that is trained")
        else:
            member_recipe(settings, member, teacher=settings.teacher).run()
    return RunRecord(command=settings.command, config=as_dict(settings), seed=settings.seed)
