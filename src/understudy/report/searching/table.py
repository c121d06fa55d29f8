"""The table of a search: a row a student, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.table import Table

from understudy.report.metric_names import human_score, is_share, metric_name
from understudy.report.numbers import ABSENT, human_bytes, human_milliseconds, human_seconds
from understudy.report.scores import Record
from understudy.report.searching.sentences import budget_words, human_share
from understudy.report.tables.cells import lines, plain_table


class SearchRow(NamedTuple):
    """What a table shows of a student, as text."""

    name: str
    score: str
    share: str
    latency: str
    size: str
    format: str
    rung: str
    train: str
    state: str
    why: str
    chosen: bool


def search_rows(record: Record) -> Iterator[SearchRow]:
    """A row for each student; of a search that has only measured, without scores."""
    findings = record["findings"]
    metric, front = findings["metric"], findings.get("front") or {}
    on_front = {name for names in front.values() for name in names}
    for row in findings.get("trials") or _only_measured(record):
        state = str(row["state"])
        yield SearchRow(
            name=str(row["name"]),
            score=human_score(metric, row.get("score"), unit=False),
            share=human_share(row.get("share")),
            latency=human_milliseconds(row.get("latency_ms")),
            size=human_bytes(row.get("size_bytes")),
            format=str(row.get("format") or ABSENT),
            rung=str(row.get("rung") or ABSENT),
            train=human_seconds(row.get("seconds")),
            state=f"{state}, front" if row["name"] in on_front and state == "trained" else state,
            why=str(row.get("why") or ""),
            chosen=state == "chosen",
        )


def _only_measured(record: Record) -> Iterator[dict[str, object]]:
    """The students of a search that was only planned."""
    findings = record["findings"]
    limits = {key: limit for key, limit in findings["budget"].items() if key != "min_share"}
    rows = []
    for name, known in findings["measured"].items():
        uses = {
            kind: max(costs[key] / limit for key, limit in limits.items()) for kind, costs in known["formats"].items()
        }
        kind = min(uses, key=lambda one: uses[one], default=None)
        row = {
            "name": name,
            "format": kind,
            "state": "cannot be built" if kind is None else "fits" if uses[kind] <= 1 else "does not fit",
        }
        row |= {} if kind is None else {key: known["formats"][kind][key] for key in ("latency_ms", "size_bytes")}
        rows.append((float("inf") if kind is None else uses[kind], name, row | {"why": known.get("cannot")}))
    yield from (row for _, _, row in sorted(rows, key=lambda one: one[:2]))


def search_table(record: Record) -> Table:
    """What was tried, what it is worth and what it costs."""
    findings = record["findings"]
    metric = findings["metric"]
    table = plain_table(
        title=f"Students for {budget_words(findings['budget'])}, the cheapest first",
        caption="score: on the validation split, after the last rung that it reached; latency: one text, measured before training",
    )
    table.add_column("student", overflow="fold")
    unit = ["%"] if is_share(metric) else []
    table.add_column(lines(metric_name(metric, short=True), *unit), justify="right", no_wrap=True)
    table.add_column(lines("of the", "teacher"), justify="right", no_wrap=True)
    for heading in ("latency", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("as")
    table.add_column("rung", justify="right")
    table.add_column("")
    for row in search_rows(record):
        style = "bold" if row.chosen else "dim" if row.score == ABSENT else ""
        table.add_row(
            lines(row.name), row.score, row.share, row.latency, row.size, row.format, row.rung, row.state, style=style
        )
    return table
