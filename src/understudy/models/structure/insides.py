"""What passes through an encoder: hidden states, queries, keys and values of chosen layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from understudy.models.structure.blocks import projections
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.layers import encoder_layers


@dataclass
class Insides:
    """What was recorded in one forward pass. Every tensor is ``(rows, tokens, width)``."""

    last: Tensor
    """The last hidden states, which the head reads."""
    hidden: dict[int, Tensor] = field(default_factory=dict)
    """Hidden states by depth: 0 is the input of the first block, n the output of the n-th block."""
    vectors: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    """Queries, keys and values by layer, counted from 0; the heads are concatenated."""


class InsidesRecorder:
    """Runs a forward pass and records the hidden states and vectors that are asked for.

    Layers are counted by the calls of blocks, so each repetition of ALBERT's shared block counts as a layer. A recorder
    is not a module, so an objective that keeps one does not save its model twice.

    Args:
        model: any encoder or masked language model of transformers.
        hidden: depths of the hidden states, see :class:`Insides`.
        vectors: layers of the queries, keys and values, see :class:`Insides`.

    Raises:
        ModelError: if the blocks, or the modules that compute queries, keys and values, cannot be found.
    """

    def __init__(self, model: Any, *, hidden: Iterable[int] = (), vectors: Iterable[int] = ()) -> None:
        self._model, self._hidden, self._vectors = model, frozenset(hidden), frozenset(vectors)
        self._blocks = list(encoder_layers(model)) if self._hidden else []
        self._projections = projections(model) if self._vectors else []

    def __call__(self, inputs: Mapping[str, Tensor]) -> Insides:
        """Run the model on these keyword arguments, as :func:`understudy.models.structure.hidden_states.hidden_states` does."""
        hidden: dict[int, Tensor] = {}
        parts: list[dict[int, Tensor]] = [{} for _ in self._projections[:1] for _ in self._projections[0]]
        hooks: list[tuple[Callable[..., None], list[Any]]] = [(self._keep_states(hidden), self._blocks)]
        hooks += [(self._keep_vectors(part), [made[i] for made in self._projections]) for i, part in enumerate(parts)]
        with ExitStack() as stack:
            for hook, modules in hooks:
                for module in {id(module): module for module in modules}.values():
                    handle = module.register_forward_hook(hook, with_kwargs=True)
                    stack.callback(handle.remove)
            last = hidden_states(self._model, inputs)
        return Insides(last, hidden, {layer: _three([part[layer] for part in parts]) for layer in self._vectors})

    def _keep_states(self, found: dict[int, Tensor]) -> Callable[..., None]:
        calls = 0

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            nonlocal calls
            if calls == 0 and 0 in self._hidden:
                found[0] = args[0] if args else kwargs["hidden_states"]
            calls += 1
            if calls in self._hidden:
                found[calls] = output[0] if isinstance(output, tuple) else output

        return hook

    def _keep_vectors(self, found: dict[int, Tensor]) -> Callable[..., None]:
        calls = 0

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            nonlocal calls
            if calls in self._vectors:
                found[calls] = output
            calls += 1

        return hook


def _three(parts: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = parts if len(parts) == 3 else parts[0].chunk(3, dim=-1)
    return query, key, value
