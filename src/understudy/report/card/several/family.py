"""What only the card of a family shows: several runs of one recipe with different seeds."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from understudy.report.card.answering import task_words
from understudy.report.card.facts import facts_of_every_card
from understudy.report.card.language import LANGUAGE_MODELS, language_noun
from understudy.report.card.markdown import Markdown, escape
from understudy.report.family import family_metrics, family_rows, family_size
from understudy.report.metric_names import capitalised, is_share, metric_name
from understudy.report.scores import MULTI_TASK, Record, is_distilled
from understudy.report.tables.tasks import task_rows
from understudy.report.verdict import family_verdict


def family_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that ``family_card.md.j2`` uses."""
    facts, language = facts_of_every_card(folder, record), record["task"]["kind"] in LANGUAGE_MODELS
    if record["task"]["kind"] == MULTI_TASK:
        facts |= {"what": "model for each of several tasks", "pair": False, "answer": ""}
    elif language:
        facts |= {"what": language_noun(record), "pair": False, "answer": ""}
    else:
        facts |= {"what": "small text model" if is_distilled(record) else "text model", **task_words(record)}
    return facts | {
        "runs": family_size(record),
        "metrics": [
            capitalised(metric_name(metric, short=True)) + (" (%)" if is_share(metric) else "")
            for metric in family_metrics(record)
        ],
        "rows": list(family_rows(record)),
        "task_rows": list(task_rows(record)) if record["task"]["kind"] == MULTI_TASK else [],
        "verdict": family_verdict(record) or "",
        "phases": [],
        "labelling": "",
        "children": [child_link(folder, child) for child in record.get("children") or []],
        # a seed of its own for each run: the parent's says nothing
        "settings": [(name, value) for name, value in facts["settings"] if name != "seed"],
    }


def child_link(folder: Path, child: str) -> Markdown:
    """A link to the card beside a child's record, or the child's name where it has no card (a run that failed)."""
    run = PurePosixPath(child).parent
    if not (folder / run / "README.md").is_file():
        return Markdown(f"{escape(run)} (no card)")
    return Markdown(f"[{escape(run)}]({quote(str(run / 'README.md'))})")
