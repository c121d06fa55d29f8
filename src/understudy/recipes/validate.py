"""``understudy validate``: everything that can be wrong with a command, found without training."""

from __future__ import annotations

from typing import Any

from understudy.errors import ConfigError, UnderstudyError
from understudy.recipes.settings import DataSettings, check


def validate(command: str, recipe: Any) -> list[str]:
    """Check a recipe's settings, its data and its output folder; print what was found to be in order.

    Returns:
        What the data layer counted and said.

    Raises:
        ConfigError: with every fault, those of the data among them.
    """
    faults: list[str] = []
    notes: list[str] = []
    try:
        check(recipe)
    except UnderstudyError as error:
        faults += error.faults
    if isinstance(recipe, DataSettings) and not recipe.data_faults():
        try:
            notes = _data_notes(command, recipe)
        except UnderstudyError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    for note in notes:
        print(note)
    print(f"understudy {command}: no fault found.")
    return notes


def _data_notes(command: str, recipe: Any) -> list[str]:
    distills = command == "distill"
    pool = {"unlabeled": recipe.unlabeled, "pool_rest": recipe.pool_rest} if distills else {}
    splits = recipe.load(seed=recipe.seed, allow_unlabelled=distills, **pool)
    task = splits.task
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test, "unlabeled": splits.unlabeled}
    rows = ", ".join(f"{name} {len(part):,}" for name, part in parts.items() if part is not None)
    text = " and ".join("+".join(columns) for columns in task.text)
    labels = f"; labels {', '.join(task.labels)}" if task.labels else ""
    return [f"rows: {rows}", f"task: {task.kind} from {text} to {task.label}{labels}", *splits.notes]
