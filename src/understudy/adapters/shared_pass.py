"""One forward pass for several adapters: what lies below the lowest of them is computed once for all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.inject import lowest_layer, route_of
from understudy.models.structure.layers import base_model, encoder_layers

_MIXES_INPUTS = ("deberta-v2",)
"""Architectures that use the states below their first block again above it."""


def states_by_row(encoder: Any, inputs: Mapping[str, Tensor], names: tuple[str, ...], numbers: Tensor) -> Tensor:
    """The last states of a batch whose rows pass through different adapters: ``(rows, tokens, width)``.

    Args:
        names: the adapters.
        numbers: the number of each row's adapter, ``(rows,)``.
    """
    route_of(encoder).by_row(names, numbers)
    return encoder(**inputs)[0]


def states_of_each(encoder: Any, inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """The last states of every row for every adapter: ``(adapters, rows, tokens, width)``.

    The embeddings and the blocks below the lowest adapter are computed once a row; from there on each row is there once
    for each adapter.

    Args:
        names: the adapters.
    """
    rows, count = len(inputs["input_ids"]), len(names)
    numbers = torch.arange(count, device=inputs["input_ids"].device).repeat_interleave(rows)
    config = base_model(encoder).config
    lowest = 0 if config.model_type in _MIXES_INPUTS else min(lowest_layer(encoder, name) for name in names)
    lowest //= getattr(config, "inner_group_num", 1)  # ALBERT's blocks are groups of several
    if lowest == 0:
        repeated = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in inputs.items()}
        states = states_by_row(encoder, repeated, names, numbers)
    else:
        route_of(encoder).by_row(names, numbers)
        with ExitStack() as stack:
            for block in encoder_layers(encoder)[lowest:]:
                handle = block.register_forward_pre_hook(_Repeating(rows, count), with_kwargs=True)
                stack.callback(handle.remove)
            states = encoder(**inputs)[0]
    return states.unflatten(0, (count, rows))


class _Repeating:
    """Repeats what a block gets for so many rows; what has been repeated below is left as it is."""

    def __init__(self, rows: int, count: int) -> None:
        self.rows, self.count = rows, count

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """The arguments with a row for each adapter."""
        return tuple(map(self._repeated, args)), {key: self._repeated(value) for key, value in kwargs.items()}

    def _repeated(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() < 2 or len(value) != self.rows:
            return value
        return value.repeat(self.count, *[1] * (value.dim() - 1))
