"""The table at the end of a run, and what is read from a record for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from understudy.report.numbers import ABSENT, human_bytes, human_count, human_milliseconds, human_rate, number

Record = Mapping[str, Any]
"""A parsed ``record.json``."""

TEACHER, STUDENT, ALONE, TFIDF = "teacher", "student", "student without teacher", "tfidf"

_METRIC_NAMES = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1": ("F1", "F1"),
    "f1_macro": ("macro F1", "Macro F1"),
    "f1_micro": ("micro F1", "Micro F1"),
    "matthews": ("MCC", "Matthews correlation"),
    "average_precision": ("AP", "Average precision"),
    "pearson": ("Pearson", "Pearson correlation"),
    "spearman": ("Spearman", "Spearman correlation"),
    "mse": ("MSE", "Mean squared error"),
    "loss": ("loss", "Loss"),
    "perplexity": ("perplexity", "Perplexity"),
    "distance": ("distance", "Distance to the teacher"),
}
_SHARES = {"accuracy", "f1", "f1_macro", "f1_micro", "average_precision"}
"""Metrics between 0 and 1 that read best as per cent; the others are shown as they are."""
LOWER_IS_BETTER = {"mse", "loss", "perplexity", "distance"}


def metric_name(metric: str, *, short: bool = False) -> str:
    """What a metric is called in a heading, or, short, in a narrow one.

    Example:
        >>> metric_name("f1_macro"), metric_name("average_precision", short=True), metric_name("my_own")
        ('Macro F1', 'AP', 'My own')
    """
    if metric in _METRIC_NAMES:
        return _METRIC_NAMES[metric][0 if short else 1]
    words = metric.replace("_", " ")
    return words if short else words[:1].upper() + words[1:]


def is_share(metric: str) -> bool:
    """Whether a metric is shown as per cent."""
    return metric in _SHARES


def human_score(metric: str, value: object, *, unit: bool = True) -> str:
    """A score as people write it: shares as per cent, correlations with three decimals.

    Example:
        >>> human_score("accuracy", 0.87349), human_score("accuracy", 0.87349, unit=False), human_score("pearson", 0.87349)
        ('87.3 %', '87.3', '0.873')
    """
    score = number(value)
    if score is None:
        return ABSENT
    if is_share(metric):
        return f"{100 * score:.1f} %" if unit else f"{100 * score:.1f}"
    if metric == "perplexity" and abs(score) < 1e6:
        return f"{score:,.1f}"
    return f"{score:.3f}" if abs(score) < 1000 else f"{score:.3g}"


def selecting_metric(record: Record) -> str:
    """The metric that models were selected by: the first of the task's."""
    return str(record["task"]["metrics"][0])


def shown_split(record: Record) -> str:
    """The split that the report is about: test where some model was scored on it, else validation."""
    return "test" if any("test" in (model.get("metrics") or {}) for model in record["models"]) else "validation"


def score_of(record: Record, model: Mapping[str, Any], metric: str | None = None) -> float | None:
    """A model's score on the shown split, by the selecting metric if no other is named."""
    scores = (model.get("metrics") or {}).get(shown_split(record)) or {}
    return number(scores.get(metric or selecting_metric(record)))


def interval_of(record: Record, model: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of a model's selecting metric on the shown split."""
    intervals = (model.get("intervals") or {}).get(shown_split(record)) or {}
    ends = intervals.get(selecting_metric(record)) or (None, None)
    low, high = number(ends[0]), number(ends[1])
    return None if low is None or high is None else (low, high)


def model_named(record: Record, name: str) -> Mapping[str, Any] | None:
    """The record's model of that name."""
    return next((model for model in record["models"] if model["name"] == name), None)


def main_model(record: Record) -> Mapping[str, Any]:
    """What the run was for: the student where there is one, else the first model."""
    model: Mapping[str, Any] = model_named(record, STUDENT) or record["models"][0]
    return model


def _named_score(record: Record, name: str) -> float | None:
    model = model_named(record, name)
    return None if model is None else score_of(record, model)


def share_kept(record: Record, model: Mapping[str, Any]) -> float | None:
    """Score divided by the teacher's; None without a teacher, for the teacher itself, and where a ratio says nothing."""
    teacher, score = _named_score(record, TEACHER), score_of(record, model)
    if teacher is None or score is None or teacher <= 0 or model["name"] == TEACHER:
        return None
    return None if selecting_metric(record) in LOWER_IS_BETTER else score / teacher


def gap_closed(record: Record) -> float | None:
    """How far distillation moved the student from its own level to the teacher's.

    ``(student − student without teacher) / (teacher − student without teacher)`` of the selecting metric. None
    unless all three have a score and the teacher is the better one: there is no gap to close otherwise.

    Example:
        >>> scores = {"teacher": 0.90, "student": 0.88, "student without teacher": 0.80}
        >>> models = [{"name": name, "metrics": {"test": {"accuracy": score}}} for name, score in scores.items()]
        >>> round(gap_closed({"task": {"metrics": ["accuracy"]}, "models": models}), 3)
        0.8
    """
    teacher, student, alone = (_named_score(record, name) for name in (TEACHER, STUDENT, ALONE))
    if teacher is None or student is None or alone is None:
        return None
    sign = -1 if selecting_metric(record) in LOWER_IS_BETTER else 1
    return (student - alone) / (teacher - alone) if sign * (teacher - alone) > 0 else None


def gap_sentence(record: Record) -> str | None:
    """:func:`gap_closed` in words, with the two scores it lies between."""
    gap = gap_closed(record)
    if gap is None:
        return None
    metric = selecting_metric(record)
    alone, teacher = (human_score(metric, _named_score(record, name)) for name in (ALONE, TEACHER))
    return f"Distillation closes {100 * gap:.0f} % of the gap between student without teacher ({alone}) and teacher ({teacher})."


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A model's size and speed, written for people; :data:`ABSENT` where there is no number."""

    parameters: str
    without_embeddings: str
    size: str
    rate: str
    p50: str
    p99: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Costs:
        """Read them from a model's entry in a record."""
        parameters, embeddings = number(model.get("parameters")), number(model.get("embedding_parameters"))
        latency = model.get("latency_ms") or {}
        return cls(
            parameters=human_count(parameters),
            without_embeddings=human_count(
                None if parameters is None or embeddings is None else parameters - embeddings
            ),
            size=human_bytes(model.get("size_bytes")),
            rate=human_rate(model.get("texts_per_second")),
            p50=human_milliseconds(latency.get("p50")),
            p99=human_milliseconds(latency.get("p99")),
        )


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model's line in a table, every number written for people; :data:`ABSENT` where there is none."""

    name: str
    score: str
    interval: str
    others: dict[str, str]
    """The task's other metrics, by short name, without units."""
    kept: str
    costs: Costs


def model_rows(record: Record) -> Iterator[ModelRow]:
    """The record's models in their order, as table rows."""
    metric, *others = record["task"]["metrics"]
    for model in record["models"]:
        interval, kept = interval_of(record, model), share_kept(record, model)
        yield ModelRow(
            name=str(model["name"]),
            score=human_score(metric, score_of(record, model)),
            interval="–".join(human_score(metric, end, unit=False) for end in interval) if interval else ABSENT,
            others={
                metric_name(other, short=True): human_score(other, score_of(record, model, other), unit=False)
                for other in others
            },
            kept=ABSENT if kept is None else f"{100 * kept:.1f} %",
            costs=Costs.of(model),
        )


def models_table(record: Record) -> Table:
    """All models of a run side by side: quality with its 95 % interval, share of the teacher kept, size and speed.

    A model takes a few short lines rather than one long one, so that nothing is cut on a terminal of 80 columns. What no model has a number for
    (a share of the teacher in a run without one) gets no column.
    """
    rows, split, metric = list(model_rows(record)), shown_split(record), selecting_metric(record)
    scored = number(((record.get("data") or {}).get(split) or {}).get("rows"))
    title = f"Quality on the {split} split" + (f" ({scored:,.0f} rows)" if scored is not None else "")
    table = Table(title=title, caption=gap_sentence(record), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.leading = 1
    others = [metric_name(other, short=True) for other in record["task"]["metrics"][1:]]
    has_kept = any(row.kept != ABSENT for row in rows)
    has_interval = any(row.interval != ABSENT for row in rows)
    has_speed = any(row.costs.rate != ABSENT or row.costs.p50 != ABSENT for row in rows)
    table.add_column("model", overflow="fold")
    headings = [
        _lines(metric_name(metric, short=True), *(["95 % CI"] if has_interval else [])),
        *([_lines(*others)] if others else []),
        *([_lines("kept of", "teacher")] if has_kept else []),
        _lines("params", "w/o emb."),
        Text("size"),
        *([Text("texts/s"), _lines("p50", "p99")] if has_speed else []),
    ]
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    main = main_model(record)["name"]
    for row in rows:
        cells = [
            Text(row.name),
            _lines(row.score, *([row.interval] if has_interval else [])),
            *([_lines(*row.others.values())] if others else []),
            *([Text(row.kept)] if has_kept else []),
            _lines(row.costs.parameters, row.costs.without_embeddings),
            Text(row.costs.size),
            *([Text(row.costs.rate), _lines(row.costs.p50, row.costs.p99)] if has_speed else []),
        ]
        table.add_row(*cells, style="bold" if row.name == main and len(rows) > 1 else "")
    return table


def costs_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """Size and speed of models that were only measured: the entries of a record without their scores."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("model", overflow="fold")
    for heading in ("params", "w/o emb.", "size", "texts/s", "p50", "p99"):
        table.add_column(heading, justify="right")
    for model in models:
        cost = Costs.of(model)
        table.add_row(
            Text(str(model["name"])),
            *(cost.parameters, cost.without_embeddings, cost.size, cost.rate, cost.p50, cost.p99),
        )
    return table


def parameters_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Parameters by component and bytes; of several models side by side, with the ratio to the first.

    Args:
        entries: as ``understudy params --json`` prints them.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("")
    counts: list[dict[str, int]] = []
    for entry in entries:
        heading = _lines(str(entry["name"]), "to the first") if counts else Text(str(entry["name"]))
        table.add_column(heading, justify="right", overflow="fold")
        counts.append({part["name"]: part["parameters"] for part in entry["components"]})
    names = _merged([list(count) for count in counts])
    for name in names:
        table.add_row(Text(name), *_beside([count.get(name) for count in counts], "{:,}".format))
    table.add_section()
    table.add_row("parameters", *_beside([entry["parameters"] for entry in entries], "{:,}".format), style="bold")
    for kind in entries[0]["bytes"]:
        table.add_row(kind, *_beside([entry["bytes"][kind] for entry in entries], human_bytes))
    return table


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names, once each, in an order that agrees with every given one as far as they agree with each other.

    Layers stand by their numbers, above them a pooler and then the head, even if the one model has fewer layers and the
    other no pooler.

    Example:
        >>> _merged([["embeddings", "layer 0", "layer 1", "head"], ["embeddings", "layer 0", "pooler"]])
        ['embeddings', 'layer 0', 'layer 1', 'pooler', 'head']
    """
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name in merged:
                place = merged.index(name) + 1
            else:
                merged.insert(place, name)
                place += 1
    rising = iter(sorted((name for name in merged if _height(name)), key=_height))
    return [next(rising) if _height(name) else name for name in merged]


def _height(name: str) -> tuple[int, ...]:
    """Where a component stands in any model; nothing of a module that goes by a name of its own."""
    if layer := re.match(r"layers? (\d+)", name):
        return 1, int(layer[1])
    return {"embeddings": (0, 0), "final norm": (2, 0), "pooler": (2, 1), "head": (3, 0)}.get(name, ())


def _beside(values: Sequence[int | None], shown: Callable[[int], str]) -> list[Text]:
    """The cells of a row: each value, and from the second on how many times the first it is."""
    cells: list[Text] = []
    for value in values:
        if value is None:
            cells.append(Text(ABSENT))
        elif cells and values[0]:
            cells.append(Text.assemble(shown(value), (f"  {value / values[0]:.2f}x", "dim not bold")))
        else:
            cells.append(Text(shown(value)))
    return cells


def _lines(first: str, *rest: str) -> Text:
    """A cell of several lines, the first one the most important. `Text`, so that brackets in names are no markup."""
    return Text.assemble(first, *[("\n" + line, "dim not bold") for line in rest])
