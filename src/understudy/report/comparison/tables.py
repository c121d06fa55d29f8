"""The tables of a comparison: what models are worth, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from understudy.report.comparison.recommending import best_model, compared, human_p, mean_score, shipped
from understudy.report.metric_names import human_score, human_spread, is_share, metric_name
from understudy.report.numbers import (
    ABSENT,
    human_bytes,
    human_count,
    human_milliseconds,
    human_rate,
    human_seconds,
    number,
)
from understudy.report.scores import Record, selecting_metric, shown_split
from understudy.report.tables.cells import lines, plain_table


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One model's line, every number written for people."""

    name: str
    fewer: str
    """The number of its seeds, where it is less than that of the comparison; else empty."""
    score: str
    """Mean ± standard deviation over the seeds."""
    interval: str
    others: list[str]
    """The means of the other metrics."""
    from_best: str
    """How far it is from the best model."""
    p: str
    """After Holm's correction, against the best model."""
    chosen: bool
    """Whether the rules choose it."""
    dominated: str
    """The model that is smaller and no worse; empty if there is none."""
    train: str
    """Time of training."""
    to_best: str
    steps_to_best: str
    train_rate: str
    rate: str
    p50: str
    parameters: str
    size: str
    memory: str
    energy: str
    """In watt-hours."""


def compared_rows(record: Record) -> Iterator[ComparedRow]:
    """The models of a comparison, in the order of ``--models``."""
    metric, best, chosen = selecting_metric(record), best_model(record), shipped(record)
    findings = record.get("findings") or {}
    dominated = (findings.get("dominated") or {}).get("size") or {}
    split = shown_split(record)
    for model in record["models"]:
        name, costs = str(model["name"]), model.get("training") or {}
        spread = ((record.get("aggregate") or {}).get(name) or {}).get(metric) or {}
        found = (findings.get("scores") or {}).get(name) or {}
        low, high = found.get("interval") or (None, None)
        against = compared(record, name, best) if best is not None and name != best else None
        scores = (model.get("metrics") or {}).get(split) or {}
        energy, steps = number(costs.get("energy_wh")), number(costs.get("steps_to_best"))
        own = number(found.get("n"))
        yield ComparedRow(
            name=name,
            fewer=f"n = {own:.0f}" if own is not None and own < len(findings.get("seeds") or []) else "",
            score=human_spread(metric, mean_score(record, name), spread.get("sd")),
            interval=ABSENT
            if low is None
            else f"{human_score(metric, low, unit=False)} to {human_score(metric, high, unit=False)}",
            others=[human_score(other, scores.get(other), unit=False) for other in record["task"]["metrics"][1:]],
            from_best="best"
            if name == best
            else ABSENT
            if against is None
            else _difference(metric, against.difference),
            p=ABSENT if against is None else human_p(against.p_holm).removeprefix("= "),
            chosen=name == chosen,
            dominated=str(dominated.get(name, "")),
            train=human_seconds(costs.get("seconds")),
            to_best=human_seconds(costs.get("seconds_to_best")),
            steps_to_best=ABSENT if steps is None else f"{steps:,.0f}",
            train_rate=human_rate(costs.get("train_rows_per_second")),
            rate=human_rate(model.get("texts_per_second")),
            p50=human_milliseconds((model.get("latency_ms") or {}).get("p50")),
            parameters=human_count(model.get("parameters")),
            size=human_bytes(model.get("size_bytes")),
            memory=human_bytes(costs.get("peak_memory_bytes")),
            energy=ABSENT if energy is None else f"{energy:.2g}",
        )


def _difference(metric: str, value: float) -> str:
    return f"{100 * value:+.1f}" if is_share(metric) else f"{value:+.3f}"


def quality_table(record: Record) -> Table:
    """What the models are worth: the score with its interval, and how it differs from the best one's."""
    findings = record.get("findings") or {}
    runs = len(findings.get("seeds") or [0])
    spread = "mean ± standard deviation over n = " + f"{runs} seeds" if runs > 1 else "one seed"
    table = plain_table(
        title=f"Quality on the {shown_split(record)} split ({spread})",
        caption="bold: to ship; dim: another model is smaller and no worse; p: after Holm's correction",
    )
    table.add_column("model", overflow="fold")
    metric = selecting_metric(record)
    unit = ["%"] if is_share(metric) else []
    table.add_column(lines(metric_name(metric, short=True), *unit), justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for other in record["task"]["metrics"][1:4]:
        table.add_column(lines(metric_name(other, short=True), *(["%"] if is_share(other) else [])), justify="right")
    table.add_column("from best", justify="right")
    table.add_column("p", justify="right", no_wrap=True)
    for row in compared_rows(record):
        style = "bold" if row.chosen else "dim" if row.dominated else ""
        name = lines(row.name, *([row.fewer] if row.fewer else []))
        table.add_row(name, row.score, row.interval, *row.others[:3], row.from_best, row.p, style=style)
    return table


def cost_table(record: Record) -> Table:
    """What the models cost: to train, to keep, and to ask."""
    watts = number((record.get("findings") or {}).get("watts")) or 0.0
    table = plain_table(
        title="Cost (means over the seeds)",
        caption=f"train, to best: time of training, all of it and up to the best score; Wh: if a busy thread draws {watts:g} W",
    )
    table.add_column("model", overflow="fold")
    headings = (
        ("train", "to best"),
        ("steps", "to best"),
        ("rows/s", "in training"),
        ("texts/s", "p50"),
        ("params", "size"),
        ("memory", "Wh"),
    )
    for first, second in headings:
        table.add_column(lines(first, second), justify="right")
    for row in compared_rows(record):
        cells = (
            (row.train, row.to_best),
            (row.steps_to_best, ""),
            (row.train_rate, ""),
            (row.rate, row.p50),
            (row.parameters, row.size),
            (row.memory, row.energy),
        )
        style = "bold" if row.chosen else "dim" if row.dominated else ""
        table.add_row(
            lines(row.name), *(lines(first, *([second] if second else [])) for first, second in cells), style=style
        )
    return table
