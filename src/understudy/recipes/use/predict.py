"""``understudy predict``: texts in, labels and probabilities out, as a stream."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from understudy.atomic import OUTPUT, new_file
from understudy.data.readers.faults import Faults
from understudy.data.readers.parsed import Lines, Parsed
from understudy.data.readers.sources import read_texts
from understudy.errors import DataError
from understudy.inference.answers import Prediction
from understudy.loading import load
from understudy.settings.configuration import check
from understudy.settings.use.predict import PredictSettings
from understudy.terminal.lines import standard_output


class Predict(PredictSettings):
    """Label texts: files or standard input in, CSV or JSON lines out, in the same order, a block at a time."""

    def run(self) -> int:
        """Predict everything; the number of texts.

        Raises:
            UnderstudyError: if the model or the texts cannot be read, or the output not written.
        """
        check(self)
        model = load(*self.models())
        count = 0
        with ExitStack() as stack:
            file = self._open(stack)
            answered = _answered(model, self._texts(len(model.task.text)), self.batch_size)
            first = list(islice(answered, 1))  # faults of the input are found before anything is written
            write = _csv_writer(file, model.task) if self._format() == "csv" else _jsonl_writer(file)
            for text, prediction in chain(first, answered):
                write(text, prediction)
                count += 1
        return count

    def _format(self) -> str:
        return self.format or ("jsonl" if self.output and self.output.endswith((".jsonl", ".jsonl.gz")) else "csv")

    def _open(self, stack: ExitStack) -> TextIO:
        if self.output is None:
            stack.callback(sys.stdout.flush)
            return standard_output()
        path = Path(self.output).expanduser()
        if _is_special(path):  # it cannot be renamed in the end
            stream: Any = stack.enter_context(path.open("wb"))
        else:
            stream = stack.enter_context(new_file(path.resolve(), remedy=OUTPUT))
        if self.output.endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        stack.callback(text.detach)  # flushes, and leaves the closing to whoever opened
        return text

    def _texts(self, arity: int) -> Iterator[tuple[str, ...]]:
        for name in self.input:
            path = Path(name).expanduser()
            if _is_special(path):  # its name tells no format, and it can be read only once
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
