"""``understudy validate``: everything that can be wrong with a command, found without training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.data.glue.read import TaskData
from understudy.data.readers.corpus import Corpus
from understudy.data.splits import Splits
from understudy.data.texts import Texts
from understudy.errors import ConfigError, gathered, shortened
from understudy.recipes.train.glue.recipe import Glue, check_submission
from understudy.recipes.train.pipeline import Pipeline, read_steps
from understudy.runs.skeleton import TrainingRecipe
from understudy.settings.configuration import check
from understudy.terminal.lines import show

_SHOWN = 3
"""So many rows show how the files were understood."""


def validate(command: str, recipe: Any) -> list[str]:
    """Check a recipe's settings, its data and, where those are in order, its models; print what was found.

    Returns:
        Sentences on the rows, the task and what the data layer counted.

    Raises:
        ConfigError: with every fault, those of the data and the models among them.
    """
    if isinstance(recipe, Glue) and recipe.submission is not None:
        check(recipe)
        check_submission(recipe.submission)
        return []
    faults: list[str] = []
    notes: list[str] = []
    with gathered(faults):
        check(recipe)
    if isinstance(recipe, Pipeline) and not faults:
        with gathered(faults):
            steps = read_steps(recipe.file)
            notes = [
                f"steps: {', '.join(step.command for step in steps)}. Their data and models are checked when they start."
            ]
    if isinstance(recipe, TrainingRecipe) and not recipe.data_faults():  # type: ignore[attr-defined]
        with gathered(faults):
            data = recipe.read()
            notes = [note for part in (data if isinstance(data, list) else [data]) for note in _said(part)]
            if not faults:
                notes += recipe.prepared(data).notes
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    for note in notes:
        show(note)
    show(f"understudy {command}: no fault found.")
    return notes


def _said(data: Any) -> list[str]:
    if data is None:  # an embedding model of an encoder alone
        return []
    if isinstance(data, Corpus):
        return _said_of_texts(data)
    if isinstance(data, TaskData):
        return [f"{data.name}:", *_said_of_rows(data.splits)]
    return _said_of_rows(data)


def _said_of_texts(corpus: Corpus) -> list[str]:
    counts = ", ".join(f"{name} {len(texts):,}" for name, texts in corpus.texts().items())
    return [f"texts: {counts}", *_first(corpus.train), *corpus.notes]


def _said_of_rows(splits: Splits) -> list[str]:
    task = splits.task
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test, "unlabeled": splits.unlabeled}
    rows = ", ".join(f"{name} {len(part):,}" for name, part in parts.items() if part is not None)
    text = " and ".join("+".join(columns) for columns in task.text)
    labels = f"; labels {', '.join(task.labels)}" if task.labels else ""
    first = _first(splits.train.texts, [_answer(splits, row) for row in range(min(_SHOWN, len(splits.train)))])
    return [f"rows: {rows}", f"task: {task.kind} from {text} to {task.label}{labels}", *first, *splits.notes]


def _first(texts: Texts, answers: Sequence[str] = ()) -> list[str]:
    """The first training rows as they were understood."""
    shown = []
    for number, row in enumerate(texts[:_SHOWN]):
        text = " | ".join(shortened(part, 70) for part in row)
        shown.append(f"  row {number + 1}: {text}" + (f" → {answers[number]}" if answers else ""))
    return shown


def _answer(splits: Splits, row: int) -> str:
    """The label of a training row, as its name."""
    task, label = splits.task, splits.train.labels[row]
    if not splits.train.labelled[row]:
        return "no label"
    if task.kind == "single_label":
        return task.labels[int(label)]
    if task.kind == "regression":
        return f"{float(label):g}"
    return ", ".join(name for name, on in zip(task.labels, label) if on) or "none of the labels"
