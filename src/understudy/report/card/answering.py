"""What only the card of a model that answers for texts shows: a classifier or a regression model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.report.card.alone import alone
from understudy.report.card.facts import folder_path
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.card.pruning import pruning_lines
from understudy.report.metric_names import capitalised, metric_name
from understudy.report.scores import Record, main_model, main_name, selecting_metric

_ANSWERS = {
    "single_label": "one of {n} classes",
    "multi_label": "any number of {n} labels",
    "regression": "a number",
}
_LABELS_SHOWN = 60
_MISTAKES_SHOWN = 5


def task_words(record: Record) -> dict[str, Any]:
    """What a model for this task reads (``pair`` or one text) and what it answers."""
    task = record["task"]
    labels = task.get("labels") or []
    return {"pair": len(task["text"]) == 2, "answer": _ANSWERS[task["kind"]].format(n=len(labels))}


def answering_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that only ``card.md.j2`` uses."""
    words, path = task_words(record), one_line(folder_path(folder))
    labels = list(record["task"].get("labels") or [])
    found = alone(main_model(record), record["task"], path)
    return words | {
        "alone": Markdown("" if found is None else found.said),
        "alone_code": Markdown("" if found is None else found.code),
        "shell_example": Markdown(_shell_example(path, pair=words["pair"])),
        "python_example": Markdown(_python_example(path, pair=words["pair"])),
        "confused": confused_pairs(main_model(record), labels),
        "mistakes": [
            (" / ".join(entry["texts"]), entry["label"], entry["answer"], f"{100 * entry['confidence']:.0f} %")
            for entry in (record.get("mistakes") or [])[:_MISTAKES_SHOWN]
        ],
        "main": main_name(record),
        "pruning": pruning_lines(record),
        "metric": _of_class(selecting_metric(record), labels),
        "others": [_of_class(other, labels, short=True) for other in record["task"]["metrics"][1:]],
        "labels": labels[:_LABELS_SHOWN],
        "more_labels": max(len(labels) - _LABELS_SHOWN, 0),
        "max_length": (record.get("config") or {}).get("max_length"),
    }


def confused_pairs(model: Mapping[str, Any], labels: Sequence[str], most: int = 5) -> list[tuple[str, str, str, str]]:
    """The pairs of classes that a model confuses most: true class, answer, rows, share of the true class's rows.

    Of pairs of equally many rows the one with the larger share comes first.

    Args:
        model: an entry of a record, with its ``confusion`` where it has one: true classes in rows.
        labels: the classes in that order.
        most: how many pairs at most.

    Example:
        >>> confused_pairs({"confusion": [[8, 2], [0, 5]]}, ["no", "yes"])
        [('no', 'yes', '2', '20.0 %')]
        >>> confused_pairs({"confusion": [[8, 1], [1, 4]]}, ["no", "yes"])
        [('yes', 'no', '1', '20.0 %'), ('no', 'yes', '1', '11.1 %')]
    """
    counts = model.get("confusion") or []
    if len(counts) != len(labels):
        return []
    pairs = [(rows, i, j) for i, line in enumerate(counts) for j, rows in enumerate(line) if i != j and rows > 0]
    return [
        (labels[i], labels[j], f"{rows:,}", f"{100 * rows / sum(counts[i]):.1f} %")
        for rows, i, j in sorted(pairs, key=lambda pair: (-pair[0], sum(counts[pair[1]])))[:most]
    ]


def _of_class(metric: str, labels: Sequence[str], *, short: bool = False) -> str:
    """The name of a metric in a heading; F1 of two classes with the one that it is of: the second."""
    name = capitalised(metric_name(metric, short=short))
    return f'{name} of "{labels[1]}"' if metric == "f1" and len(labels) == 2 else name


def _shell_example(path: str, *, pair: bool) -> str:
    texts = r"'first text\tsecond text\n'" if pair else r"'a text\nanother one\n'"
    return f"printf {texts} | understudy predict --model {shlex.quote(path)}"


def _python_example(path: str, *, pair: bool) -> str:
    texts = '[("first text", "second text")]' if pair else '["a text", "another one"]'
    return (
        f"import understudy\n\nmodel = understudy.load({json.dumps(path, ensure_ascii=False)})\nmodel.predict({texts})"
    )
