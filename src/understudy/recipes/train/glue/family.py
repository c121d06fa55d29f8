"""Several tasks: each by itself, or each on the encoder of the one before; their runs, and the table of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.data.glue.read import TaskData
from understudy.data.glue.submission import FILES, submission_faults, write_zip
from understudy.data.glue.tasks import BESIDE, NINE
from understudy.errors import Interrupted
from understudy.folders.run import Run
from understudy.functional.glue_score import average
from understudy.functional.metrics import AVERAGE
from understudy.recipes.train.glue.results import dev_scores, glue_number
from understudy.record import RunRecord
from understudy.report.card.write import write_card
from understudy.report.scores import MULTI_TASK, PROBE
from understudy.report.tables.tasks import tasks_table
from understudy.runs.judging.leaks import doubts_of
from understudy.runs.seeds import deadline_of, raise_failed, run_child, run_members, share_of
from understudy.runs.session import check_inputs, go_on, open_folder
from understudy.settings.configuration import as_dict
from understudy.settings.train.glue import GlueSettings
from understudy.terminal.lines import say, show
from understudy.terminal.screen import draw

DIRECT = "direct"
"""The run of the last task without the stages before it."""


def task_recipe(recipe: Any, name: str, **changes: Any) -> Any:
    """The recipe of one task of several, trained by itself."""
    return dataclasses.replace(recipe, task=name, tasks=[], mode="single", **changes)


def tasks_alone(recipe: Any, data: Sequence[TaskData]) -> dict[str, Any]:
    """The recipe of each task by itself; answers for the leaderboard are written where there is a test file."""
    return {task.name: task_recipe(recipe, task.name, submit=recipe.submit and bool(task.tests)) for task in data}


def run_each(recipe: Any, data: Sequence[TaskData]) -> RunRecord:
    """Train each task by itself, in a folder of its own; the parent's table is GLUE's.

    A task that fails is named and the others go on. A family that was killed goes on with the unfinished task.

    Raises:
        UnderstudyError: in the end, if a task failed by a mistake of the user's.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    with open_folder(recipe) as run:
        if is_done(run):
            return run.record
        children, failed = run_members(run, recipe, tasks_alone(recipe, data))
        entries = [entry_of(record, name) for name, record in children.items()]
        sum_up(run, recipe, children, [*entries, *_average(_of_glue(children, recipe))])
        if recipe.submit and run.writes:
            _submission(run, list(children))
        raise_failed(run, failed, go_on(run.folder, recipe))
        return conclude(run)


def run_stages(recipe: Any, names: list[str]) -> RunRecord:
    """Train the tasks one after another, each on the encoder of the one before with a new head; the last one directly too.

    Raises:
        UnderstudyError: if a stage failed: those after it cannot begin.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    with open_folder(recipe) as run:
        if is_done(run):
            return run.record
        children: dict[str, RunRecord] = {}
        encoder: Path | None = None
        deadline = deadline_of(recipe)
        try:
            for number, name in enumerate(names, start=1):
                show(
                    f"\nstage {number} of {len(names)}: {name}"
                    + (f", on the encoder of {encoder.name}" if encoder else "")
                )
                folder = f"{number}-{name}"
                start = {} if encoder is None else {"model": "", "encoder_from": str(encoder)}
                share = share_of(deadline, len(names) + 2 - number)  # the direct run comes after them
                children[folder] = _child(run, recipe, folder, task_recipe(recipe, name, time_budget=share, **start))
                encoder = run.folder / folder
            show(f"\n{names[-1]} by itself, to compare")
            direct = task_recipe(recipe, names[-1], time_budget=share_of(deadline, 1))
            children[DIRECT] = _child(run, recipe, DIRECT, direct)
        except Interrupted as error:
            error.remedy = go_on(run.folder, recipe)
            raise
        last = list(children)[-2]
        before = " and ".join(names[:-1])
        entries = [
            entry_of(children[last], f"{names[-1]} after {before}"),
            entry_of(children[DIRECT], f"{names[-1]} directly"),
        ]
        stages = [entry_of(children[folder], f"stage {folder}") for folder in list(children)[:-2]]
        sum_up(run, recipe, children, [*entries, *stages])
        return conclude(run)


def _child(run: Run, recipe: Any, name: str, child: Any) -> RunRecord:
    check_inputs(run, [*recipe.data_read(), *recipe.models_read()])
    run.save()
    return run_child(run, name, child)


def is_done(run: Run) -> bool:
    """Whether a family is finished already; it is said."""
    if run.record.finished:
        show(f"{run.folder}: these runs are finished already; nothing to do.")
    return run.record.finished


def entry_of(record: RunRecord, name: str) -> dict[str, Any]:
    """The entry of a task's model on the record of several."""
    return {
        **{key: value for key, value in record.model("model").items() if key not in ("confusion", "calibration")},
        "name": name,
    }


def _of_glue(children: Mapping[str, RunRecord], recipe: GlueSettings) -> dict[str, RunRecord]:
    """The runs of GLUE's own tasks: one of the user's may be called like one of them."""
    own = recipe.own_tasks()
    return {name: record for name, record in children.items() if name in NINE and name not in own}


def _average(children: Mapping[str, RunRecord]) -> list[dict[str, Any]]:
    """GLUE's average over the tasks that are there, as an entry; none if no task of GLUE is."""
    scores = {name: glue_number(record.model("model")) for name, record in children.items() if name in NINE}
    found = average(scores, beside=BESIDE)
    return [] if found is None else [{"name": AVERAGE, "metrics": {"validation": {AVERAGE: found}}}]


def sum_up(
    run: Run,
    recipe: GlueSettings,
    children: Mapping[str, RunRecord],
    entries: list[dict[str, Any]],
) -> None:
    """Put the tasks' models on the parent's record, all on the development set, with what the runs say against their scores."""
    record = run.record
    for note in [*doubts_of(children), *said_of_probes(children)]:
        run.say(note)
    # the parts on which everyone reports: a test split that some tasks have would make a table of two kinds of rows
    record.models = [{**entry, "metrics": dev_scores(entry)} for entry in entries]
    for entry in record.models:
        entry.pop("intervals", None)
    metrics = {metric: None for entry in record.models for scores in entry["metrics"].values() for metric in scores}
    first = [metric for metric in metrics if metric == AVERAGE]
    record.task = {"kind": MULTI_TASK, "metrics": [*first, *(metric for metric in metrics if metric != AVERAGE)]}
    record.data = {f"{name}, {part}": entry for name, child in children.items() for part, entry in child.data.items()}
    record.split = "validation"
    of_glue = _of_glue(children, recipe)
    counted = [name for name in of_glue if name not in BESIDE]
    missing = [name for name in NINE if name not in of_glue and name not in BESIDE]
    if recipe.mode == "single" and counted and missing:
        run.say(
            f"the average is over {len(counted)} of GLUE's 8 tasks ({', '.join(missing)} not among them), so it compares with other averages over the same tasks only."
        )
    run.save()


def said_of_probes(children: Mapping[str, RunRecord]) -> list[str]:
    """Which runs ended as the probe that they began with, in a sentence."""
    kept = {name: record.training.get("train", {}).get("start", {}).get("kept") for name, record in children.items()}
    names = [name for name, what in kept.items() if what == PROBE]
    if not names:
        return []
    return [
        f"{', '.join(names)}: fine-tuning was no gain, so the model is the probe that it began with, on the encoder as it was: nothing of the task is in that encoder."
    ]


def conclude(run: Run) -> RunRecord:
    """Write the card, mark the family as finished, print the table."""
    if run.writes:
        write_card(run.folder, run.record.as_dict())
        run.finish()
        draw(tasks_table(run.record.as_dict()))
        show(f"Everything is in {run.folder}")
    return run.record


def _submission(run: Run, names: list[str]) -> None:
    """The zip of all tasks' answers, if none is missing."""
    found = {
        path.stem: path
        for name in names
        for path in sorted((run.folder / name / "submission").glob("*.tsv"))
        if path.stem in FILES
    }
    missing = _missing(found)
    if missing:
        run.say(f"no submission.zip, because {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing.")
        return
    path = run.folder / "submission.zip"
    write_zip(path, found)
    faults = submission_faults(str(path))
    for fault in faults:
        run.say(fault)
    show(f"{path}: all eleven files, {'but the leaderboard would refuse them so' if faults else 'for the leaderboard'}")


def _missing(there: Collection[str]) -> list[str]:
    """The files of a submission that are not there."""
    return [f"{file}.tsv" for file in FILES if file not in there]


def say_missing(data: Sequence[TaskData]) -> None:
    """Say before training which files of a submission will not be there."""
    missing = _missing({file for task in data for file in task.tests})
    if missing:
        say(
            f"  --submit: without a test file there is no {', '.join(missing)}, and so no submission.zip. The other tasks' files are written."
        )


def say_family(recipe: Any, data: Sequence[TaskData]) -> RunRecord:
    """Print what several runs would do, without a folder."""
    names = [task.name for task in data]
    runs, how = {
        "sequential": (len(names) + 1, f"each on the encoder of the one before, then {names[-1]} by itself"),
        "transfer": (len(names) ** 2, "each by itself, then each on the encoder of every other"),
    }.get(recipe.mode, (len(names), "each by itself"))
    show(f"{len(names)} tasks ({' '.join(names)}), {runs} runs: {how}. A run of each task:")
    for alone in tasks_alone(recipe, data).values():
        alone.run()
    return RunRecord(command=recipe.command, config=as_dict(recipe), seed=recipe.seed)
