"""All that the template of a page shows, gathered from runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from understudy.report.card.answering import confused_pairs
from understudy.report.card.facts import facts_of_every_card, phase_lines
from understudy.report.comparison.curves import said_crossings
from understudy.report.comparison.recommending import recommendation
from understudy.report.metric_names import human_score
from understudy.report.numbers import human_bytes, human_milliseconds, human_seconds, number
from understudy.report.page.charts.comparing import front_chart, scores_chart
from understudy.report.page.charts.curves import labels_chart, learning_chart, loss_chart
from understudy.report.page.charts.drawing import Chart, marker, style_of
from understudy.report.page.learning import curves_of
from understudy.report.page.models import ModelLine, model_lines
from understudy.report.page.runs import PageRun
from understudy.report.page.tables import (
    Cell,
    Column,
    PageTable,
    cost_table,
    headed,
    pairs_table,
    quality_table,
    search_table,
)
from understudy.report.scores import gap_sentence, little_told, main_model, shown_split
from understudy.report.searching.sentences import verdict_of_search
from understudy.report.verdict import family_verdict, verdict


class LegendEntry(NamedTuple):
    """A model's marker and colour."""

    name: str
    style: str
    marker: str


class Tile(NamedTuple):
    """A number that is shown large."""

    value: str
    name: str
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What to make of a run."""

    run: str
    sentences: list[str]
    tiles: list[Tile]
    model: str = ""
    """The one that the tiles are of."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PageGroup:
    """Runs of one kind of task with one metric: their models are shown together."""

    runs: list[PageRun]
    lines: list[ModelLine]
    tables: list[PageTable]
    charts: list[Chart]
    curves: list[Chart]
    legend: list[LegendEntry]
    curve_legend: list[LegendEntry]
    pairs: list[PageTable]
    confusions: list[PageTable]
    said: list[str]


def grouped_runs(runs: Sequence[PageRun]) -> list[list[PageRun]]:
    """Runs that can be shown together: those of one kind of task and one metric."""
    found: dict[tuple[str, str], list[PageRun]] = {}
    for run in runs:
        found.setdefault((run.kind, run.metrics[0] if run.metrics else ""), []).append(run)
    return list(found.values())


def group_of(runs: Sequence[PageRun]) -> PageGroup:
    """Tables and charts of runs that are shown together."""
    lines = model_lines(runs)
    metric = runs[0].metrics[0] if runs[0].metrics else "score"
    drawn = [
        scores_chart(lines, metric),
        *(front_chart(lines, metric, axis=axis) for axis in ("latency", "size")),
        *(
            labels_chart(run.record, [line.name for line in of], [line.shown for line in of], metric)
            for run in runs
            if (of := [line for line in lines if line.run == run.name])
        ),
    ]
    scores, losses = curves_of(runs, lines, metric)
    learnt = [learning_chart(scores, metric, by="step"), learning_chart(scores, metric, by="time"), loss_chart(losses)]
    watts = next((number((run.record.get("findings") or {}).get("watts")) for run in runs if run.is_comparison), None)
    pairs = [(run, table) for run in runs if (table := pairs_table(run)) is not None]
    several = len(runs) > 1
    return PageGroup(
        runs=list(runs),
        lines=lines,
        tables=[
            *([quality_table(lines, runs), cost_table(lines, watts=watts)] if lines else []),
            *(search_table(run) for run in runs if run.is_search),
        ],
        charts=[chart for chart in drawn if chart is not None],
        curves=[chart for chart in learnt if chart is not None],
        legend=_legend(lines, range(len(lines))),
        curve_legend=_legend(lines, sorted({curve.series for curve in (*scores, *losses)})),
        pairs=[
            table._replace(caption=f"{table.caption}: {run.name}" if several else table.caption) for run, table in pairs
        ],
        confusions=[table for run in runs for table in _confusion(run, several=several)],
        said=_said(runs, lines, scored=bool(scores)),
    )


def _legend(lines: Sequence[ModelLine], places: Iterable[int]) -> list[LegendEntry]:
    return [LegendEntry(lines[place].shown, style_of(place), marker(place)) for place in places]


def _said(runs: Sequence[PageRun], lines: Sequence[ModelLine], *, scored: bool) -> list[str]:
    """What is not in the charts and tables, and what is to be known about them."""
    said = []
    if not lines:
        said.append("No model of this run has been scored.")
    elif not scored:
        said.append("There are no learning curves: nothing was evaluated during training.")
    rows = {((run.one()[1].get("data") or {}).get(shown_split(run.record)) or {}).get("fingerprint") for run in runs}
    if len(rows) > 1:
        said.append("These runs report on different rows, so their scores can be compared only roughly.")
    for run in runs:
        said += said_crossings(run.record) if run.is_comparison else []
        missing = (run.record.get("findings") or {}).get("missing") or []
        if missing:
            said.append(f"Not finished, and not shown: {', '.join(missing)}.")
        groups = (run.record.get("findings") or {}).get("same_batches") or []
        said += [f"The same batches in the same order were read by {', '.join(group)}." for group in groups]
    return said


def judgement(run: PageRun, lines: Sequence[ModelLine]) -> Judgement:
    """What to make of a run: its verdict, and the numbers of the model that it is about."""
    record = run.record
    if run.is_comparison:
        sentences = recommendation(record)
    elif run.is_search:
        sentences = [said] if (said := verdict_of_search(record)) else []
    elif run.is_family:
        sentences = [found] if (found := family_verdict(record)) else []
    else:
        judged = verdict(record) if run.metrics else None
        more = [gap_sentence(record), little_told(record)] if record.get("models") and run.metrics else []
        sentences = [sentence for sentence in (judged.sentence if judged else None, *more) if sentence]
    warnings = (
        [] if record.get("finished") else ["This run is not finished: the page shows what is on its record so far."]
    )
    if run.part_of:
        warnings.append(f"This is a run of {run.part_of}, which is not finished and not summed up yet.")
    if not sentences:
        sentences = ["There is no verdict: the record holds no second model that this one was compared with."]
    line = next((line for line in lines if line.run == run.name and line.chosen), None)
    return Judgement(
        run=run.name,
        sentences=sentences,
        tiles=[] if line is None else _tiles(run, line),
        model="" if line is None else line.name,
        warnings=warnings,
    )


def _tiles(run: PageRun, line: ModelLine) -> list[Tile]:
    metric = run.metrics[0] if run.metrics else "score"
    within = ""
    if line.interval:
        within = f"{human_score(metric, line.interval[0], unit=False)} to {human_score(metric, line.interval[1])}"
    elif line.sd is not None:
        within = f"± {human_score(metric, line.sd)} over {line.seeds} runs"
    split = shown_split(run.record)
    tiles = [Tile(human_score(metric, line.score), f"{headed(metric).removesuffix(' (%)')}, {split} split", within)]
    costs = line.costs
    if costs.get("size_bytes") is not None:
        tiles.append(Tile(human_bytes(costs["size_bytes"]), "Size on disk"))
    if costs.get("p50") is not None:
        tiles.append(Tile(human_milliseconds(costs["p50"]), "For one text, median"))
    if costs.get("seconds") is not None:
        tiles.append(Tile(human_seconds(costs["seconds"]), "Training"))
    return tiles


def _value(written: str) -> float:
    """What a number as people write it is sorted by."""
    return float(written.removesuffix(" %").replace(",", ""))


_MOST_CLASSES = 20
"""Of more classes than these, the pairs that are confused most are shown instead of the whole matrix."""


def _confusion(run: PageRun, *, several: bool) -> list[PageTable]:
    """Which classes the main model takes for which."""
    if run.is_comparison or run.is_family or not run.record.get("models"):
        return []
    model, labels = main_model(run.record), run.labels
    counts = model.get("confusion") or []
    if not counts or len(counts) != len(labels):
        return []
    of = f"{run.name}: {model['name']}" if several else str(model["name"])
    if len(labels) > _MOST_CLASSES:
        rows = [
            [Cell(label), Cell(answer), Cell(count, _value(count)), Cell(share, _value(share))]
            for label, answer, count, share in confused_pairs(model, labels, 20)
        ]
        columns = [
            Column("Label", numeric=False),
            Column("Answer", numeric=False),
            Column("Rows"),
            Column("Of the label's rows"),
        ]
        return [PageTable(f"Classes that are confused most, {of}", columns, rows)]
    rows = [
        [Cell(label), *(Cell(f"{count:,}", float(count)) for count in line)]
        for label, line in zip(labels, counts, strict=True)
    ]
    columns = [Column("Label", numeric=False), *(Column(label, descending=True) for label in labels)]
    return [PageTable(f"Confusion, {of}", columns, rows, note="Labels in rows, answers in columns.")]


def configuration(runs: Sequence[PageRun]) -> PageTable:
    """The settings of all runs side by side; those in which they differ are marked."""
    shown = [dict(facts_of_every_card(run.folder, run.record)["settings"]) for run in runs]
    shown = [
        {name: value for name, value in values.items() if name != "seed" or not run.is_family}
        for run, values in zip(runs, shown)
    ]
    rows, marks = [], []
    for name in dict.fromkeys(name for values in shown for name in values):
        values = [of_run.get(name, "") for of_run in shown]
        rows.append([Cell(name), *(Cell(value) for value in values)])
        marks.append("differs" if len(set(values)) > 1 else "")
    columns = [
        Column("Setting", numeric=False),
        *(Column(run.name if len(runs) > 1 else "Value", numeric=False) for run in runs),
    ]
    note = "Bold: settings in which the runs differ." if any(marks) else ""
    return PageTable("Settings", columns, rows, marks, note)


def made_with(run: PageRun) -> dict[str, Any]:
    """How a run was made, and how it can be made again."""
    facts = facts_of_every_card(run.folder, run.record)
    return {
        "name": run.name,
        "command": run.record.get("command"),
        "created": run.record.get("created") or "",
        "rerun": str(facts["rerun"]),
        "environment": facts["environment"],
        "timings": facts["timings"],
        "phases": phase_lines(run.record),
        "children": list(run.children),
    }
