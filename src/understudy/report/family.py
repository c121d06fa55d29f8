"""A family: several runs of one recipe with different seeds, and the table of their mean scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from understudy.report.metric_names import human_spread, is_share, metric_name
from understudy.report.numbers import ABSENT
from understudy.report.scores import Record, main_name, shown_split
from understudy.report.tables.cells import lines, plain_table


@dataclass(frozen=True, kw_only=True)
class FamilyRow:
    """One model's line in the table of a family."""

    name: str
    fewer: str
    """The number of runs that have the model, where it is less than the family's; else empty."""
    scores: list[str]
    """``mean ± sd`` of each metric of :func:`family_metrics`, without units."""
    main: bool
    """Whether it is the model that the runs were for."""


def family_size(record: Record) -> int:
    """The number of runs that the aggregate is made of: the largest n in it."""
    return max(entry["n"] for scores in record["aggregate"].values() for entry in scores.values())


def averaged_words(record: Record) -> list[str]:
    """What the numbers of a family are, for a heading: means with their deviation, and of how many runs."""
    runs = family_size(record)
    return [*(["mean ± standard deviation"] if runs > 1 else []), f"n = {runs}"]


def fewer_runs(record: Record) -> dict[str, str]:
    """For each model of the aggregate the number of runs that have it (``n = 1``), where that is less than the family's; else empty."""
    runs = family_size(record)
    own = {name: max(entry["n"] for entry in scores.values()) for name, scores in record["aggregate"].items()}
    return {name: "" if count == runs else f"n = {count}" for name, count in own.items()}


def family_metrics(record: Record) -> list[str]:
    """The metrics of the aggregate: those of the task first, in its order."""
    found = {metric: None for scores in record["aggregate"].values() for metric in scores}
    return list({metric: None for metric in record["task"]["metrics"] if metric in found} | found)


def family_rows(record: Record) -> Iterator[FamilyRow]:
    """The models of the aggregate in its order, every number written for people."""
    metrics, fewer, main = family_metrics(record), fewer_runs(record), main_name(record)
    for name, scores in record["aggregate"].items():
        yield FamilyRow(
            name=name,
            fewer=fewer[name],
            scores=[
                human_spread(metric, scores[metric]["mean"], scores[metric]["sd"]) if metric in scores else ABSENT
                for metric in metrics
            ],
            main=name == main,
        )


def family_table(record: Record) -> Table:
    """The models of a family side by side, one row a model: each metric's mean ± standard deviation over the runs.

    Five metrics and the longest names of our models fit a terminal of 80 columns.

    Args:
        record: the parsed ``record.json`` of a family, see :func:`understudy.report.aggregate.aggregate`.
    """
    rows = list(family_rows(record))
    title = f"Quality on the {shown_split(record)} split ({', '.join(averaged_words(record))})"
    table = plain_table(title=title)
    table.min_width = len(title)  # so that the title of a narrow table stays on one line
    table.add_column("model", overflow="fold", min_width=8)
    for metric in family_metrics(record):
        heading = lines(metric_name(metric, short=True), *(["%"] if is_share(metric) else []))
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        name = lines(row.name, *([row.fewer] if row.fewer else []))
        table.add_row(name, *row.scores, style="bold" if row.main and len(rows) > 1 else "")
    return table
