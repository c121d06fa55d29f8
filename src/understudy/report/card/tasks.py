"""What only the card of several tasks shows."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from understudy.report.card.facts import facts_of_every_card, folder_path, phase_lines, plot_links
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.card.several.family import child_link
from understudy.report.scores import Record
from understudy.report.tables.tasks import task_rows


def tasks_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that ``tasks_card.md.j2`` uses."""
    tasks = list(record["task"].get("tasks") or {})
    first, path = one_line(tasks[0]) if tasks else "", one_line(folder_path(folder))
    return facts_of_every_card(folder, record) | {
        "task_rows": list(task_rows(record)),
        "children": [child_link(folder, child) for child in record.get("children") or []],
        "tasks": tasks,
        "refined": any(str(model["name"]).endswith("fine-tuned") for model in record["models"]),
        "shell_example": Markdown(
            f"understudy predict --model {shlex.quote(path)} --task {shlex.quote(first)} --input texts.csv"
        ),
        "python_example": Markdown(
            f"import understudy\n\nmodel = understudy.load({json.dumps(path, ensure_ascii=False)})[{json.dumps(first, ensure_ascii=False)}]\nmodel.predict(texts)"
        ),
        "alone": Markdown(
            f"Without Understudy: `understudy export {shlex.quote(path)} --task {shlex.quote(first)} --output {shlex.quote(f'{path}-{first}')}` writes one task as ONNX, for onnxruntime and tokenizers alone."
        ),
        "plots": plot_links(folder),
        "phases": phase_lines(record),
        "labelling": "",
    }
