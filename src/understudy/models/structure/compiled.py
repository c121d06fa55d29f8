"""The blocks of a transformer compiled by ``torch.compile`` during training, and restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

from understudy.errors import ModelError
from understudy.models.structure.layers import encoder_layers

_VARIANTS = 64
"""How often a block may be compiled: in training and evaluation, with and without masks, with and without gradients, for
each kind of block. torch's own limit of 8 is too low for ModernBERT."""


def blocks_to_compile(model: Any) -> list[nn.Module]:
    """A transformer's blocks.

    Raises:
        ModelError: if the model has no stack of blocks that can be found, or is recurrent.
    """
    blocks = list(encoder_layers(model))
    if any(isinstance(part, nn.RNNBase) for block in blocks for part in block.modules()):
        raise ModelError(f"{type(model).__name__}: is recurrent, but only the blocks of a transformer can be compiled.")
    return blocks


@contextmanager
def compiled_blocks(model: Any) -> Iterator[None]:
    """Inside, every block of a model runs as one compiled function for texts of any length.

    The blocks are compiled, not the whole model: they are alike, so one compilation serves all, and the code around
    them (masks, the choice of masked positions, sparse tables) need not be compilable. The first steps wait for the
    compiler. A model that is saved inside is the plain model.

    Raises:
        ModelError: as :func:`blocks_to_compile`.
    """
    from torch._dynamo import config  # takes a second to import

    blocks = blocks_to_compile(model)
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = torch.compile(MethodType(type(block).forward, block), dynamic=True)
    try:
        with config.patch(recompile_limit=_VARIANTS):
            yield
    finally:
        for block, forward in zip(blocks, before):
            del block.forward
            if forward is not None:
                block.forward = forward
