"""The data of a run: rows, lengths, labels, duplicates and leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.report.numbers import number
from understudy.report.page.charts.bars import lengths_chart
from understudy.report.page.charts.drawing import Chart
from understudy.report.page.tables import Cell, Column, PageTable, without_empty
from understudy.report.scores import Record

MOST_LABELS = 200
"""Labels that are shown; of more, the most frequent ones."""


@dataclass(frozen=True)
class ReadData:
    """Data that were read again for the page.

    Attributes:
        texts: of each part.
        labels: of the parts that have some, as in :class:`understudy.data.splits.Rows`.
        labelled: which of their rows have a label.
        task: None for raw text.
    """

    texts: Mapping[str, Texts]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    labelled: Mapping[str, np.ndarray] = field(default_factory=dict)
    task: Task | None = None


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What the page says of data."""

    name: str
    of: list[str]
    """The runs that used it."""
    parts: PageTable
    labels: PageTable | None = None
    findings: PageTable | None = None
    lengths: Chart | None = None
    notes: list[str] = field(default_factory=list)
    missing: str = ""
    """Why lengths, labels and duplicates are not shown."""


def data_card(
    name: str,
    of: Sequence[str],
    record: Record,
    data: ReadData | None,
    *,
    missing: str,
    notes: Sequence[str] = (),
    alone: bool = True,
) -> DataCard:
    """The card of the data of a run.

    Args:
        name: of the data, as the run named it.
        of: the runs that used it.
        record: the run's.
        data: as it was read again.
        missing: why it could not be read.
        notes: of all these runs.
        alone: whether the page has no other data; else tables and charts are headed with the runs too.
    """
    whose = "" if alone else f", {', '.join(of)}"
    if data is None:
        parts = _headed(_parts(record, None), whose)
        return DataCard(name=name, of=list(of), parts=parts, notes=list(notes), missing=missing)
    words = {part: _words(texts) for part, texts in data.texts.items()}
    title, labels = f"Length of the training texts{whose}", _labels(data)
    return DataCard(
        name=name,
        of=list(of),
        parts=_headed(_parts(record, data, words), whose),
        labels=None if labels is None else _headed(labels, whose),
        findings=_headed(_findings(data), whose),
        lengths=lengths_chart(words["train"], title=title, unit="words") if "train" in words else None,
        notes=list(notes),
    )


def _headed(table: PageTable, more: str) -> PageTable:
    return table._replace(caption=f"{table.caption}{more}")


def _words(texts: Texts) -> np.ndarray:
    """Words of each row, of both texts of a pair together."""
    return np.fromiter((sum(len(text.split()) for text in row) for row in texts), np.int64, len(texts))


def _parts(record: Record, data: ReadData | None, words: Mapping[str, np.ndarray] | None = None) -> PageTable:
    """Each part: its rows, how many have a label, and how long they are."""
    rows = []
    for part, entry in (record.get("data") or {}).items():
        count = number(entry.get("rows")) or 0
        row = [Cell(part), Cell(f"{count:,.0f}", count)]
        if data is not None and words is not None and part in data.texts:
            texts = data.texts[part]
            characters = np.fromiter((sum(map(len, texts_of)) for texts_of in texts), np.int64, len(texts))
            labelled = int(data.labelled[part].sum()) if part in data.labelled else 0
            row += [
                Cell(f"{labelled:,}", labelled) if part in data.labelled else Cell(""),
                *(_quantile(words[part], share) for share in (0.5, 0.95, 1.0)),
                _quantile(characters, 0.5),
            ]
        else:
            row += [Cell("")] * 5
        rows.append([*row, Cell(str(entry.get("fingerprint") or "")[:12])])
    columns = [
        Column("Part", numeric=False),
        Column("Rows", descending=True),
        Column("With label", descending=True),
        Column("Words, median"),
        Column("95 % have at most", "Words"),
        Column("Longest", "Words"),
        Column("Characters, median"),
        Column("Fingerprint", "Of the texts: equal data have equal ones", numeric=False),
    ]
    return without_empty(PageTable("Parts", columns, rows))


def _quantile(values: np.ndarray, share: float) -> Cell:
    if not values.size:
        return Cell("")
    found = float(np.quantile(values, share, method="higher"))
    return Cell(f"{found:,.0f}", found)


def _labels(data: ReadData) -> PageTable | None:
    """How often each label occurs in each part; of numbers, how they spread."""
    if data.task is None or not data.labels:
        return None
    parts = [part for part in data.labels if data.labelled[part].any()]
    if data.task.kind == "regression":
        return _spread_of_numbers(data, parts)
    names = data.task.labels
    counts = {part: _counts(data, part, len(names)) for part in parts}
    first = counts[parts[0]] if parts else np.zeros(len(names))
    order = np.argsort(-first, kind="stable")
    rows = []
    widest = max((float(counts[part].max()) / max(int(data.labelled[part].sum()), 1) for part in parts), default=0) or 1
    for place in order[:MOST_LABELS].tolist():
        row = [Cell(names[place])]
        for part in parts:
            total = max(int(data.labelled[part].sum()), 1)
            share = int(counts[part][place]) / total
            row.append(
                Cell(f"{counts[part][place]:,}", float(counts[part][place]), f"{100 * share:.1f} %", share / widest)
            )
        rows.append(row)
    note = f"The {MOST_LABELS} most frequent of {len(names):,} labels." if len(names) > MOST_LABELS else ""
    columns = [Column("Label", numeric=False), *(Column(part, descending=True) for part in parts)]
    return PageTable("Labels", columns, rows, note=note)


def _counts(data: ReadData, part: str, labels: int) -> np.ndarray:
    known = data.labels[part][data.labelled[part]]
    if known.ndim == 2:
        found: np.ndarray = known.sum(0).astype(np.int64)
        return found
    return np.bincount(known.astype(np.int64), minlength=labels)


def _spread_of_numbers(data: ReadData, parts: Sequence[str]) -> PageTable:
    rows = []
    for part in parts:
        known = data.labels[part][data.labelled[part]].astype(np.float64)
        quarters = [float(np.quantile(known, share)) for share in (0, 0.25, 0.5, 0.75, 1)]
        rows.append(
            [
                Cell(part),
                *(Cell(f"{value:.4g}", value) for value in (*quarters, float(known.mean()), float(known.std()))),
            ]
        )
    names = ("Least", "25 %", "Median", "75 %", "Most", "Mean", "Standard deviation")
    return PageTable("Labels", [Column("Part", numeric=False), *(Column(name) for name in names)], rows)


def _findings(data: ReadData) -> PageTable:
    """Duplicates and leaks, counted; 0 is what one wants."""
    keys = {part: texts.keys() for part, texts in data.texts.items()}
    others = [part for part in ("validation", "test") if part in keys]
    rows = []
    for part, own in keys.items():
        row = [Cell(part), _count(len(own) - len(np.unique(own)))]
        row.append(_count(_conflicts(own, data, part)) if part in data.labels else Cell(""))
        for place, other in enumerate(others):
            earlier = part != other and part not in others[place:]
            row.append(_count(int(np.isin(own, keys[other]).sum())) if earlier else Cell(""))
        rows.append(row)
    columns = [
        Column("Part", numeric=False),
        Column("Repeats", "Rows whose text stands before in the same part", descending=True),
        Column("Different labels", "Texts of the part that occur with more than one label", descending=True),
        *(
            Column(f"Also in {other}", f"Rows whose text is in the {other} split too", descending=True)
            for other in others
        ),
    ]
    found = any(cell.bad for row in rows for cell in row)
    note = "" if found else "No text occurs twice, and none leaks from one part into another."
    return without_empty(PageTable("Duplicates and leaks", columns, rows, note=note))


def _count(count: int) -> Cell:
    return Cell(f"{count:,}", count, bad=count > 0)


def _conflicts(keys: np.ndarray, data: ReadData, part: str) -> int:
    """Distinct texts of a part that occur with more than one label."""
    places = np.flatnonzero(data.labelled[part])
    if not places.size:
        return 0
    labels = data.labels[part][places].reshape(len(places), -1)
    codes = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    texts = np.unique(keys[places], return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.column_stack([texts, codes]), axis=0)
    return int((np.bincount(pairs[:, 0]) > 1).sum())


def data_name(config: Mapping[str, Any]) -> str:
    """The data of a run as its settings name it: of a path only the last part."""
    names = [config.get("data"), *(config.get(part) for part in ("train", "validation", "test"))]
    return ", ".join(str(name).rstrip("/").rsplit("/", 1)[-1] for name in names if name) or "data"
