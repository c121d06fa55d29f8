"""Adapters of ours and of AdapterHub, read for a base: what is known of one, its weights and those of its head."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from understudy.adapters.base_names import check_named_base
from understudy.adapters.design import check_layers
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import HEAD, WEIGHTS, read_tensors
from understudy.adapters.hub.reading import HubAdapter, read_hub_adapter
from understudy.adapters.peft.files import is_peft
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.names import ADAPTER
from understudy.models.structure.layers import base_model


class ReadAdapter(NamedTuple):
    """An adapter's folder, read."""

    facts: AdapterFacts
    weights: dict[str, Tensor]
    """By the names of :func:`understudy.adapters.inject.adapter_tensors`."""
    head: dict[str, Tensor]
    """By the names of :func:`understudy.models.structure.layers.head_tensors`; empty if it has none."""


def read_adapter(
    folder: Path, encoder: Any, *, base: str, length: int, force: bool = False, pair: bool = False
) -> ReadAdapter:
    """An adapter of a folder that belongs to a base: one of ours, or one that AdapterHub's library wrote.

    Args:
        encoder: the base.
        base: its name.
        length: the tokens that an adapter reads which does not say how many it was trained on.
        force: whether other weights of the same shape are accepted, and a base of another name.
        pair: whether the head of one that AdapterHub's library wrote reads pairs of texts.

    Raises:
        ModelError: if it cannot be read, is PEFT's, or belongs to another base.
    """
    if is_peft(folder):
        raise ModelError(
            f"{folder}: is an adapter of PEFT, whose files do not name its labels. Make it one of ours first: understudy import adapter {shlex.quote(str(folder))} --model {shlex.quote(base)} --output runs/adapter."
        )
    if not _is_hubs(folder):
        facts = AdapterFacts.read(folder)
        facts.check(encoder, origin=str(folder), force=force)
        head = {} if facts.head is None else read_tensors(folder / HEAD)
        return ReadAdapter(facts, read_tensors(folder / WEIGHTS), head)
    found = read_hub_adapter(folder)
    task = of_pairs(found.task) if pair and found.task is not None else found.task
    facts = facts_of_hub(found, encoder, base=base, task=task, length=length, origin=str(folder))
    place = f"'model_name' in {folder / ADAPTER}"
    check_named_base(found.base, base, facts.base.model_type, origin=str(folder), place=place, force=force)
    return ReadAdapter(facts, found.tensors, {f"head.{key}": value for key, value in found.head.items()})


def facts_of_hub(
    found: HubAdapter, encoder: Any, *, base: str, task: Task | None, length: int, origin: str
) -> AdapterFacts:
    """What is known of an adapter of AdapterHub, bound to a base.

    Args:
        encoder: the base, or a model of it.
        base: its name.
        task: what its head answers; None for no head.
        length: the tokens that it reads of a text.
        origin: where it is from, for messages.

    Raises:
        ModelError: if it was made for another architecture or size.
    """
    own = Base.of(encoder, base)
    made = Base(
        name=found.base or "the one that it was saved with",
        fingerprint="",
        model_type=found.model_type or own.model_type,
        hidden_size=found.hidden_size or own.hidden_size,
        layers=own.layers,
    )
    made.check(encoder, origin=origin)
    design = found.design
    check_layers(
        type(base_model(encoder)).__name__,
        own.layers,
        left_out=design.leave_out,
        named=design.reductions,
        origin=f"{origin}: ",
    )
    return AdapterFacts(
        method="bottleneck",
        design=design.as_dict(),
        base=own,
        task=task,
        head=None if task is None else "first_token",
        max_length=length,
        head_options=found.head_options if task is not None else {},
    )


def of_pairs(task: Task) -> Task:
    """The task of an imported head that reads two texts."""
    return replace(task, text=(("text",), ("text_pair",)))


def is_ours(folder: Path) -> bool:
    """Whether an adapter's folder was written by understudy, as far as its ``adapter_config.json`` can be read."""
    return "understudy" in _keys(folder)


def _is_hubs(folder: Path) -> bool:
    """Whether AdapterHub's library wrote it: it says under ``config`` what is computed."""
    return "config" in _keys(folder) and not is_ours(folder)


def _keys(folder: Path) -> set[str]:
    """The keys in an adapter's ``adapter_config.json``; none if it cannot be read, which is said where it is read whole."""
    try:
        told = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return set()
    return set(told) if isinstance(told, dict) else set()
