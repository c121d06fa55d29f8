"""``understudy predict``: texts in, labels and probabilities out, as a stream."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from understudy.atomic import OUTPUT, new_file
from understudy.data.readers.columns import said_of_columns
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.parsed import Lines, Parsed
from understudy.data.readers.sources import read_texts
from understudy.data.tasks import Task
from understudy.errors import DataError, ModelError
from understudy.inference.answer_lines import (
    csv_header,
    csv_header_of_each,
    csv_row,
    csv_row_of_each,
    csv_row_of_likeliest,
    json_row,
    json_row_of_each,
)
from understudy.inference.many import AdaptedBase
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import Ensemble
from understudy.loading import load, load_base
from understudy.models.files.fingerprints import files_fingerprint
from understudy.models.files.names import adapter_folder, run_name
from understudy.recipes.use.predict_parts import Block, PredictedParts
from understudy.runs.cluster.connection import checked_address
from understudy.runs.devices import on_threads
from understudy.settings.configuration import check
from understudy.settings.engine import LOCAL, RAY
from understudy.settings.use.predict import PredictSettings, is_special
from understudy.terminal.lines import say, visible

LinesOf = Callable[[Block], str]
"""What is written for a block of texts."""


class Asked(NamedTuple):
    """What answers, ready to be asked."""

    task: Task
    header: str
    """The first line of a CSV."""
    lines: LinesOf
    identity: Callable[[], str]
    """SHA-256 of everything that the answers depend on."""


class Predict(PredictSettings):
    """Label texts: files or standard input in, CSV or JSON lines out, in the same order, a block at a time."""

    def run(self) -> int:
        """Predict everything; the number of texts.

        Raises:
            UnderstudyError: if the model or the texts cannot be read, or the output not written.
        """
        check(self)
        count = 0
        with ExitStack() as stack:
            if self.threads is not None:  # before a graph is loaded, which keeps the number
                stack.enter_context(on_threads(self.threads))
            asked = self.asked()
            spread = self._spread(asked) if self.engine == RAY else None
            write = self._open(stack)
            blocks = spread.blocks() if spread else _answered(asked.lines, self.texts(asked.task), self.batch_size)
            first = list(islice(blocks, 1))  # faults of the input are found before anything is written
            if self._format() == "csv":
                write(asked.header)
            for number, written in chain(first, blocks):
                write(written)
                count += number
        if spread:
            spread.remove()
        return count

    def asked(self) -> Asked:
        """Load the model, or the adapters.

        Raises:
            ModelError: if they cannot be loaded, or do not belong together.
        """
        return self._all_adapters() if self.adapters else self._model()

    def _model(self) -> Asked:
        """One model, or the mean of several."""
        model = load(*self.models(), task=self.task)
        if isinstance(model, TaskPredictors):
            model.predict([])  # refuses, with the names of the tasks
        if isinstance(model, Ensemble):
            for name, member in zip(self.models(), model.members):
                _say(said_of_columns(name, member.task.text, model.task.text))
        task, top_k = model.task, self.top_k
        if top_k is not None and task.kind == "regression":
            raise ModelError(
                f"{self.models()[0]}: answers with a number, so there are no likeliest labels. Leave out --top_k."
            )
        as_csv = csv_row if top_k is None else csv_row_of_likeliest
        row = as_csv if self._format() == "csv" else json_row

        def lines(texts: list[tuple[str, ...]]) -> str:
            return "".join(row(text, answer, task) for text, answer in zip(texts, model.predict(texts, top_k=top_k)))

        def identity() -> str:
            return self._identity([model.fingerprint(), model.temperature, task.as_dict()])

        return Asked(task, csv_header(task, top_k=top_k), lines, identity)

    def _all_adapters(self) -> Asked:
        """The same for several adapters of one base."""
        base = load_base(self.models()[0])
        names = _loaded(base, self.adapters, force=self.force)
        tasks: dict[str, Task] = {}
        for name, adapter in zip(names, self.adapters):
            task = base.facts[name].task
            if task is None:
                raise ModelError(f"{adapter}: is an adapter without a head, so it answers nothing. Leave it out.")
            tasks[name] = task
        first = tasks[names[0]]
        if odd := [name for name, task in tasks.items() if task.is_pair != first.is_pair]:
            raise ModelError(
                f"the adapters '{names[0]}' and '{odd[0]}' do not read the same: one reads pairs of texts, the other single ones. Ask them in two commands."
            )
        for adapter, name in zip(self.adapters, names):
            _say(said_of_columns(adapter, tasks[name].text, first.text))
        as_csv = self._format() == "csv"

        def lines(texts: list[tuple[str, ...]]) -> str:
            each = base.predict_each(texts)
            answers = [{name: each[name][i] for name in names} for i in range(len(texts))]
            if as_csv:
                return "".join(csv_row_of_each(text, answer, tasks) for text, answer in zip(texts, answers))
            return "".join(json_row_of_each(text, answer) for text, answer in zip(texts, answers))

        def identity() -> str:
            files = [files_fingerprint(name) for name in (*self.models(), *self.adapters)]
            return self._identity([*files, *(task.as_dict() for task in tasks.values()), *names])

        return Asked(first, csv_header_of_each(tasks), lines, identity)

    def _spread(self, asked: Asked) -> PredictedParts:
        """The lines by parts, labelled on a cluster."""
        checked_address()
        alone = replace(self, engine=LOCAL, threads=self.threads or 1)
        identity = asked.identity()
        return PredictedParts(
            lambda: self.texts(asked.task),
            batch=self.batch_size,
            identity=identity,
            make=partial(PartPredictor, alone, identity),
            threads=self.threads or 1,
        )

    def _identity(self, model: list[Any]) -> str:
        shape = [self._format(), self.top_k, self.batch_size, self.threads or 1]
        return hashlib.sha256(json.dumps([model, shape]).encode()).hexdigest()

    def _format(self) -> str:
        return self.format or ("jsonl" if self.output and self.output.endswith((".jsonl", ".jsonl.gz")) else "csv")

    def _open(self, stack: ExitStack) -> Callable[[str], Any]:
        """What writes text, as UTF-8 whatever the terminal and its locale are."""
        if self.output is None:
            stack.callback(sys.stdout.flush)
            binary, on_terminal = getattr(sys.stdout, "buffer", None), sys.stdout.isatty()
            if binary is None:  # a notebook's, or one that collects text in memory
                return sys.stdout.write
            sys.stdout.flush()
            return lambda text: binary.write((visible(text) if on_terminal else text).encode())
        path = Path(self.output).expanduser()
        if is_special(path):  # it cannot be renamed in the end
            stream: Any = stack.enter_context(path.open("wb"))
        else:
            stream = stack.enter_context(new_file(path.resolve(), remedy=OUTPUT))
        if self.output.endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        return lambda text: stream.write(text.encode())

    def texts(self, task: Task) -> Iterator[tuple[str, ...]]:
        """The texts of the input, in their order."""
        for name in self.input:
            path = Path(name).expanduser()
            if is_special(path):  # its name tells no format, and it can be read only once
                with open(path, "rb") as stream:
                    yield from _lines(stream, name, len(task.text))
            else:
                notes: list[str] = []
                texts = read_texts(name, text=self.text, trained=task.text, notes=notes, reading=self.reading)
                _say(notes)
                yield from texts
        if not self.input:
            if sys.stdin.isatty():
                two = ", the two of a pair with a tab between them" * (len(task.text) == 2)
                say(
                    f"understudy predict: waits for texts from the keyboard, one a line{two}. Ctrl-D on a line of its own ends them."
                )
            yield from _lines(sys.stdin.buffer, "standard input", len(task.text))


class PartPredictor:
    """Labels parts of a pool, on whatever machine this is made.

    Args:
        settings: of the prediction.
        identity: of the model where the command was given.

    Raises:
        ModelError: if the model cannot be loaded here, or is another one.
    """

    def __init__(self, settings: Predict, identity: str) -> None:
        torch.set_num_threads(settings.threads or 1)
        asked = settings.asked()
        self._lines = asked.lines
        if asked.identity() != identity:
            raise ModelError(
                f"{settings.models()[0]}: is another model than where the command was given. Put it on storage that all machines of the cluster share."
            )

    def __call__(self, part: list[Block]) -> str:
        """The lines of some blocks."""
        return "".join(map(self._lines, part))


def _loaded(base: AdaptedBase, adapters: list[str], *, force: bool) -> list[str]:
    """Load adapters into their base; their names: each is called as its run, two runs of one name as their paths."""
    folders = [adapter_folder(adapter) for adapter in adapters]
    plain = [name if folder is None else run_name(folder) for name, folder in zip(adapters, folders)]
    names = []
    for adapter, folder, name in zip(adapters, folders, plain):
        path = str(Path(adapter).expanduser()).removesuffix("/model").replace(".", "_")
        own = None if folder is None else name if plain.count(name) == 1 else path
        names.append(base.load_adapter(adapter, name=own, force=force))
    return names


def _say(notes: list[str]) -> None:
    for note in notes:
        say(f"  {note}")


def _lines(stream: BinaryIO, origin: str, arity: int) -> Iterator[tuple[str, ...]]:
    """A text a line, the two of a pair with a tab between them.

    Raises:
        DataError: with the line, where it is not UTF-8, holds a NUL byte or is no pair.
    """
    faults = Faults()
    lines = Lines(stream, Parsed(origin, faults), remedy="Write texts as UTF-8 there, or save them and name --input.")
    for line in lines:
        faults.check()
        if "\0" in line:
            raise DataError(f"{origin}, line {lines.number}: a NUL byte. Remove it.")
        whole = line.removesuffix("\n").removesuffix("\r")
        parts = tuple(whole.split("\t")) if arity == 2 else (whole,)
        if len(parts) != arity:
            raise DataError(
                f"{origin}, line {lines.number}: this model reads pairs, so a line must be two texts with a tab between them."
            )
        yield parts


def _answered(lines: LinesOf, texts: Iterator[tuple[str, ...]], batch: int) -> Iterator[tuple[int, str]]:
    while block := list(islice(texts, batch)):
        yield len(block), lines(block)
