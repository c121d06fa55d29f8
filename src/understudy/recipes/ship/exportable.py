"""What can become a folder that answers without torch, and the rows that it was validated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from understudy.commands import recipe_class
from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Task
from understudy.errors import ModelError, UnderstudyError
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.loading import load
from understudy.record import RunRecord
from understudy.settings.configuration import build
from understudy.settings.documents import read_documents
from understudy.terminal.lines import say


def load_exportable(name: str, *, task: str | None) -> Predictor | ExportedPredictor:
    """A trained network, or an exported one.

    Raises:
        ModelError: if it cannot be loaded, has no graph, or answers for several tasks of which `task` names none.
    """
    model = load(name, task=task)
    if isinstance(model, TaskPredictors):
        raise ModelError(
            f"{name}: is a model for several tasks ({', '.join(model)}), and a folder answers for one. Say which with --task."
        )
    if isinstance(model, LinearPredictor):
        raise ModelError(
            f"{name}: is TF-IDF with a linear model, which has no graph to export: it computes with NumPy as it is. Distil it into a static student: understudy distill --teacher {name} --student static --data ROWS."
        )
    found: Predictor | ExportedPredictor = model
    return found


def validation_rows(name: str, task: Task) -> Rows | None:
    """The validation rows of the run that trained a model; None if they are not there any more."""
    found = rows_of_run(name)
    if found is None or not len(found.validation):
        return None
    same = [(one.is_pair, one.kind, one.labels) for one in (found.task, task)]
    return found.validation if same[0] == same[1] else None


def rows_of_run(name: str) -> Splits | None:
    """The rows of the run that trained a model; None if they are not there any more."""
    here = Path(name).expanduser()
    config = next((path for folder in (here, here.parent) if (path := folder / "config.yaml").is_file()), None)
    if config is None:
        return None
    try:
        validated = RunRecord.load(config.with_name("record.json")).data["validation"]["fingerprint"]
        (content,) = read_documents(str(config))
        command = str(content.pop("command"))
        if command not in ("finetune", "distill", "prune", "glue"):
            return None
        found = build(recipe_class(command), content).read()
        if command == "glue" and len(found) == 1:
            (one,) = found
            found = replace(one.splits, test=one.others.get("test"))
    except (UnderstudyError, OSError, ValueError, LookupError) as error:
        say(f"  {name}: the rows of its run cannot be read any more ({' '.join(str(error).split())[:160]}).")
        return None
    if not isinstance(found, Splits):
        return None
    if found.validation.texts.fingerprint != validated:  # a split of another file may hold what was trained on
        say(f"  {name}: the data of its run have changed since, so its validation rows are not known any more.")
        return None
    return found
