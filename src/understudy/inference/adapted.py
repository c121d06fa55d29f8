"""A base with an adapter in it and its head on top, ready for raw text."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import NAME
from understudy.adapters.inject import adapter_tensors
from understudy.inference.predictor import Predictor
from understudy.models.structure.layers import head_tensors


class AdaptedPredictor(Predictor):
    """A :class:`Predictor` whose network is a base with one adapter.

    Args:
        facts: what is known of the adapter.
        half: whether its weights are to be stored in two bytes.
    """

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, facts: AdapterFacts, *, half: bool = False
    ) -> None:
        assert facts.task is not None
        super().__init__(model, tokenizer, facts.task, facts.max_length, temperature=facts.temperature)
        self.facts, self.half = facts, half

    def own(self) -> dict[str, torch.nn.Parameter]:
        """What belongs to the task alone: the parameters of adapter and head, by name."""
        return {**adapter_tensors(self.model, NAME), **head_tensors(self.model)}

    @torch.no_grad()
    def round(self) -> None:
        """Give adapter and head the values that they have once they are stored in two bytes."""
        for parameter in self.own().values():
            parameter.copy_(parameter.half())

    def summary(self) -> dict[str, int]:
        """As :meth:`Predictor.summary`, with what belongs to the task alone: its parameters, and its bytes as stored."""
        own = sum(parameter.numel() for parameter in self.own().values())
        return {**super().summary(), "own_parameters": own, "own_bytes": own * (2 if self.half else 4)}
