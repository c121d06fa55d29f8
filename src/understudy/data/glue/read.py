"""From a root folder or the hub to checked rows of a task of GLUE."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from understudy.data.glue.files import glue_sources, has_diagnostic, is_on_hub, missing_split, place_of, to_be_had
from understudy.data.glue.labels import read_labels
from understudy.data.glue.layout import read_glue_table
from understudy.data.glue.places import check_numbers
from understudy.data.glue.roots import task_folders, tasks_there
from understudy.data.glue.tasks import DIAGNOSTIC, NINE, GlueTask, glue_task
from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.columns import TextColumns, blank_rows, find_label, find_text, texts_of
from understudy.data.readers.drawing import check_classes, draw
from understudy.data.readers.duplicates import note_repeats
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.labels.values import distinct_values
from understudy.data.readers.places.source import Source
from understudy.data.readers.sources import load_splits
from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import ConfigError, DataError, nearest


@dataclass(frozen=True)
class TaskData:
    """The rows of one task.

    Attributes:
        name: of the task, as commands and folders have it.
        splits: training and validation rows. The latter are GLUE's development set, on which everyone reports; a test
            split with labels is among `others`.
        others: further rows with labels that are scored too, by split: ``validation_mismatched`` of MNLI, and
            ``test``, ``test_mismatched`` or ``diagnostic`` where the files have labels.
        tests: texts of the test files in their order, by the file of the submission: ``SST-2``, ``MNLI-mm``.
        glue: what GLUE says of the task; None for one of the user's own.
    """

    name: str
    splits: Splits
    others: dict[str, Rows] = field(default_factory=dict)
    tests: dict[str, Texts] = field(default_factory=dict)
    glue: GlueTask | None = None


def read_task(root: str, name: str, *, limit_train: int | None = None, seed: int = 0, tests: bool = False) -> TaskData:
    """A task of GLUE below a root folder or on the hub, or any folder of splits below that root.

    Args:
        root: a folder with a folder a task, or the hub's ``nyu-mll/glue``.
        name: a task of GLUE, however it is written, or the name of a folder.
        limit_train: draw so many training rows, balanced over the classes.
        seed: determines the draw.
        tests: also read the test files; of MNLI the diagnostic set too, if it is there.

    Raises:
        ConfigError: if there is no such task.
        DataError: with every fault of its files.
    """
    task = glue_task(name)
    if task is None:
        there = tasks_there(root)
        if name in there:
            splits = load_splits(f"{root.rstrip('/')}/{name}", limit_train=limit_train, seed=seed)
            others = {} if splits.test is None else {"test": splits.test}
            return TaskData(name, replace(splits, test=None), others)
        own = [other for other in there if glue_task(other) is None]
        also = f", and {root} has {', '.join(own)}" if own else ""
        raise ConfigError(f"unknown task '{name}'.{nearest(name, [*NINE, *own])} GLUE has {', '.join(NINE)}{also}.")
    if task.name == "ax":
        raise ConfigError("'ax' is the diagnostic set, which nothing is trained on. A run of mnli answers for it.")
    return _Reader(root, task).read(limit_train=limit_train, seed=seed, tests=tests)


def glue_there(root: str) -> tuple[list[str], list[str]]:
    """GLUE's tasks whose training and development files are below a root folder, in GLUE's order; on the hub all.

    Returns:
        Their names, and what there is to say of the folders of others, which lack files.

    Raises:
        DataError: if there is none, or one has several files of a kind.
    """
    if is_on_hub(root):
        return list(NINE), []
    there, lacking, faults = list[str](), list[str](), list[str]()
    for name in NINE:
        task, found = _known(name), Faults()
        if not task_folders(root, task):
            continue
        sources = glue_sources(root, task, found)
        missing = [missing_split(place_of(root, task), s, task) for s in ("train", "validation") if s not in sources]
        if found.messages() not in ([], missing[:1]):
            faults += found.messages()
        elif missing:
            lacking.append(missing[0])
        else:
            there.append(name)
    if faults:
        raise DataError(*faults)
    if not there:
        raise DataError(f"{root}: holds none of GLUE's tasks ({', '.join(NINE)}). Name another --data.", *lacking)
    return there, lacking


def _known(name: str) -> GlueTask:
    task = glue_task(name)
    assert task is not None
    return task


def look_for_files(root: str, name: str) -> None:
    """Refuse a task of GLUE whose files are not below a root folder; they are not read. The hub is not asked.

    Raises:
        DataError: with every fault that was found.
    """
    task = glue_task(name)
    if task is not None and not is_on_hub(root):
        _Reader(root, task).sources()


class _Reader:
    """Reads the files of one task; faults of all of them are reported together."""

    def __init__(self, root: str, task: GlueTask) -> None:
        self.root, self.task = root, task
        self.faults, self.notes = Faults(), list[str]()

    def sources(self) -> dict[str, Source]:
        """Where each split is; the training and the development rows are."""
        sources = glue_sources(self.root, self.task, self.faults)
        for split in ("train", "validation"):
            if sources and split not in sources:
                self.faults.add(missing_split(place_of(self.root, self.task), split, self.task))
        self.faults.check()
        return sources

    def read(self, *, limit_train: int | None, seed: int, tests: bool) -> TaskData:
        """All that is asked for."""
        sources = self.sources()
        if self.task.name == "mnli" and "validation_mismatched" not in sources:
            missing = missing_split(place_of(self.root, self.task), "validation_mismatched", self.task)
            self.notes.append(f"{missing} It is scored on the matched rows alone.")
        tables = {
            split: table
            for split, source in sources.items()
            if (table := self._table(source, self.task, in_place=tests and split.startswith("test"))) is not None
        }
        diagnostic = self._diagnostic() if self.task.name == "mnli" and (tests or not is_on_hub(self.root)) else {}
        train = tables.get("train")
        columns = None if train is None else self._columns(train, self.task)
        label = None if train is None else self._label(train)
        rows = {}
        for split, table in tables.items():
            if columns is None or label is None or (split.startswith("test") and not self._has_labels(table, label)):
                continue
            found = self._rows(table, split)
            if found is not None:
                rows[split] = found
        told = next((table for table in diagnostic.values() if self._has_labels(table, label)), None)
        if told is not None and (found := self._rows(told, DIAGNOSTIC)) is not None:
            rows[DIAGNOSTIC] = found
        answered = self._tests(tables, diagnostic) if tests else {}
        check_classes(limit_train, len(self.task.labels), self.faults, of=f"{self.task.name}: ")
        self.faults.check()
        assert columns is not None
        assert label is not None
        task = Task(text=columns, label=label, kind=self.task.kind, labels=self.task.labels, metrics=self.task.metrics)
        chosen = rows["train"].take(draw(rows["train"], limit_train, seed, self.notes)[0])
        for split, part in rows.items():
            if split != "train":
                note_repeats(chosen, part, self.notes, split=split.partition("_")[0])
        labelled = int(rows["train"].labelled.sum())
        splits = Splits(task, chosen, rows["validation"], None, None, tuple(self.notes), labelled)
        others = {split: part for split, part in rows.items() if split not in ("train", "validation")}
        return TaskData(self.task.name, splits, others, answered, self.task)

    def _table(self, source: Source, task: GlueTask, *, in_place: bool = False) -> SourceTable | None:
        table = read_glue_table(source, task, self.faults, in_place=in_place)
        if table is not None and table.blank:
            self.notes.append(f"{table.origin}: {counted(table.blank, 'empty line')} skipped.")
        return table

    def _diagnostic(self) -> dict[str, SourceTable]:
        """The tables of the diagnostic set: ``test``, and ``validation`` where another file tells the labels."""
        ax = _known("ax")
        sources = glue_sources(self.root, ax, self.faults if has_diagnostic(self.root) else Faults())
        found = {split: self._table(source, ax, in_place=True) for split, source in sources.items()}
        return {split: table for split, table in found.items() if table is not None}

    def _columns(self, table: SourceTable, task: GlueTask) -> TextColumns | None:
        for names in task.text:
            if set(names) <= set(table.names):
                return tuple((name,) for name in names)
        return find_text(table.names, (), origin=table.origin, faults=self.faults, arity=task.arity, remedy="Rename it")

    def _label(self, table: SourceTable) -> str | None:
        known = next((name for name in self.task.label if name in table.names), None)
        way = "Give the label a column 'label'."
        taken = {name for names in self.task.text for name in names}
        return known or find_label(
            table.names, None, text=[*taken], origin=table.origin, faults=self.faults, remedy=way
        )

    def _has_labels(self, table: SourceTable, of_training: str | None) -> bool:
        """Whether a test file tells its labels, in a usual column or that of the training rows; some have -1 in every row."""
        column = next((name for name in (*self.task.label, of_training) if name in table.names), None)
        return column is not None and not set(distinct_values(table, column)[0]) <= {"-1", "-1.0"}

    def _rows(self, table: SourceTable, split: str) -> Rows | None:
        columns, label = self._columns(table, self.task), self._label(table)
        if columns is None or label is None:
            return None
        texts = texts_of(table, columns, self.faults)
        if texts is None:
            return None
        rows = Rows(texts, read_labels(table, label, self.task, self.faults), table.origin)
        blank, bare = blank_rows(table, columns), np.flatnonzero(~rows.labelled)
        if self.task.tolerant:
            broken = np.union1d(blank, bare)
            if len(broken) == len(rows):
                self.faults.add(
                    f"{table.origin}: all {counted(len(rows), 'row')} are broken (first: {table.where(int(broken[0]))}), so none is left. A row has {' and '.join(name for entry in columns for name in entry)}, and a label in '{label}'. Get the file again. {to_be_had(self.task)}"
                )
                return None
            if len(broken):
                self.notes.append(
                    f"{table.origin}: {counted(len(broken), 'broken row')} left out, as is usual for {self.task.folder} (first: {table.where(int(broken[0]))})."
                )
            return rows.take(np.setdiff1d(np.arange(len(rows)), broken))
        named = " and ".join("+".join(entry) for entry in columns)
        self.faults.rows(
            table.origin,
            "with an empty text",
            blank,
            lambda row: (
                f"{table.where(row)}: {_empty(table, row, columns)} ({named}) is empty. Fill it in, or remove the row."
            ),
        )
        self.faults.rows(
            table.origin,
            "without a label",
            bare,
            lambda row: f"{table.where(row)}: no label in column '{label}'. Label the row, or remove it.",
        )
        return rows

    def _tests(self, tables: dict[str, SourceTable], diagnostic: dict[str, SourceTable]) -> dict[str, Texts]:
        wanted = [(answers, tables.get(answers.split), self.task) for answers in self.task.answers]
        if self.task.name == "mnli":
            ax = _known("ax")
            wanted += [(answers, diagnostic.get(answers.split), ax) for answers in ax.answers]
        found = {}
        for answers, table, task in wanted:
            if table is None:
                self.notes.append(
                    f"no test file for {answers.file}.tsv of the submission. {missing_split(place_of(self.root, task), answers.split, task)}"
                )
                continue
            columns = self._columns(table, task)
            texts = None if columns is None else texts_of(table, columns, self.faults)
            if texts is not None:
                found[answers.file] = texts
                check_numbers(table, self.faults)
            if texts is not None and len(texts) != answers.rows:
                self.notes.append(
                    f"{table.origin}: has {counted(len(texts), 'row')}, but the leaderboard's test set has {answers.rows:,}, so it would refuse {answers.file}.tsv. {to_be_had(task)}"
                )
        return found


def _empty(table: SourceTable, row: int, columns: TextColumns) -> str:
    if len(columns) == 1:
        return "the text"
    cells = [table.cells.column(entry[0])[row].as_py() or "" for entry in columns]
    return "one side of the pair" if any(cell.strip() for cell in cells) else "the pair"
