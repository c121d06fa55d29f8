"""Families of runs: a parent folder whose record lists its children and sums them up."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import Interrupted, UnderstudyError
from understudy.failpoints import failpoint
from understudy.folders.run import Run
from understudy.record import RunRecord
from understudy.report.aggregate import aggregate, reporting_split
from understudy.report.card.write import write_card
from understudy.report.tables.tasks import result_table
from understudy.report.verdict import counted_verdicts, family_verdict
from understudy.runs.judging.leaks import doubts_of
from understudy.runs.session import check_inputs, go_on, open_folder
from understudy.settings.configuration import as_dict
from understudy.settings.values import seconds
from understudy.terminal.lines import say, show
from understudy.terminal.screen import draw


def run_child(parent: Run, name: str, recipe: Any) -> RunRecord:
    """Run one child in the folder `name` of its parent; one that is finished is skipped, an unfinished one resumed.

    Args:
        recipe: the child's; its output, ``resume`` and ``overwrite`` are set here.
    """
    folder = parent.folder / name
    failpoint("family.child")
    child = f"{name}/record.json"
    if child not in parent.record.children:  # before it begins: what is in its folder is the family's
        parent.record.children.append(child)
        parent.save()
    known = finished_record(folder)
    return known or dataclasses.replace(recipe, output=str(folder), resume=True, overwrite=False).run()


def finished_record(folder: Path) -> RunRecord | None:
    """The record of a run that is finished; None if it is not, or has not begun."""
    path = folder / "record.json"
    record = RunRecord.load(path) if path.exists() else None
    return record if record is not None and record.finished else None


def run_seeds(recipe: Any) -> RunRecord:
    """Run a recipe once for each of its ``seeds``, in folders of their own, and sum them up in the parent's record.

    A child that fails is named in the record's notes and the others go on; ``--resume`` then tries it again. A family
    that was killed goes on with the unfinished child.

    Raises:
        UnderstudyError: in the end, if a child failed by a mistake of the user's.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    if recipe.dry_run:
        show(f"{len(recipe.seeds)} runs, one a seed ({' '.join(map(str, recipe.seeds))}); the first of them:")
        dataclasses.replace(recipe, seed=recipe.seeds[0], seeds=[]).run()
        return RunRecord(command=recipe.command, config=as_dict(recipe), seed=recipe.seed)
    first = dataclasses.replace(recipe, seed=recipe.seeds[0], seeds=[])
    first.prepare(first.read())  # faults of data and models are said once, before anything is written or replaced
    with open_folder(recipe) as run:
        if run.record.finished:
            show(f"{run.folder}: this family of runs is finished already; nothing to do.")
            return run.record
        return _run_children(run, recipe)


def _run_children(run: Run, recipe: Any) -> RunRecord:
    members = {f"seed-{seed}": dataclasses.replace(recipe, seed=seed, seeds=[]) for seed in recipe.seeds}
    children, failed = run_members(run, recipe, members)
    for note in doubts_of(children):
        run.say(note)
    _sum_up(run, list(children.values()), complete=not failed)
    raise_failed(run, failed, go_on(run.folder, recipe))
    return run.record


def run_members(
    run: Run, recipe: Any, members: Mapping[str, Any], *, deadline: float | None = None, later: int = 0
) -> tuple[dict[str, RunRecord], dict[str, Exception]]:
    """Run the children of a family that are not finished yet, each in the folder of its name.

    A child that fails is named in the record's notes and the others go on. The time budget is shared evenly among those
    that are left.

    Args:
        recipe: the parent's.
        members: the children's recipes, by name.
        deadline: of the whole family, see :func:`deadline_of`; by default it is set now.
        later: how many runs of the family come after these.

    Returns:
        The records of the children, and the faults of those that failed.

    Raises:
        Interrupted: on SIGTERM or Ctrl-C.
    """
    run.record.notes = []
    children: dict[str, RunRecord] = {}
    failed: dict[str, Exception] = {}
    deadline = deadline_of(recipe) if deadline is None else deadline
    for number, (name, member) in enumerate(members.items()):
        said = name.replace("seed-", "seed ")
        show(f"\n{said}, {number + 1} of {len(members)}")
        child = dataclasses.replace(member, time_budget=share_of(deadline, len(members) - number + later))
        check_inputs(run, [*recipe.data_read(), *recipe.models_read()])
        run.save()
        try:
            children[name] = run_child(run, name, child)
        except Interrupted as error:
            error.remedy = go_on(run.folder, recipe)
            raise
        except Exception as error:
            failed[name] = error
            if not isinstance(error, UnderstudyError):
                say(traceback.format_exc())
            run.say(f"{said} failed: {' '.join(str(error).split())}")
            run.save()
    return children, failed


def deadline_of(recipe: Any) -> float | None:
    """When the time budget of a family that begins now is used up; None without one."""
    total = seconds(recipe.time_budget) if recipe.time_budget else None
    return None if total is None else time.monotonic() + total


def share_of(deadline: float | None, children: int) -> str | None:
    """The time budget of the next child: an equal share of what is left."""
    return None if deadline is None else f"{max((deadline - time.monotonic()) / children, 1.0):.0f}s"


def _sum_up(run: Run, children: list[RunRecord], *, complete: bool) -> None:
    """Put means and deviations on the parent's record, write its card, print the table."""
    if not children:
        return
    record, first = run.record, children[0]
    record.task, record.data = first.task, {}
    record.versions, record.hardware = first.versions, first.hardware
    parsed = [child.as_dict() for child in children]
    record.split, record.aggregate = reporting_split(parsed), aggregate(parsed)
    record.verdicts = counted_verdicts(parsed)
    run.save()
    if not run.writes:
        return
    write_card(run.folder, record.as_dict())
    if complete:
        run.finish()
    draw(result_table(record.as_dict()))
    show(f"Everything is in {run.folder}")
    if (found := family_verdict(record.as_dict())) is not None:
        show(found)


def raise_failed(run: Run, failed: Mapping[str, Exception], remedy: str) -> None:
    """Raise what children of a family failed by, if any did: a mistake of ours as it is, those of the user's together."""
    for error in failed.values():
        if not isinstance(error, UnderstudyError):
            raise error
    if failed:
        raise UnderstudyError(
            *(
                f"{name.replace('seed-', 'seed ')}: {fault}"
                for name, error in failed.items()
                for fault in getattr(error, "faults", ())
            ),
            f"{len(failed)} of the runs in {run.folder} failed. Fix that first. {remedy}",
        )
