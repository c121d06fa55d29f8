"""``understudy report``: runs, families and comparisons as one page of HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from understudy.atomic import OUTPUT, said_plainly, write_bytes
from understudy.data.splits import Splits
from understudy.errors import UnderstudyError
from understudy.folders.lock import Lock
from understudy.report.numbers import human_bytes
from understudy.report.page.answers import KeptAnswers, kept_answers
from understudy.report.page.data_card import DataCard, ReadData, data_card, data_name
from understudy.report.page.models import model_lines
from understudy.report.page.rows import RowsToRead, recorded_mistakes, rows_to_read
from understudy.report.page.runs import PageRun, read_runs
from understudy.report.page.write import render_page
from understudy.report.scores import Record, scored_count, shown_split
from understudy.report.shown_settings import shareable
from understudy.runs.inputs import read_rows, read_texts
from understudy.runs.subject import Subject
from understudy.settings.choose.report import ReportSettings
from understudy.settings.configuration import check
from understudy.settings.data import CorpusSettings, DataSettings
from understudy.terminal.lines import show

_ANSWERING = ("single_label", "multi_label", "regression")
_READ_AGAIN = ("finetune", "distill", "compare", "pretrain", "distill-lm")
"""Commands whose settings say which rows or texts they read."""


class Report(ReportSettings):
    """Write one page of HTML about any runs, families and comparisons: it holds everything and loads nothing."""

    def run(self) -> Path:
        """Read the records and, where they are still there, the data; write the page; its path.

        Raises:
            UnderstudyError: if a folder holds no run, or the page cannot be written.
        """
        check(self)
        runs = read_runs([Path(name).expanduser() for name in self.folders])
        found = {run.name: _data_of(run) for run in runs}
        page = render_page(
            runs, rows=list(_rows(runs, found, self.rows)), data=_cards(runs, found), most_rows=self.rows
        )
        path = self.page()
        with said_plainly(path.parent, remedy=OUTPUT):
            path.parent.mkdir(parents=True, exist_ok=True)
        # what half-written file lies in a run's folder is removed by the process that writes the run
        with Lock(path.parent, shared=True) if (path.parent / "record.json").exists() else nullcontext():
            write_bytes(path, page.html)
        fewer = "" if page.rows == self.rows else f"; {page.rows} rows of each list, so that it stays below 1 MB"
        show(f"{path}: {human_bytes(len(page.html))}{fewer}")
        return path


class _Data(NamedTuple):
    """The data of a run as they were read again, or why they could not be."""

    record: Record
    """That of the run whose data these are: of a family, its first one."""
    read: ReadData | None
    missing: str


def _data_of(run: PageRun) -> _Data:
    """Read the data of a run again, if its record says which they are and they are as they were."""
    _, record = run.one()
    config = record.get("config") or {}
    kind = (record.get("task") or {}).get("kind")
    if not record.get("data"):
        return _Data(record, None, "The record says nothing of data.")
    if record.get("command") not in _READ_AGAIN or not (config.get("data") or config.get("train")):
        why = f"The data of {record.get('command')} are not read again, so only what the record says is shown."
        return _Data(record, None, why)
    try:
        found = _splits(record, config) if kind in _ANSWERING else _corpus(record, config)
    except UnderstudyError as error:
        more = f" (and {len(error.faults) - 1} more)" if len(error.faults) > 1 else ""
        said = error.faults[0]
        for name in ("data", "train", "validation", "test", "unlabeled"):
            if config.get(name):  # the rest of a path tells of someone's home
                said = said.replace(str(config[name]), shareable(str(config[name])))
        why = f"The data could not be read again, so only what the record says is shown: {said}{more}"
        return _Data(record, None, why)
    read, parts = found
    changed = [name for name, part in parts.items() if _differs(part, record["data"].get(name))]
    if changed:
        return _Data(
            record,
            None,
            f"The data have changed since the run ({', '.join(changed)}), so only what the record says is shown.",
        )
    return _Data(record, read, "")


def _splits(record: Record, config: Mapping[str, Any]) -> tuple[ReadData, Mapping[str, Mapping[str, Any]]]:
    settings = _given(DataSettings, config)
    splits = read_rows(
        settings,
        seed=int(record.get("seed") or 0),
        unlabeled=config.get("unlabeled"),
        pool_rest=bool(config.get("pool_rest")),
        allow_unlabelled="unlabeled" in config or "pool_rest" in config,
    )
    return _of_splits(splits), Subject.of_rows(splits).data()


def _of_splits(splits: Splits) -> ReadData:
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    rows = {name: part for name, part in parts.items() if part is not None}
    labels = {name: part.labels for name, part in rows.items()}
    return ReadData(splits.texts(), labels, {name: part.labelled for name, part in rows.items()}, splits.task)


def _corpus(record: Record, config: Mapping[str, Any]) -> tuple[ReadData, Mapping[str, Mapping[str, Any]]]:
    corpus = read_texts(_given(CorpusSettings, config), seed=int(record.get("seed") or 0))
    described = Subject.of_corpus(corpus, kind="language_model", metrics=()).data()
    return ReadData(corpus.texts()), described


def _given(kind: type[Any], config: Mapping[str, Any]) -> Any:
    """The settings of the data as the record has them; a comparison has a list of numbers of rows."""
    values = {field.name: config[field.name] for field in dataclasses.fields(kind) if field.name in config}
    limit = values.get("limit_train")
    if isinstance(limit, list):
        values["limit_train"] = max(limit) if limit else None
    return kind(**values)


def _differs(part: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    """Whether data are others than those on the record; a part that it does not have was not used."""
    return known is not None and any(key in known and known[key] != part.get(key) for key in ("fingerprint", "labels"))


def _rows(runs: Sequence[PageRun], found: Mapping[str, _Data], most: int) -> Iterator[RowsToRead]:
    """Rows to look at: of runs that keep answers for the same rows together, of each other run by itself."""
    lines = model_lines(runs)
    together: dict[tuple[Any, ...], list[tuple[PageRun, KeptAnswers]]] = {}
    alone: list[RowsToRead] = []
    for run in runs:
        if run.kind not in _ANSWERING:
            continue
        kept = kept_answers(run, chosen=[line.name for line in lines if line.run == run.name and line.chosen])
        if isinstance(kept, KeptAnswers):
            split = shown_split(kept.source)
            rows = (kept.source.get("data") or {}).get(split) or {}
            together.setdefault(
                (split, rows.get("fingerprint"), kept.task.kind, kept.task.labels, kept.labels.tobytes()), []
            ).append((run, kept))
        else:
            total = scored_count(run.record) or 0
            made = recorded_mistakes(run.record, split=shown_split(run.record), total=total, said=kept)
            alone.append(dataclasses.replace(made, title=run.name if len(runs) > 1 else ""))
    for (split, *_), members in together.items():
        kept = KeptAnswers.joined([(run.name, kept) for run, kept in members])
        texts = next(
            (
                data.read.texts[split]
                for run, _ in members
                if (data := found[run.name]).read is not None and split in data.read.texts
            ),
            None,
        )
        made = rows_to_read(kept, texts, split=split, most=most)
        yield dataclasses.replace(made, title=", ".join(run.name for run, _ in members) if len(runs) > 1 else "")
    yield from alone


def _cards(runs: Sequence[PageRun], found: Mapping[str, _Data]) -> list[DataCard]:
    """A card of each data set."""
    sets: dict[tuple[str, ...], list[PageRun]] = {}
    for run in runs:
        data = found[run.name].record.get("data") or {}
        if data:
            sets.setdefault(tuple(f"{name} {part.get('fingerprint')}" for name, part in data.items()), []).append(run)
    cards = []
    for members in sets.values():
        best = next((run for run in members if found[run.name].read is not None), members[0])
        data = found[best.name]
        name = data_name(data.record.get("config") or {})
        cards.append(
            data_card(
                name,
                [run.name for run in members],
                data.record,
                data.read,
                missing=data.missing,
                notes=_notes(members, found),
                alone=len(sets) == 1,
            )
        )
    return cards


def _notes(runs: Sequence[PageRun], found: Mapping[str, _Data]) -> list[str]:
    """The notes of all these runs, each once; of several runs with the names of those that have it."""
    whose: dict[str, list[str]] = {}
    for run in runs:
        for note in dict.fromkeys([*(run.record.get("notes") or []), *(found[run.name].record.get("notes") or [])]):
            whose.setdefault(str(note), []).append(run.name)
    return [f"{', '.join(names)}: {note}" if len(runs) > 1 else note for note, names in whose.items()]
