"""``understudy bench``: what models cost, all measured in the same way."""

from __future__ import annotations

import json
from typing import Any

import torch

from understudy.data.readers.sources import read_texts
from understudy.errors import ModelError
from understudy.evaluation.cost import measure
from understudy.inference.multitask import TaskPredictors
from understudy.loading import load
from understudy.report.tables.costs import costs_table
from understudy.runs.devices import on_threads
from understudy.settings.choose.bench import BenchSettings
from understudy.settings.configuration import check
from understudy.terminal.lines import give, say
from understudy.terminal.screen import draw


class Bench(BenchSettings):
    """Parameters, size, latency and throughput of trained models, tokenisation included."""

    def run(self) -> list[dict[str, Any]]:
        """Measure the models one after the other; one entry each, as in ``record.json``.

        Raises:
            UnderstudyError: if a model cannot be loaded or the texts do not suit it.
        """
        check(self)
        with on_threads(self.threads or torch.get_num_threads()):
            entries = self._measured()
        if self.json:
            give(json.dumps(entries, indent=1))
        else:
            draw(costs_table(entries))
        return entries

    def _measured(self) -> list[dict[str, Any]]:
        entries = []
        for name in self.models:
            model = load(name)
            if isinstance(model, TaskPredictors):
                raise ModelError(
                    f"{name}: is a model for several tasks ({', '.join(model)}). Measure the model of one: a folder best-… or finetuned-… of its run."
                )
            columns, notes = model.task.text, list[str]()
            texts = (
                list(read_texts(self.texts, text=self.text, trained=columns, notes=notes, reading=self.reading))
                if self.texts
                else [(_FILLER,) * len(columns)] * 64
            )
            for note in notes:
                say(f"  {name}: {note}")
            entries.append({"name": name, **measure(model, texts)})
        return entries


_FILLER = (
    "The committee met on Tuesday to discuss the plan for the new bridge, and after two hours of debate most of its "
    "members agreed that the older proposal was cheaper, although nobody could say how long the work would take."
)
