"""``understudy quantize``: a trained model as an exported folder with int8 weights, if its score survives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from understudy.data.readers.known_task import read_known_task
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.quantize import quantize_onnx
from understudy.errors import DataError
from understudy.inference.exported.facts import QuantizedFacts
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.recipes.ship.exportable import load_exportable, validation_rows
from understudy.report.numbers import human_bytes
from understudy.settings.configuration import check
from understudy.settings.ship.quantize import QuantizeSettings
from understudy.terminal.lines import say, show

_COMPARED = 64
"""Texts on which an export that is only made to be quantised is compared with PyTorch."""


class Quantize(QuantizeSettings):
    """Write a trained model as an exported folder with int8 weights, if its score on labelled rows survives."""

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
            facts = quantize_onnx(output, source, rows, origin=origin, max_drop=self.max_drop)
        assert facts.quantized is not None
        show(_told(output, facts.of, facts.quantized))
        return output

    def _rows(self, task: Task) -> tuple[Rows, str]:
        """The rows that are answered before and after, and what they are."""
        if self.texts is not None:
            notes = list[str]()
            found = read_known_task(self.texts, task, text=self.text, label=self.label, notes=notes)
            for note in notes:
                say(f"  {note}")
            return found, f"rows of {self.texts}"
        rows = validation_rows(self.model, task)
        if rows is None or not rows.labelled.any():
            raise DataError(
                f"{self.model}: the score must be measured before and after, but there are no validation rows of a run here. Name labelled rows with --texts FILE."
            )
        return rows.take(np.flatnonzero(rows.labelled)), "validation rows of its run"


def _told(output: Path, kind: str, found: QuantizedFacts) -> str:
    sizes = f"{human_bytes(found.bytes_before)} before, {human_bytes(found.bytes_after)} after"
    left = ", ".join(found.left) if found.left else "nothing"
    fall = 100 * (found.before - found.after)
    return (
        f"{output}: {kind} in {found.to}, {sizes}. {found.metric} was {100 * found.before:.2f} and is "
        f"{100 * found.after:.2f} on {found.rows:,} {found.origin}: it falls by {fall:.2f} points "
        f"({found.level:.0%} interval {100 * found.low:.2f} to {100 * found.high:.2f}; accepted up to {found.max_drop:g}). "
        f"Left in fp32: {left}."
    )
