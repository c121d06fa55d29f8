"""The tensors of an objective: those that training may change, and those that stay as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn


class Weights:
    """What the ``state_dict`` of an objective holds, each tensor once, however many names it has.

    Training may change the parameters that learn in some stage, and the buffers. All other parameters are frozen; there
    is no need to store them, because they are still those of the model that was loaded.

    Args:
        objective: its model and whatever else it owns.
        learns: the parameters that learn in some stage.
    """

    def __init__(self, objective: nn.Module, learns: Iterable[nn.Parameter]) -> None:
        self.objective = objective
        self.learns = frozenset(learns)

    def changing(self) -> dict[str, Tensor]:
        """The tensors themselves that training may change, by name, without gradients."""
        return {name: value.detach() for name, value in self._tensors() if not self._is_frozen(value)}

    def copy(self) -> dict[str, Tensor]:
        """A copy of :meth:`changing` in main memory."""
        return {name: value.to("cpu", copy=True) for name, value in self.changing().items()}

    @torch.no_grad()
    def put_back(self, kept: Mapping[str, Tensor]) -> None:
        """Give the tensors that training may change the values of such a copy, in place.

        Raises:
            KeyError: if one of them is not in the copy.
        """
        for name, value in self.changing().items():
            value.copy_(kept[name])

    def extra(self) -> dict[str, Any]:
        """The extra state of modules by name, such as what an objective carries from batch to batch."""
        return {name: value for name, value in self.objective.state_dict().items() if _is_extra(name)}

    def set_extra(self, extra: Mapping[str, Any]) -> None:
        """Restore what :meth:`extra` returned."""
        self.objective.load_state_dict(dict(extra), strict=False)

    @cached_property
    def frozen_fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the frozen parameters: their names, types, shapes and bytes. Computed once."""
        digest = hashlib.sha256()
        for name, value in self._tensors():
            if self._is_frozen(value):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _tensors(self) -> Iterable[tuple[str, Tensor]]:
        found: dict[int, tuple[str, Tensor]] = {}
        for name, value in self.objective.state_dict(keep_vars=True).items():
            if isinstance(value, Tensor) and not _is_extra(name):
                found.setdefault(id(value), (name, value))
        return found.values()

    def _is_frozen(self, value: Tensor) -> bool:
        return isinstance(value, nn.Parameter) and value not in self.learns


def _is_extra(name: str) -> bool:
    return name.rpartition(".")[2] == "_extra_state"
