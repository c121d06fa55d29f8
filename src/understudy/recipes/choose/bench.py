"""``understudy bench``: what models cost, all measured in the same way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Gt

from understudy.settings.configuration import check
from understudy.settings.training import model_faults


@dataclass(kw_only=True)
class Bench:
    """Parameters, size, latency and throughput of trained models, tokenisation included."""

    models: list[str] = field(default_factory=list)
    """Runs or model folders."""
    texts: str | None = None
    """A file whose texts are used (default: English filler of about 40 words)."""
    text: list[str] = field(default_factory=list)
    """The file's text columns; found by themselves if named as usual."""
    threads: Annotated[int, Gt(0)] | None = None
    """Processor threads (default: torch's own choice)."""
    json: bool = False
    """Print JSON instead of a table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        if not self.models:
            return ["no models: name runs or model folders with --models."]
        return [fault for name in self.models for fault in model_faults(name)]

    def run(self) -> list[dict[str, Any]]:
        """Measure the models one after the other; one entry each, as in ``record.json``.

        Raises:
            UnderstudyError: if a model cannot be loaded or the texts do not suit it.
        """
        check(self)
        import torch

        import understudy
        from understudy.data.readers.sources import read_texts
        from understudy.evaluation.cost import measure

        if self.threads:
            torch.set_num_threads(self.threads)
        entries = []
        for name in self.models:
            model = understudy.load(name)
            arity = len(model.task.text)
            texts = (
                list(read_texts(self.texts, text=self.text, arity=arity)) if self.texts else [(_FILLER,) * arity] * 64
            )
            entries.append({"name": name, **measure(model, texts)})
        if self.json:
            print(json.dumps(entries, indent=1))
        else:
            from rich.console import Console

            from understudy.report.tables.costs import costs_table

            Console().print(costs_table(entries))
        return entries


_FILLER = (
    "The committee met on Tuesday to discuss the plan for the new bridge, and after two hours of debate most of its "
    "members agreed that the older proposal was cheaper, although nobody could say how long the work would take."
)
