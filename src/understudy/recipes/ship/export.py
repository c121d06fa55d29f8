"""``understudy export``: a trained model as a folder that answers without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.readers.sources import read_texts
from understudy.data.tasks import Task, Text
from understudy.deploy.onnx.export import export_onnx
from understudy.errors import DataError, ModelError
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.recipes.ship.exportable import load_exportable, validation_rows
from understudy.recipes.ship.web_page import export_page
from understudy.report.numbers import human_bytes
from understudy.settings.configuration import check
from understudy.settings.ship.export import ExportSettings
from understudy.terminal.lines import say, show

_ROWS = 512
"""Texts that both models answer: they cost time, and an error of a graph shows in every row."""
_ON_A_PAGE = 128
"""Texts that a page answers for comparison, one by one."""
_WRITTEN = (
    "A quiet, lovely film.",
    "Nobody knew what to make of it, and the reviews were mixed at best: “too long by an hour”, said most.",
    "no",
    "",
    "Naïve café-goers paid 3.50 € on 12/03/2021 — see https://example.org/a?b=c",
    "你好，世界。 Καλημέρα κόσμε. Добро пожаловать! مرحبا",
    "word " * 700,
)
"""Where there are no rows: short, long, empty, in several scripts."""


class Export(ExportSettings):
    """Write a trained model as a folder that answers without torch, checked against the model on real rows."""

    def run(self) -> Path:
        """Load, write, compare; the folder.

        Raises:
            UnderstudyError: if the model cannot be loaded or exported, or the exported one answers otherwise.
        """
        check(self)
        model = load_exportable(self.model, task=self.task)
        if self.format == "web":
            texts, origin = self._texts(model.task)
            return export_page(self, model, [*_some(texts, _ON_A_PAGE), *_written(model.task)], origin=origin)
        if isinstance(model, ExportedPredictor):
            raise ModelError(f"{self.model}: is an exported model already. Name the model that it was made of.")
        texts, origin = self._texts(model.task)
        output = Path(self.output).expanduser()
        facts = export_onnx(output, model, texts, mobile=self.format == "ort")
        size = sum(path.stat().st_size for path in output.iterdir())
        show(
            f"{output}: {facts.of}, {human_bytes(size)} in all. Its logits differ from PyTorch's by {facts.difference:.1e} at most, on {facts.compared:,} {origin}."
        )
        return output

    def _texts(self, task: Task) -> tuple[Sequence[Text], str]:
        """What both models answer, and what these texts are."""
        if self.texts is not None:
            notes: list[str] = []
            found: Any = read_texts(self.texts, text=self.text, trained=task.text, notes=notes, reading=self.reading)
            for note in notes:
                say(f"  {note}")
            if not len(found):
                raise DataError(f"{self.texts}: holds no texts. Name a file that does.")
            return _some(found), f"texts of {self.texts}"
        if (rows := validation_rows(self.model, task)) is not None:
            return _some(rows.texts), "validation rows of its run"
        return _written(task), "texts written for it"


def _written(task: Task) -> list[Text]:
    """The texts that are written here, or pairs of them."""
    return [(text, _WRITTEN[0]) if task.is_pair else text for text in _WRITTEN]


def _some(texts: Any, most: int = _ROWS) -> list[Text]:
    """Texts at even distances."""
    return [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(len(texts), most))]
