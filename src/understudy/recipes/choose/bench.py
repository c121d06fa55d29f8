"""``understudy bench``: what models cost in each format, all measured in the same way and in turn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from understudy.data.readers.sources import read_texts
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.quantize import shrink_onnx
from understudy.errors import DataError, ModelError
from understudy.evaluation.cold_start import EXPORTED, PYTORCH, cold_start
from understudy.evaluation.in_turn import Contender, measure_in_turn
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import LinearPredictor
from understudy.loading import load
from understudy.report.tables.costs import costs_table
from understudy.runs.devices import on_exactly, on_threads
from understudy.settings.choose.bench import BenchSettings
from understudy.settings.configuration import check
from understudy.terminal.lines import give, say
from understudy.terminal.screen import draw_or_return

_FILLER = (
    "The committee met on Tuesday to discuss the plan for the new bridge, and after two hours of debate most of its "
    "members agreed that the older proposal was cheaper, although nobody could say how long the work would take."
)
Texts = list[tuple[str, ...]]


class Bench(BenchSettings):
    """Parameters, size, latency and throughput of trained models in several formats, tokenisation included."""

    def run(self) -> list[dict[str, Any]]:
        """Measure the models in turn; one entry for each, format, length and number of threads, as in ``record.json``.

        Raises:
            UnderstudyError: if a model cannot be loaded or exported, or the texts do not suit it.
        """
        check(self)
        with tempfile.TemporaryDirectory() as folder:
            entries = self._measured(Path(folder))
        if self.json:
            give(json.dumps(entries, indent=1))
            return entries
        return draw_or_return(entries, costs_table(entries))

    def _measured(self, made: Path) -> list[dict[str, Any]]:
        """All entries.

        Args:
            made: where models are exported to.
        """
        contenders, texts, told = list[Contender](), list[Texts](), list[dict[str, Any]]()
        folders = list[str]()
        lengths: list[int | None] = [*self.lengths] or [None]
        for number, name in enumerate(self.models):
            model = load(name)
            if isinstance(model, TaskPredictors):
                raise ModelError(
                    f"{name}: is a model for several tasks ({', '.join(model)}). Measure the model of one: a folder best-… or finetuned-… of its run."
                )
            own = self._texts(name, model)
            for kind, folder in self._formats(name, model, own, made / str(number)):
                for threads in self.threads or [torch.get_num_threads()]:
                    with on_threads(threads):
                        found = model if kind == "pytorch" else load(folder)
                    for words in lengths:
                        contenders.append(Contender(name, kind, threads, found))
                        texts.append(own if words is None else [_of_length(text, words) for text in own])
                        told.append({} if words is None else {"words": words})
                        folders.append(folder)
        entries = measure_in_turn(
            contenders, texts, on_threads=on_exactly, batch_sizes=self.batch_sizes, rounds=self.rounds
        )
        if self.cold_start:
            for contender, folder, some, more in zip(contenders, folders, texts, told):
                way = PYTORCH if contender.format == "pytorch" else EXPORTED
                more |= cold_start(folder, some[0], load=way, threads=contender.threads)
        return [entry | more for entry, more in zip(entries, told)]

    def _texts(self, name: str, model: Any) -> Texts:
        columns, notes = model.task.text, list[str]()
        if self.texts is None:
            return [(_FILLER,) * len(columns)] * 64
        found = list(read_texts(self.texts, text=self.text, trained=columns, notes=notes, reading=self.reading))
        for note in notes:
            say(f"  {name}: {note}")
        if not found:
            raise DataError(f"{self.texts}: holds no texts. Name a file that does.")
        return found

    def _formats(self, name: str, model: Any, texts: Texts, folder: Path) -> list[tuple[str, str]]:
        """The formats in which a model is measured, and the folder of each."""
        wanted = list(self.formats)
        if isinstance(model, ExportedPredictor):
            if "pytorch" in wanted:
                raise ModelError(
                    f"{name}: is exported, so there is no PyTorch model to measure. Name the run that it was made of, or leave --formats out."
                )
            if model.facts.quantized is not None:
                kind = model.facts.quantized.to
                if others := [other for other in wanted if other != kind]:
                    raise ModelError(
                        f"{name}: is exported as {kind}, so it cannot be measured as {' or '.join(others)}. Name the run or the export that it was made of, or leave --formats out."
                    )
                return [(kind, name)]
        elif isinstance(model, LinearPredictor) and {"onnx", "int8"} & set(wanted):
            raise ModelError(
                f"{name}: is TF-IDF with a linear model, which has no ONNX graph. Measure it by itself, without --formats."
            )
        graph: ExportedPredictor | None = None
        if isinstance(model, ExportedPredictor):
            graph, wanted = model, wanted or ["onnx"]
        elif {"onnx", "int8"} & set(wanted):
            export_onnx(folder / "onnx", model, texts[:16])
            graph = ExportedPredictor(folder / "onnx")
        places = {"pytorch": name, "onnx": str(graph.folder if graph else ""), "int8": str(folder / "int8")}
        if "int8" in wanted:
            assert graph is not None
            shrink_onnx(folder / "int8", graph)
        return [(kind, places[kind]) for kind in wanted or ["pytorch"]]


def _of_length(text: Sequence[str], words: int) -> tuple[str, ...]:
    """A text cut, or repeated, to so many words.

    Example:
        >>> _of_length(("a quiet film",), 5), _of_length(("a quiet film",), 2)
        (('a quiet film a quiet',), ('a quiet',))
    """
    parts = []
    for part in text:
        own = part.split() or ["word"]
        parts.append(" ".join((own * (words // len(own) + 1))[:words]))
    return tuple(parts)
