"""Answers as the lines of a CSV file or of JSON lines, written so that any reader gets its rows back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from understudy.data.tasks import Task
from understudy.inference.answers import Label, Prediction

_TO_QUOTE = re.compile(r'[",;]|[^\S ]|^ | $|^$')
"""Cells that some reader takes for several, for several lines, for nothing, or strips, unless they are quoted.

White space other than a space (a carriage return, a tab, a line separator) ends a line or a cell for some readers.
"""
_JOINT = re.compile(r"[|;,]|^\[|^-?\d+(\s+-?\d+)+$")
"""Names of labels that would not come back from a list with ``|`` between them."""
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})
"""Characters that JSON allows bare, but where some readers end a line."""


def csv_header(task: Task, *, top_k: int | None = None) -> str:
    r"""The line of column names: the texts, the label, and a probability for each label.

    Args:
        top_k: of answers with so many likeliest labels: a name and a probability for each of them instead.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> csv_header(task), csv_header(task, top_k=1)
        ('text,label,probability_no,probability_yes\n', 'text,label,label_1,probability_1\n')
    """
    texts = ["text"] if len(task.text) == 1 else ["sentence1", "sentence2"]
    if top_k is None:
        return _csv_line([*texts, "label", *(f"probability_{label}" for label in task.labels)])
    ranks = range(1, min(top_k, len(task.labels)) + 1)
    return _csv_line([*texts, "label", *(f"{name}_{rank}" for rank in ranks for name in ("label", "probability"))])


def csv_row_of_likeliest(text: tuple[str, ...], answer: Prediction, task: Task) -> str:
    r"""One answer with its likeliest labels as a line of CSV.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> csv_row_of_likeliest(("a film",), Prediction("yes", {"yes": 0.75}), task)
        'a film,yes,yes,0.750000\n'
    """
    ranks = [cell for label, share in answer.probabilities.items() for cell in (label, f"{share:.6f}")]
    return _csv_line([*text, _label_cell(answer.label, task), *ranks])


def csv_row(text: tuple[str, ...], answer: Prediction, task: Task) -> str:
    r"""One answer as a line of CSV. Names of several labels are joined by ``|``, or are a JSON list if that is unclear.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> csv_row(("a film\rof note",), Prediction("yes", {"no": 0.25, "yes": 0.75}), task)
        '"a film\rof note",yes,0.250000,0.750000\n'
    """
    return _csv_line([*text, _label_cell(answer.label, task), *(f"{p:.6f}" for p in answer.probabilities.values())])


def json_row(text: tuple[str, ...], answer: Prediction, task: Task) -> str:
    """One answer as a line of JSON: ``text`` (a list for a pair), ``label`` and, if there are any, ``probabilities``."""
    row: dict[str, object] = {"text": text[0] if len(text) == 1 else list(text), "label": answer.label}
    if answer.probabilities:
        row["probabilities"] = answer.probabilities
    return json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS) + "\n"


def csv_header_of_each(tasks: Mapping[str, Task]) -> str:
    """The same for several adapters: the texts, and for each adapter its label and its probabilities.

    Args:
        tasks: those of the adapters, by name; all read the same texts.
    """
    texts = csv_header(next(iter(tasks.values()))).partition(",label")[0].split(",")
    own = ([f"{name}_label", *(f"{name}_probability_{label}" for label in task.labels)] for name, task in tasks.items())
    return _csv_line([*texts, *(cell for cells in own for cell in cells)])


def csv_row_of_each(text: tuple[str, ...], answers: Mapping[str, Prediction], tasks: Mapping[str, Task]) -> str:
    r"""The answers of several adapters for one text as a line of CSV.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> answer = Prediction("yes", {"no": 0.25, "yes": 0.75})
        >>> csv_row_of_each(("a film",), {"a": answer, "b": answer}, {"a": task, "b": task})
        'a film,yes,0.250000,0.750000,yes,0.250000,0.750000\n'
    """
    cells = [*text]
    for name, answer in answers.items():
        cells += [_label_cell(answer.label, tasks[name]), *(f"{p:.6f}" for p in answer.probabilities.values())]
    return _csv_line(cells)


def json_row_of_each(text: tuple[str, ...], answers: Mapping[str, Prediction]) -> str:
    """The answers of several adapters for one text as a line of JSON: ``text`` and ``answers`` by adapter."""
    row = {
        "text": text[0] if len(text) == 1 else list(text),
        "answers": {
            name: {"label": answer.label, **({"probabilities": answer.probabilities} if answer.probabilities else {})}
            for name, answer in answers.items()
        },
    }
    return json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS) + "\n"


def _label_cell(label: Label, task: Task) -> str:
    if not isinstance(label, list):
        return str(label)
    unclear = any(_JOINT.search(name) or name != name.strip() or not name for name in task.labels)
    return json.dumps(label, ensure_ascii=False) if unclear else "|".join(label)


def _csv_line(cells: Iterable[str]) -> str:
    doubled = (cell.replace('"', '""') for cell in cells)
    return ",".join(f'"{cell}"' if _TO_QUOTE.search(cell) else cell for cell in doubled) + "\n"
