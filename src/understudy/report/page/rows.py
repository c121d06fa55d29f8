"""Rows to look at: where models disagree, mistakes that a model is certain of, labels that look wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from understudy.data.texts import Texts
from understudy.evaluation.single_rows.disagreement import disagreement, spread
from understudy.evaluation.single_rows.doubts import (
    doubtful_classes,
    doubtful_numbers,
    doubtful_sets,
    suggested_classes,
)
from understudy.report.card.markdown import one_line
from understudy.report.page.answers import KeptAnswers
from understudy.report.page.tables import Cell
from understudy.report.scores import Record

LONGEST = 300
"""Characters of a text that are shown."""
_NONE = "none"


class AnswerOfSome(NamedTuple):
    """An answer, and who gave it."""

    answer: str
    right: bool | None
    """None where answers are numbers."""
    models: list[str]
    """Each with its certainty, where it has one."""


@dataclass(frozen=True, kw_only=True)
class RowToRead:
    """A row with its answers, and why it should be looked at."""

    number: int
    """Counted from 1."""
    texts: tuple[str, ...]
    label: str
    answers: list[AnswerOfSome]
    disagree: Cell
    sure: Cell
    """How certain the main model is of its mistake, or how large that is."""
    doubt: Cell
    suggestion: str = ""
    """What the label should be, where it looks wrong."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """The lists that it is in (``disagree``, ``sure``, ``doubt``), and its place in each, counted from 0."""

    @property
    def reasons(self) -> list[str]:
        """The lists that it is in."""
        return list(self.ranks)


class Reason(NamedTuple):
    """One of the lists that rows are in."""

    key: str
    title: str
    total: int
    """All such rows; the page may show fewer."""
    shown: int
    rule: str
    """Which rows these are, and in which order."""
    column: str
    """The heading of its measure."""


@dataclass(frozen=True, kw_only=True)
class RowsToRead:
    """All that the page shows of single rows."""

    rows: list[RowToRead] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    title: str = ""
    """The runs that these rows are of, where there are several."""
    split: str = ""
    total: int = 0
    """Rows of the split."""
    said: list[str] = field(default_factory=list)
    """What is not shown, and why."""

    def first(self, most: int) -> RowsToRead:
        """The same with at most so many rows of each list."""
        kept = []
        for row in self.rows:
            if ranks := {key: rank for key, rank in row.ranks.items() if rank < most}:
                kept.append(replace(row, ranks=ranks))
        reasons = [reason._replace(shown=min(reason.shown, most)) for reason in self.reasons]
        return replace(self, rows=kept, reasons=reasons)


class _Lists(NamedTuple):
    """The three measures of every row; 0 where it is in no such list."""

    disagree: np.ndarray
    sure: np.ndarray
    doubt: np.ndarray
    tie: np.ndarray
    """Of two rows with as much disagreement, the one with more of this comes first."""
    suggested: np.ndarray
    """What each label should be, as the labels are; where it is not in doubt, the label itself or anything."""


def rows_to_read(kept: KeptAnswers, texts: Texts | None, *, split: str, most: int) -> RowsToRead:
    """The rows of each list, its first ones first.

    Args:
        texts: of all rows; None where they could not be read again.
        most: rows of each list.
    """
    lists = {"single_label": _classes, "multi_label": _sets, "regression": _numbers}[kept.task.kind](kept)
    reasons, picked = [], dict[int, dict[str, int]]()
    for key, title, column, rule in _rules(kept):
        measure = getattr(lists, key)
        found = np.flatnonzero(measure > 0)
        order = np.lexsort((found, -lists.tie[found], -measure[found].round(9)))
        first = found[order][:most]
        reasons.append(Reason(key, title, len(found), len(first), rule, column))
        for rank, row in enumerate(first.tolist()):
            picked.setdefault(row, {})[key] = rank
    shown = [_row(kept, lists, row, texts, ranks) for row, ranks in picked.items()]
    said = list(kept.missing)
    if texts is None and shown:
        said.append("The rows could not be read again, so their texts are not shown.")
    return RowsToRead(rows=shown, reasons=reasons, split=split, total=len(kept.labels), said=said)


def recorded_mistakes(record: Record, *, split: str, total: int, said: Sequence[str]) -> RowsToRead:
    """The mistakes that a record keeps, for a run that keeps no answers.

    Args:
        said: why there is not more.
    """
    entries: Sequence[Mapping[str, Any]] = record.get("mistakes") or []
    rows = [
        RowToRead(
            number=int(entry["row"]) + 1,
            texts=tuple(short(text) for text in entry["texts"]),
            label=str(entry["label"]),
            answers=[AnswerOfSome(str(entry["answer"]), False, [_percent(entry["confidence"])])],
            disagree=Cell(""),
            sure=Cell(_percent(entry["confidence"]), float(entry["confidence"])),
            doubt=Cell(""),
            ranks={"sure": rank},
        )
        for rank, entry in enumerate(entries)
    ]
    rule = "The wrong answers that the model is most certain of. The record keeps only these."
    reasons = [Reason("sure", "Confident mistakes", len(rows), len(rows), rule, "Mistake")] if rows else []
    return RowsToRead(rows=rows, reasons=reasons, split=split, total=total, said=list(said))


def _rules(kept: KeptAnswers) -> list[tuple[str, str, str, str]]:
    """The lists: their keys, their titles, the headings of their measures, their rules."""
    main, models = kept.names[kept.main], len(kept.names)
    several = "the mean of all models" if models > 1 else main
    if kept.task.kind == "regression":
        apart = "The rows for which the models' numbers are furthest apart (standard deviation)."
        wrong = f"The rows for which the number of {main} is furthest from the label."
        doubt = f"The rows whose label is more than 3 standard deviations (by the median deviation) from {several}."
        mistakes = ("sure", "Largest errors", "Error", wrong)
    else:
        apart = "The rows with the largest share of pairs of models that answer differently, the surest first."
        wrong = f"The wrong answers that {main} is most certain of."
        doubt = f"By confident learning (Northcutt et al. 2021) from {several}: another class is as likely as it usually is for its own rows, and likelier than the label."
        mistakes = ("sure", "Confident mistakes", "Mistake", wrong)
    rules = [("disagree", "Models disagree", "Disagree", apart)] if models > 1 else []
    return [*rules, mistakes, ("doubt", "Labels that look wrong", "Doubt", doubt)]


def _classes(kept: KeptAnswers) -> _Lists:
    answers, known = kept.shares.argmax(-1), kept.labels >= 0
    main = kept.shares[kept.main]
    wrong = known & (answers[kept.main] != kept.labels)
    mean = kept.shares.mean(0)
    doubts, suggested = doubtful_classes(mean, kept.labels), suggested_classes(mean, kept.labels)
    tie = kept.shares.max(-1).mean(0)
    return _Lists(disagreement(answers), np.where(wrong, main.max(-1), 0.0), doubts, tie, suggested)


def _sets(kept: KeptAnswers) -> _Lists:
    answers, known = kept.shares >= 0.5, ~np.isnan(kept.labels).any(-1)
    wrong = known[:, None] & (answers[kept.main] != (kept.labels > 0.5))
    sure = np.abs(kept.shares[kept.main] - 0.5) + 0.5
    doubts = doubtful_sets(kept.shares.mean(0), kept.labels)
    tie = (np.abs(kept.shares - 0.5) + 0.5).mean((0, 2))
    suggested = (kept.labels > 0.5) ^ (doubts > 0)
    return _Lists(disagreement(answers), np.where(wrong, sure, 0.0).max(-1), doubts.max(-1), tie, suggested)


def _numbers(kept: KeptAnswers) -> _Lists:
    answers, known = kept.shares[..., 0], ~np.isnan(kept.labels)
    errors = np.where(known, np.abs(answers[kept.main] - kept.labels), 0.0)
    mean = answers.mean(0)
    return _Lists(spread(answers), errors, doubtful_numbers(mean, kept.labels), errors, mean)


def _row(kept: KeptAnswers, lists: _Lists, row: int, texts: Texts | None, ranks: Mapping[str, int]) -> RowToRead:
    numbers = kept.task.kind == "regression"
    human: Callable[[float], str] = (lambda value: f"{value:.3g}") if numbers else _percent
    cells = [
        Cell(human(value) if value > 0 else "", float(value) if value > 0 else None)
        for value in (float(measure[row]) for measure in lists[:3])
    ]
    return RowToRead(
        number=row + 1,
        texts=() if texts is None else tuple(short(text) for text in texts[row]),
        label=_label(kept, row),
        answers=_answers(kept, row),
        disagree=cells[0],
        sure=cells[1],
        doubt=cells[2],
        suggestion=_suggestion(kept, lists.suggested[row]) if lists.doubt[row] > 0 else "",
        ranks=ranks,
    )


def _label(kept: KeptAnswers, row: int) -> str:
    label, names = kept.labels[row], kept.task.labels
    if kept.task.kind == "single_label":
        return names[int(label)] if label >= 0 else "–"
    if np.isnan(label).any():
        return "–"
    return f"{float(label):.4g}" if kept.task.kind == "regression" else _joined(names, label > 0.5)


def _answers(kept: KeptAnswers, row: int) -> list[AnswerOfSome]:
    """Who answered what, the answer that most give first; numbers in the order of their size."""
    shares, task = kept.shares[:, row], kept.task
    if task.kind == "regression":
        order = np.argsort(shares[:, 0], kind="stable")
        return [AnswerOfSome(f"{float(shares[i, 0]):.3g}", None, [kept.names[i]]) for i in order]
    found: dict[str, AnswerOfSome] = {}
    label = _label(kept, row)
    for name, share in zip(kept.names, shares, strict=True):
        if task.kind == "single_label":
            answer, said = task.labels[int(share.argmax())], f"{name} {_percent(float(share.max()))}"
        else:
            answer, said = _joined(task.labels, share >= 0.5), name
        found.setdefault(answer, AnswerOfSome(answer, None if label == "–" else answer == label, [])).models.append(
            said
        )
    return sorted(found.values(), key=lambda entry: -len(entry.models))


def _suggestion(kept: KeptAnswers, suggested: np.ndarray) -> str:
    """What a label should be, in words."""
    if kept.task.kind == "regression":
        return f"{float(suggested):.3g}"
    if kept.task.kind == "single_label":
        return kept.task.labels[int(suggested)]
    return _joined(kept.task.labels, suggested)


def _joined(names: Sequence[str], chosen: np.ndarray) -> str:
    return ", ".join(name for name, on in zip(names, chosen, strict=True) if on) or _NONE


def short(text: str) -> str:
    """A text on one line, its end cut off where it is long."""
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rstrip()}…"


def _percent(share: float) -> str:
    return f"{100 * float(share):.0f} %"
