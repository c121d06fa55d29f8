"""How a classifier's head reads a text, and heads that begin as a linear model of what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.linear import standardisation
from understudy.models.structure.layers import base_model, evaluating, head_modules
from understudy.models.students.student import Student

OWN, LINEAR = "head", "linear head"
"""Two ways to read a text with a head: its hidden layer as it is, or made nearly linear."""

_ACTIVATIONS: tuple[tuple[Callable[[Tensor], Tensor], float, float], ...] = (
    (torch.tanh, 0.5, 0.0),
    (F.relu, 1.0, 4.0),
    (F.gelu, 1.0, 4.0),
    (F.silu, 1.0, 8.0),
)
"""Each with the scale and the shift of standardised values between which it is nearly linear."""


@dataclass(frozen=True)
class HeadParts:
    """The layers of a head that a linear model can be put into."""

    last: nn.Linear
    """Gives the logits."""
    hidden: nn.Linear | None = None
    """The layer before it, where it keeps the width and its activation is known."""
    activation: int = 0
    """The number of that activation."""
    hidden_is_new: bool = False
    """Whether its weights are random."""

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which this head can read a text."""
        if self.hidden is None:
            return (OWN,)
        return (LINEAR,) if self.hidden_is_new else (OWN, LINEAR)


def head_parts(model: Any, inputs: Mapping[str, Tensor]) -> HeadParts | None:
    """The layers of a classifier's head, found by what they compute for a few texts.

    Args:
        model: a classifier of transformers or one of our students, its head new.
        inputs: of two or more texts.

    Returns:
        None if the logits are no linear layer's with a bias, or it reads more than one vector of a text (the classifiers
        of causal models).
    """
    found = {module: None for part in (*head_modules(model), *_poolers(model)) for module in part.modules()}
    layers = [module for module in found if isinstance(module, nn.Linear)]
    with torch.inference_mode(), evaluating(model), _watched(layers) as seen:
        logits = model(**inputs).logits
    last = next(
        (layer for layer in layers if layer in seen and layer.bias is not None and _same(seen[layer][1], logits)), None
    )
    if last is None or seen[last][0].dim() != 2:
        return None
    for layer in layers:
        square = layer.in_features == layer.out_features == last.in_features and layer.bias is not None
        if layer is last or layer not in seen or not square or isinstance(model, Student):
            continue
        for number, (activation, _, _) in enumerate(_ACTIVATIONS):
            if seen[layer][0].dim() == 2 and _same(activation(seen[layer][1]), seen[last][0]):
                return HeadParts(last, layer, number, _is_new(model, layer))
    return HeadParts(last)


def made_linear(parts: HeadParts, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the last layer reads if the hidden layer only standardises, and the weights that make it do so.

    The activation is used where it is nearly straight: tanh within half a standard deviation to both sides, ReLU and its
    kin above zero.

    Args:
        vectors: what the hidden layer reads, ``(rows, width)``.

    Returns:
        The vectors that the last layer reads, ``(rows, width)``; scale and shift of the hidden layer, ``(width,)`` each.
    """
    activation, scale, shift = _ACTIVATIONS[parts.activation]
    centre, spread = standardisation(vectors)
    scales = (scale / spread).astype(np.float32)
    shifts = (shift - scale * centre / spread).astype(np.float32)
    return activation(torch.from_numpy(vectors * scales + shifts)).numpy(), scales, shifts


@torch.no_grad()
def start_head(
    parts: HeadParts, weight: np.ndarray, bias: np.ndarray, hidden: tuple[np.ndarray, np.ndarray] | None = None
) -> None:
    """Let a head begin as a linear model.

    Args:
        weight: ``(outputs, width)``, of what the last layer reads.
        bias: ``(outputs,)``.
        hidden: scale and shift of the hidden layer, see :func:`made_linear`; None leaves it as it is.
    """
    parts.last.weight.copy_(torch.from_numpy(weight))
    parts.last.bias.copy_(torch.from_numpy(bias))
    if hidden is not None and parts.hidden is not None:
        scales, shifts = hidden
        parts.hidden.weight.copy_(torch.diag(torch.from_numpy(scales)))
        parts.hidden.bias.copy_(torch.from_numpy(shifts))


@contextmanager
def _watched(modules: list[nn.Linear]) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor]]]:
    """Inside, what modules read and give at their latest call."""
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def keep(module: nn.Module, read: tuple[Tensor, ...], gave: Tensor) -> None:
        seen[module] = (read[0], gave)

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _poolers(model: Any) -> list[nn.Module]:
    base = base_model(model)
    pooler = None if base is model else getattr(base, "pooler", None)
    return [pooler] if isinstance(pooler, nn.Module) else []


def _is_new(model: Any, layer: nn.Linear) -> bool:
    """Whether a hidden layer's weights are random: those outside the encoder, and a pooler that the checkpoint lacked."""
    inside = {id(parameter): name for name, parameter in base_model(model).named_parameters()}
    name = inside.get(id(layer.weight))
    return name is None or name in getattr(model, "new_in_encoder", frozenset())


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-6)
