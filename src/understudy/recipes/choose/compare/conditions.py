"""Equal conditions: models that read the same tokens read them in the same order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.recipes.choose.compare.contenders import CONDITIONS
from understudy.record import RunRecord
from understudy.training.stop import OUT_OF_TIME


def ran_out(record: RunRecord) -> bool:
    """Whether a run ended because its time was spent."""
    return any(phase.get("stopped_by") == OUT_OF_TIME for phase in record.training.values())


def same_conditions(records: Mapping[str, RunRecord], names: Mapping[str, str]) -> list[list[str]]:
    """The models that were trained on the same batches in the same order; those in no group have tokens of their own, or ran out of time.

    Args:
        records: the finished runs, by folder.
        names: what the model of each is called.

    Returns:
        Groups of names; in each all runs with one seed and one number of rows had the same batches.

    Raises:
        RuntimeError: if two models read the same tokens with the same seed, but in another order.
    """
    orders: dict[tuple[str, int], dict[str, str]] = {}
    for folder, record in records.items():
        known: dict[str, Any] | None = next(iter(record.training.values()), {}).get(CONDITIONS)
        if known is not None and not ran_out(record):
            orders.setdefault((known["tokens"], record.seed), {})[folder] = known["order"]
    groups: dict[tuple[str, ...], None] = {}
    for found in orders.values():
        if len(set(found.values())) > 1:
            said = ", ".join(found)
            raise RuntimeError(f"{said}: read the same tokens in different batches, so they cannot be compared.")
        groups[tuple(dict.fromkeys(names[folder] for folder in found))] = None
    return [list(group) for group in groups if len(group) > 1]
