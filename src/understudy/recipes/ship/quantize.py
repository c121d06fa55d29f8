"""``understudy quantize``: a trained model as an exported folder with smaller weights, if its score survives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.data.readers.known_task import read_known_task
from understudy.data.readers.sources import read_texts
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.quantize import quantize_onnx
from understudy.deploy.onnx.targets import TARGETS, calibrated_int8
from understudy.errors import DataError, ModelError
from understudy.inference.answers import check_texts
from understudy.inference.exported.facts import QuantizedFacts
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.recipes.ship.exportable import load_exportable, rows_of_run, validation_rows
from understudy.report.numbers import human_bytes
from understudy.settings.configuration import check
from understudy.settings.ship.quantize import ROWS, QuantizeSettings
from understudy.terminal.lines import say, show

_CALIBRATED_ON = 128
"""Texts that the ranges are read off; each passes the graph alone."""
_COMPARED = 64
"""Texts on which an export that is only made to be quantised is compared with PyTorch."""


class Quantize(QuantizeSettings):
    """Write a trained model as an exported folder with smaller weights, if its score on labelled rows survives."""

    def run(self) -> Path:
        """Load, export if that is to be done, quantise, measure; the folder.

        Raises:
            UnderstudyError: if the model cannot be loaded or exported, there are no labelled rows, or the score falls.
        """
        check(self)
        model = load_exportable(self.model, task=self.task)
        rows, origin = self._rows(model.task)
        output = Path(self.output).expanduser()
        with tempfile.TemporaryDirectory() as folder:
            source = model
            if not isinstance(source, ExportedPredictor):
                made = Path(folder) / "exported"
                export_onnx(made, source, [rows.texts[i] for i in range(min(len(rows), _COMPARED))])
                source = ExportedPredictor(made, threads=torch.get_num_threads())
            target = TARGETS[self.to] if self.calibrate is None else calibrated_int8(self._feeds(source))
            facts = quantize_onnx(output, source, rows, origin=origin, max_drop=self.max_drop, target=target)
        assert facts.quantized is not None
        show(told_of(output, facts.of, facts.quantized))
        return output

    def _feeds(self, source: ExportedPredictor) -> list[dict[str, np.ndarray]]:
        """What the graph is fed for the texts that it is calibrated on.

        Raises:
            DataError: if there are none, or they are not what the model reads.
            ModelError: of a static model, which multiplies nothing by what it reads.
        """
        if source.facts.of == "static":
            raise ModelError(
                f"{self.model}: is a static model, which looks rows up and keeps its small head in fp32, so there is nothing to calibrate. Leave --calibrate out."
            )
        name = str(self.calibrate)
        if name == ROWS:
            found = rows_of_run(self.model)
            if found is None:
                raise DataError(
                    f"{self.model}: there are no training rows of a run here to calibrate on. Name texts with --calibrate FILE."
                )
            texts: Any = found.train.texts
        else:
            notes = list[str]()
            texts = read_texts(name, text=self.text, trained=source.task.text, notes=notes, reading=self.reading)
            for note in notes:
                say(f"  {note}")
        some = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(len(texts), _CALIBRATED_ON))]
        try:
            check_texts(some, source.task)
        except ValueError as error:
            raise DataError(f"{name}: cannot be calibrated on: {error}. Name texts like those of the model.") from None
        return [source.inputs_of(text) for text in some]

    def _rows(self, task: Task) -> tuple[Rows, str]:
        """The rows that are answered before and after, and what they are."""
        if self.texts is not None:
            notes = list[str]()
            found = read_known_task(
                self.texts, task, text=self.text, label=self.label, notes=notes, reading=self.reading
            )
            for note in notes:
                say(f"  {note}")
            return found, f"rows of {self.texts}"
        rows = validation_rows(self.model, task)
        if rows is None or not rows.labelled.any():
            raise DataError(
                f"{self.model}: the score must be measured before and after, but there are no validation rows of a run here. Name labelled rows with --texts FILE."
            )
        return rows.take(np.flatnonzero(rows.labelled)), "validation rows of its run"


def told_of(output: Path, kind: str, found: QuantizedFacts) -> str:
    """What was made, in a sentence for people: sizes, scores, and the interval that the gate looked at."""
    sizes = f"{human_bytes(found.bytes_before)} before, {human_bytes(found.bytes_after)} after"
    left = ", ".join(found.left) if found.left else "nothing"
    fall = 100 * (found.before - found.after)
    moved = f"falls by {fall:.2f}" if fall >= 0 else f"rises by {-fall:.2f}"
    return (
        f"{output}: {kind} in {found.to}, {sizes}. {found.metric} was {100 * found.before:.2f} and is "
        f"{100 * found.after:.2f} on {found.rows:,} {found.origin}: it {moved} points "
        f"({found.level:.0%} interval of the fall {100 * found.low:.2f} to {100 * found.high:.2f}; accepted up to {found.max_drop:g}). "
        f"Left in fp32: {left}."
    )
