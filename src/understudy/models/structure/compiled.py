"""A transformer whose blocks are compiled by ``torch.compile`` while it is trained, and are as they were afterwards."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

from understudy.errors import ModelError
from understudy.models.structure.layers import encoder_layers

_VARIANTS = 64
"""How often a block may be compiled: for training and scores, with masks and without, with and without gradients, for each
kind of block. torch's own limit, 8, is less than what ModernBERT has."""


def blocks_to_compile(model: Any) -> list[nn.Module]:
    """A transformer's blocks.

    Raises:
        ModelError: if the model has none, or they cannot be told apart.
    """
    blocks = list(encoder_layers(model))
    if any(isinstance(part, nn.RNNBase) for block in blocks for part in block.modules()):
        raise ModelError(f"{type(model).__name__}: is recurrent; only the blocks of a transformer can be compiled.")
    return blocks


@contextmanager
def compiled_blocks(model: Any) -> Iterator[None]:
    """Inside, every block of a model runs as one compiled function for all lengths of text.

    Blocks instead of the whole: they are alike, so that one of them is compiled for all, and what stands around them
    (masks, the choice of masked positions, sparse tables) needs no compiler. The first steps wait for it. What is saved
    inside is the plain model.

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


def can_compile() -> bool:
    """Whether ``torch.compile`` finds the compiler that it calls: for C++ on a CPU, for C (Triton's) on a CUDA device."""
    if torch.cuda.is_available():
        return any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang"))))
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is not None
