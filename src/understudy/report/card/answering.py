"""What only the card of a model that answers for texts shows: a classifier or a regression model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from understudy.report.card.facts import folder_path
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.scores import Record

_ANSWERS = {
    "single_label": "one of {n} classes",
    "multi_label": "any number of {n} labels",
    "regression": "a number",
}
_LABELS_SHOWN = 60


def task_words(record: Record) -> dict[str, Any]:
    """What a model for this task reads (``pair`` or one text) and what it answers."""
    task = record["task"]
    labels = task.get("labels") or []
    return {"pair": len(task["text"]) == 2, "answer": _ANSWERS[task["kind"]].format(n=len(labels))}


def answering_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that only ``card.md.j2`` uses."""
    words, path = task_words(record), one_line(folder_path(folder))
    labels = list(record["task"].get("labels") or [])
    return words | {
        "shell_example": Markdown(_shell_example(path, pair=words["pair"])),
        "python_example": Markdown(_python_example(path, pair=words["pair"])),
        "labels": labels[:_LABELS_SHOWN],
        "more_labels": max(len(labels) - _LABELS_SHOWN, 0),
        "max_length": (record.get("config") or {}).get("max_length"),
    }


def _shell_example(path: str, *, pair: bool) -> str:
    texts = r"'first text\tsecond text\n'" if pair else r"'a text\nanother one\n'"
    return f"printf {texts} | understudy predict --model {shlex.quote(path)}"


def _python_example(path: str, *, pair: bool) -> str:
    texts = '[("first text", "second text")]' if pair else '["a text", "another one"]'
    return (
        f"import understudy\n\nmodel = understudy.load({json.dumps(path, ensure_ascii=False)})\nmodel.predict({texts})"
    )
