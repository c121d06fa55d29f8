"""Size and speed of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from understudy.report.numbers import ABSENT, human_bytes, human_count, human_milliseconds, human_rate, number
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

    Columns in which models cannot differ are left out: what is the same for all, and what nobody has.

    Args:
        models: entries as in a record; scores are not read.
    """
    table = plain_table()
    table.add_column("model", overflow="fold")
    setting = {heading: cells for heading, cells in _setting(models).items() if len(set(cells)) > 1}
    costs = _costs(models)
    if "format" in setting:  # it is a table of formats: what they have in common makes room
        del costs["w/o emb."]
    columns = {
        **setting,
        **costs,
        **{heading: cells for heading, cells in _extras(models).items() if set(cells) != {ABSENT}},
    }
    for heading in columns:
        table.add_column(heading, justify="right")
    for model, *cells in zip(models, *columns.values()):
        table.add_row(Text(str(model["name"])), *cells)
    return table


def _setting(models: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What tells entries of one model apart."""
    return {name: [str(model.get(name, ABSENT)) for model in models] for name in ("format", "threads", "words")}


def _costs(models: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    costs = [Costs.of(model) for model in models]
    return {
        "params": [cost.parameters for cost in costs],
        "w/o emb.": [cost.without_embeddings for cost in costs],
        "size": [cost.size for cost in costs],
        "texts/s": [cost.rate for cost in costs],
        "p50": [cost.p50 for cost in costs],
        "p99": [cost.p99 for cost in costs],
    }


def _extras(models: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What only ``understudy bench`` measures."""
    batches = [model.get("batches") or {} for model in models]
    sizes = sorted({size for rates in batches for size in rates}, key=int)
    starts = [number(model.get("cold_start_s")) for model in models]
    return {
        "rounds": [_between((model.get("spread") or {}).get("texts_per_second")) for model in models],
        **{f"by {size}": [human_rate(rates.get(size)) for rates in batches] for size in sizes},
        "first answer": [human_milliseconds(None if start is None else 1000 * start) for start in starts],
        "memory": [human_bytes(model.get("peak_bytes")) for model in models],
    }


def _between(ends: Sequence[float] | None) -> str:
    """The lowest and the highest round of texts a second."""
    return ABSENT if not ends else f"{human_rate(ends[0])}–{human_rate(ends[1])}"
