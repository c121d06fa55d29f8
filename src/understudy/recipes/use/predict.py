"""``understudy predict``: texts in, labels and probabilities out, as a stream."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TextIO

from annotated_types import Gt

from understudy.atomic import OUTPUT, new_file
from understudy.errors import DataError
from understudy.settings.configuration import check
from understudy.settings.training import model_faults

if TYPE_CHECKING:
    from understudy.inference.answers import Prediction

_OTHERS = (".tsv", ".parquet", ".json", ".xlsx")
"""Endings that promise a format other than those written here."""


@dataclass(kw_only=True)
class Predict:
    """Label texts: files or standard input in, CSV or JSON lines out, in the same order, a block at a time."""

    model: list[str] = field(default_factory=list)
    """A run or a model folder. Of several, such as a forward and a backward AWD-LSTM, the probabilities are averaged."""
    input: list[str] = field(default_factory=list)
    """Files of texts (csv, tsv, jsonl, parquet, txt, also .gz); without any, standard input, one text a line. So are pipes read."""
    text: list[str] = field(default_factory=list)
    """The files' text columns; found by themselves if named as usual."""
    output: str | None = None
    """The file to write (default: standard output); .gz is compressed."""
    format: Literal["csv", "jsonl"] | None = None
    """csv or jsonl (default: by the name of --output, else csv)."""
    batch_size: Annotated[int, Gt(0)] = 256
    """Texts read, labelled and written at a time."""
    overwrite: bool = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        faults = [fault for name in self._models() for fault in model_faults(name)]
        if not self._models():
            faults.append("no model: name a run or a model folder with --model.")
        paths = {name: Path(name).expanduser() for name in self.input}
        faults += [
            f"{name}: no such file. Check the path."
            for name, path in paths.items()
            if path.is_dir() or not path.exists()
        ]
        if self.output and Path(self.output).expanduser().is_dir():
            faults.append(f"{self.output}: is a folder, but the output is one file. Name a file with --output.")
        elif self.output and Path(self.output).expanduser().exists() and not self.overwrite:
            faults.append(f"{self.output}: exists already. Name another --output, or give --overwrite.")
        if self.output and self.format is None and (other := Path(self.output.removesuffix(".gz")).suffix) in _OTHERS:
            faults.append(
                f"{self.output}: {other} is not written here. Name a .csv or .jsonl file with --output, or give --format."
            )
        return faults

    def run(self) -> int:
        """Predict everything; the number of texts.

        Raises:
            UnderstudyError: if the model or the texts cannot be read, or the output not written.
        """
        check(self)
        import understudy

        model = understudy.load(*self._models())
        count = 0
        with ExitStack() as stack:
            file = self._open(stack)
            answered = _answered(model, self._texts(len(model.task.text)), self.batch_size)
            first = list(islice(answered, 1))  # what cannot be read is found before anything is written
            write = _csv_writer(file, model.task) if self._format() == "csv" else _jsonl_writer(file)
            for text, prediction in chain(first, answered):
                write(text, prediction)
                count += 1
        return count

    def _models(self) -> list[str]:
        """The models' names; Python callers may give a bare one."""
        return [self.model] if isinstance(self.model, str) else self.model

    def _format(self) -> str:
        return self.format or ("jsonl" if self.output and self.output.endswith((".jsonl", ".jsonl.gz")) else "csv")

    def _open(self, stack: ExitStack) -> TextIO:
        if self.output is None:
            stack.callback(sys.stdout.flush)
            return sys.stdout
        path = Path(self.output).expanduser()
        if _is_special(path):  # it has no name to be given at the end
            stream: Any = stack.enter_context(path.open("wb"))
        else:
            stream = stack.enter_context(new_file(path.resolve(), remedy=OUTPUT))
        if self.output.endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        stack.callback(text.detach)  # flushes, and leaves the closing to whoever opened
        return text

    def _texts(self, arity: int) -> Iterator[tuple[str, ...]]:
        from understudy.data.readers.sources import read_texts

        for name in self.input:
            path = Path(name).expanduser()
            if _is_special(path):  # its name tells no format, and it can be read but once
                with open(path, "rb") as stream:
                    yield from _lines(stream, name, arity)
            else:
                yield from read_texts(name, text=self.text, arity=arity)
        if not self.input:
            yield from _lines(sys.stdin.buffer, "standard input", arity)


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, such as the shell's ``<(...)``, or a device."""
    return path.exists() and not path.is_file()


def _lines(stream: BinaryIO, origin: str, arity: int) -> Iterator[tuple[str, ...]]:
    """A text a line, the two of a pair with a tab between them.

    Raises:
        DataError: with the line, where it is not UTF-8 or no pair.
    """
    from understudy.data.readers.faults import Faults
    from understudy.data.readers.parsed import Lines, Parsed

    faults = Faults()
    lines = Lines(stream, Parsed(origin, faults))
    for line in lines:
        faults.check()
        whole = line.removesuffix("\n").removesuffix("\r")
        parts = tuple(whole.split("\t")) if arity == 2 else (whole,)
        if len(parts) != arity:
            raise DataError(
                f"{origin}, line {lines.number}: this model reads pairs, so a line must be two texts with a tab between them."
            )
        yield parts


def _answered(model: Any, texts: Iterator[tuple[str, ...]], batch: int) -> Iterator[tuple[tuple[str, ...], Prediction]]:
    while chunk := list(islice(texts, batch)):
        yield from zip(chunk, model.predict(chunk))


def _csv_writer(file: TextIO, task: Any) -> Any:
    writer = csv.writer(file, lineterminator="\n")
    texts = ["text"] if len(task.text) == 1 else ["sentence1", "sentence2"]
    writer.writerow([*texts, "label", *(f"probability_{label}" for label in task.labels)])

    def write(text: tuple[str, ...], prediction: Prediction) -> None:
        label = "|".join(prediction.label) if isinstance(prediction.label, list) else prediction.label
        writer.writerow([*text, label, *(f"{value:.6f}" for value in prediction.probabilities.values())])

    return write


def _jsonl_writer(file: TextIO) -> Any:
    def write(text: tuple[str, ...], prediction: Prediction) -> None:
        row: dict[str, Any] = {"text": text[0] if len(text) == 1 else list(text), "label": prediction.label}
        if prediction.probabilities:
            row["probabilities"] = prediction.probabilities
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write
