"""``understudy predict``: texts in, labels and probabilities out, as a stream."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from annotated_types import Gt

from understudy.atomic import OUTPUT, new_file
from understudy.errors import DataError
from understudy.recipes.settings import check, model_faults

if TYPE_CHECKING:
    from understudy.inference import Prediction


@dataclass(kw_only=True)
class Predict:
    """Label texts: files or standard input in, CSV or JSON lines out, in the same order, a block at a time."""

    model: str = ""
    """A run or a model folder."""
    input: list[str] = field(default_factory=list)
    """Files of texts (csv, tsv, jsonl, parquet, txt, also .gz); without any, standard input, one text a line."""
    text: list[str] = field(default_factory=list)
    """The files' text columns; found by themselves if named as usual."""
    output: str | None = None
    """The file to write (default: standard output)."""
    format: Literal["csv", "jsonl"] | None = None
    """csv or jsonl (default: by the name of --output, else csv)."""
    batch_size: Annotated[int, Gt(0)] = 256
    """Texts read, labelled and written at a time."""
    overwrite: bool = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        faults = model_faults(self.model) if self.model else ["no model: name a run or a model folder with --model."]
        faults += [
            f"{name}: no such file. Check the path." for name in self.input if not Path(name).expanduser().is_file()
        ]
        if self.output and Path(self.output).expanduser().is_dir():
            faults.append(f"{self.output}: is a folder, but the output is one file. Name a file with --output.")
        elif self.output and Path(self.output).expanduser().exists() and not self.overwrite:
            faults.append(f"{self.output}: exists already. Name another --output, or give --overwrite.")
        return faults

    def run(self) -> int:
        """Predict everything; the number of texts.

        Raises:
            UnderstudyError: if the model or the texts cannot be read, or the output not written.
        """
        check(self)
        import understudy

        model = understudy.load(self.model)
        count = 0
        with ExitStack() as stack:
            file = self._open(stack)
            write = _csv_writer(file, model.task) if self._format() == "csv" else _jsonl_writer(file)
            texts = self._texts(len(model.task.text))
            for text, prediction in _answered(model, texts, self.batch_size):
                write(text, prediction)
                count += 1
        return count

    def _format(self) -> str:
        return self.format or ("jsonl" if self.output and self.output.endswith(".jsonl") else "csv")

    def _open(self, stack: ExitStack) -> TextIO:
        if self.output is None:
            stack.callback(sys.stdout.flush)
            return sys.stdout
        path = Path(self.output).expanduser().resolve()
        if path.exists() and not path.is_file():  # a device or a pipe has no name to be given at the end
            return stack.enter_context(open(path, "w", newline="", encoding="utf-8"))
        whole = stack.enter_context(new_file(path, remedy=OUTPUT))
        text = io.TextIOWrapper(whole, encoding="utf-8", newline="")
        stack.callback(text.detach)  # flushes, and leaves the closing to new_file
        return text

    def _texts(self, arity: int) -> Iterator[tuple[str, ...]]:
        from understudy.data.sources import read_texts

        for name in self.input:
            yield from read_texts(name, text=self.text, arity=arity)
        if not self.input:
            yield from _lines(arity)


def _lines(arity: int) -> Iterator[tuple[str, ...]]:
    """Standard input: a text a line, the two of a pair with a tab between them."""
    for number, line in enumerate(sys.stdin, 1):
        parts = tuple(line.rstrip("\n").split("\t")) if arity == 2 else (line.rstrip("\n"),)
        if len(parts) != arity:
            raise DataError(
                f"standard input, line {number}: this model reads pairs, so a line must be two texts with a tab between them."
            )
        yield parts


def _answered(model: Any, texts: Iterator[tuple[str, ...]], batch: int) -> Iterator[tuple[tuple[str, ...], Prediction]]:
    from itertools import islice

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
