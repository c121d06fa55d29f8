"""The scores of a task on all its parts, and the files that people know from GLUE's scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.atomic import write_bytes
from understudy.data.glue.read import TaskData
from understudy.data.glue.tasks import DIAGNOSTIC, GLUE
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.evaluation.quality import Evaluation, evaluate
from understudy.functional.glue_score import task_score
from understudy.functional.metrics import is_undefined
from understudy.functional.scoring import scored_rows
from understudy.inference.answering import Answering
from understudy.objectives.supervised import label_loss
from understudy.report.metric_names import MISMATCHED
from understudy.runs.session import Session

_SHORT = {"validation": "", "validation_mismatched": MISMATCHED}
"""The parts that GLUE's scripts report, and what their names end with."""
_SCRIPTS = {"matthews": "matthews_correlation", "spearman": "spearmanr"}
"""The scripts' names of our metrics, where they differ. The hub's cards have others: Pearson's is `pearsonr` there."""


def scored_parts(
    session: Session,
    model_name: str,
    task_name: str,
    model: Answering,
    parts: Mapping[str, Rows],
    *,
    metrics: Sequence[str],
) -> tuple[dict[str, Evaluation], dict[str, np.ndarray]]:
    """A model's scores on every part; a correlation that has no value is said to be 0 by convention.

    Args:
        parts: rows with labels, by split. The confusion matrix is of ``test`` where there is one, else of the first.
        metrics: those of the task in the data: a teacher that was trained elsewhere may have others.

    Returns:
        The scores and the model's answers, ``(rows, outputs)``, by split.
    """
    main = "test" if "test" in parts else next(iter(parts))
    found = {}
    answers = {split: session.answers(model, rows.texts) for split, rows in parts.items()}
    for split, rows in parts.items():
        outputs = answers[split]
        task = replace(model.task, metrics=GLUE["ax"].metrics if split == DIAGNOSTIC else tuple(metrics))
        scores = evaluate(
            outputs, rows.labels, task, intervals=True, temperature=model.temperature, seed=session.settings.seed
        )
        found[split] = scores if split == main else replace(scores, confusion=None, calibration=None)
        for metric in task.metrics:
            if is_undefined(metric, *scored_rows(outputs, rows.labels)):
                session.run.say(
                    f"{task_name}, {model_name}: {metric} on the {split} split has no value, because all answers or all labels there are equal; it is reported as 0."
                )
    return found, answers


def dev_scores(entry: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The scores of GLUE's development set in a model's entry on the record: of MNLI two, matched and mismatched."""
    return {split: scores for split, scores in entry["metrics"].items() if split in _SHORT}


def glue_number(entry: Mapping[str, Any]) -> float:
    """A task's one number in GLUE's table: the mean of its metrics on the development set."""
    return task_score(dev_scores(entry).values())


def mean_loss(outputs: np.ndarray, rows: Rows, task: Task) -> float:
    """The mean loss of a model's answers to rows with labels, as training has it: in nats, or in squared units."""
    logits, labels = (torch.from_numpy(part) for part in scored_rows(outputs, rows.labels))
    return float(label_loss(logits, labels, task.kind).double().mean())


def write_results(
    folder: Path,
    entry: Mapping[str, Any],
    data: TaskData,
    training: Mapping[str, Any],
    losses: Mapping[str, float],
) -> None:
    """Write ``eval_results.json`` and ``eval_results_<task>.txt``, under the names that GLUE's scripts gave.

    The text is one ``name = value`` a line; mismatched MNLI has a file of its own there, and names with ``_mm`` in the
    JSON.

    Args:
        entry: the model's, on the record.
        training: how its training went, on the record.
        losses: the mean loss on each split.
    """
    rows = {"validation": data.splits.validation, **data.others}
    whole: dict[str, Any] = {"epoch": float(training["epochs"])}
    for split, scores in dev_scores(entry).items():
        end = _SHORT[split]
        found = {f"eval_{_SCRIPTS.get(name, name)}{end}": value for name, value in scores.items()}
        found[f"eval_loss{end}"] = losses[split]
        if len(scores) > 1:
            found[f"eval_combined_score{end}"] = task_score([scores])
        found[f"eval_samples{end}"] = len(rows[split])
        whole |= found
        lines = "".join(f"{name.removesuffix(end)} = {value}\n" for name, value in sorted(found.items()))
        write_bytes(folder / f"eval_results_{data.name}{end.replace('_', '-')}.txt", lines.encode())
    write_bytes(folder / "eval_results.json", (json.dumps(whole, indent=4, sort_keys=True) + "\n").encode())


def union_of_metrics(tasks: Sequence[Task]) -> list[str]:
    """The metrics of several tasks, each once, in order."""
    return list(dict.fromkeys(metric for task in tasks for metric in task.metrics))
