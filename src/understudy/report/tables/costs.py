"""Size and speed of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from understudy.report.numbers import human_bytes, human_count, human_milliseconds, human_rate, number
from understudy.report.tables.cells import plain_table


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A model's size and speed, written for people; :data:`understudy.report.numbers.ABSENT` where there is no number."""

    parameters: str
    without_embeddings: str
    size: str
    rate: str
    p50: str
    p99: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Costs:
        """Read them from a model's entry in a record."""
        parameters, embeddings = number(model.get("parameters")), number(model.get("embedding_parameters"))
        latency = model.get("latency_ms") or {}
        return cls(
            parameters=human_count(parameters),
            without_embeddings=human_count(
                None if parameters is None or embeddings is None else parameters - embeddings
            ),
            size=human_bytes(model.get("size_bytes")),
            rate=human_rate(model.get("texts_per_second")),
            p50=human_milliseconds(latency.get("p50")),
            p99=human_milliseconds(latency.get("p99")),
        )


def costs_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """Size and speed of models that were measured but not scored.

    Args:
        models: entries as in a record; scores are not read.
    """
    table = plain_table()
    table.add_column("model", overflow="fold")
    for heading in ("params", "w/o emb.", "size", "texts/s", "p50", "p99"):
        table.add_column(heading, justify="right")
    for model in models:
        cost = Costs.of(model)
        table.add_row(
            Text(str(model["name"])),
            *(cost.parameters, cost.without_embeddings, cost.size, cost.rate, cost.p50, cost.p99),
        )
    return table
