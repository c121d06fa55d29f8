"""What only the card of a search shows: every student, and why this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.report.card.answering import answering_facts
from understudy.report.card.facts import facts_of_a_run
from understudy.report.card.several.family import child_link
from understudy.report.metric_names import capitalised, is_share, metric_name
from understudy.report.scores import Record, selecting_metric
from understudy.report.searching.sentences import budget_words, verdict_of_search
from understudy.report.searching.table import search_rows


def search_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that ``search_card.md.j2`` uses."""
    metric = selecting_metric(record)
    facts = facts_of_a_run(folder, record) | answering_facts(folder, record)
    return facts | {
        "verdict": verdict_of_search(record),
        "budget": budget_words(record["findings"]["budget"]),
        "scored": capitalised(metric_name(metric, short=True)) + (" (%)" if is_share(metric) else ""),
        "trials": list(search_rows(record)),
        "children": [child_link(folder, child) for child in record.get("children") or []],
    }
