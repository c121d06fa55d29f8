"""What only the card of several tasks shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.report.card.facts import facts_of_every_card
from understudy.report.card.family import child_link
from understudy.report.scores import Record
from understudy.report.tables.tasks import task_rows


def tasks_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that ``tasks_card.md.j2`` uses."""
    return facts_of_every_card(folder, record) | {
        "rows": list(task_rows(record)),
        "children": [child_link(folder, child) for child in record.get("children") or []],
        "phases": [],
        "labelling": "",
    }
