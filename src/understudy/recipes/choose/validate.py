"""``understudy validate``: everything that can be wrong with a command, found without training."""

from __future__ import annotations

from typing import Any

from understudy.data.glue.read import TaskData
from understudy.data.readers.corpus import Corpus
from understudy.data.splits import Splits
from understudy.errors import ConfigError, gathered
from understudy.recipes.train.glue.recipe import Glue, check_submission
from understudy.recipes.train.pipeline import Pipeline, read_steps
from understudy.runs.skeleton import TrainingRecipe
from understudy.settings.configuration import check
from understudy.terminal.lines import show


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
    if isinstance(data, Corpus):
        return _said_of_texts(data)
    if isinstance(data, TaskData):
        return [f"{data.name}:", *_said_of_rows(data.splits)]
    return _said_of_rows(data)


def _said_of_texts(corpus: Corpus) -> list[str]:
    return ["texts: " + ", ".join(f"{name} {len(texts):,}" for name, texts in corpus.texts().items()), *corpus.notes]


def _said_of_rows(splits: Splits) -> list[str]:
    task = splits.task
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test, "unlabeled": splits.unlabeled}
    rows = ", ".join(f"{name} {len(part):,}" for name, part in parts.items() if part is not None)
    text = " and ".join("+".join(columns) for columns in task.text)
    labels = f"; labels {', '.join(task.labels)}" if task.labels else ""
    return [f"rows: {rows}", f"task: {task.kind} from {text} to {task.label}{labels}", *splits.notes]
