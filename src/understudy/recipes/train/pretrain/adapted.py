"""Pretraining of an adapter for a language or a domain, in a masked language model that stays as it is."""

from __future__ import annotations

from typing import Any

import torch

from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME
from understudy.adapters.inject import adapter_tensors, learn_only
from understudy.adapters.layers.invertible import undo_before_words
from understudy.data.readers.corpus import Corpus
from understudy.inference.logits import parameter_summary
from understudy.models.structure.layers import head_tensors, output_table
from understudy.recipes.train.adapting import EarlierAdapter, add_asked, rate_of
from understudy.recipes.train.pretrain.masked import HiddenWords
from understudy.runs.saving import save_adapter_alone
from understudy.runs.session import Session
from understudy.settings.train.pretrain import PretrainSettings
from understudy.training.stages import FitResult


class AdaptedWords(HiddenWords):
    """A masked language model in which an adapter alone learns, and a head that nothing has trained before."""

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        self._earlier = None if settings.load_adapter is None else EarlierAdapter.of(settings)
        self.learning_rate = rate_of(settings)
        super().__init__(settings, corpus)
        self.facts = AdapterFacts(
            method=self._added.method,
            design=self._added.design,
            base=self._base,
            task=None,
            head=None,
            max_length=self.length,
            below=self._added.below,
        )
        if self._earlier is not None and self._earlier.facts.head is not None:
            self.notes = [*self.notes, f"{settings.load_adapter}: the adapter goes on without its head."]

    def adapt(self, *, new_head: bool) -> None:
        """Put the adapter into the model; an invertible one is undone before words are scored.

        The output table is that of the embeddings, so it stays as it is; the rest of a new head learns with the adapter.
        """
        self._base = Base.of(self.model, self.settings.model)
        if self._earlier is not None:
            self._earlier.facts.base.check(self.model, origin=self._earlier.name)
        head = [value for value in head_tensors(self.model).values() if value is not output_table(self.model)]
        self._added = add_asked(self.model, self.settings, seed=self.settings.seed)
        if any(told.get("invertible") is not None for told in (self._added.design, self._added.below or {})):
            undo_before_words(self.model)
        learn_only(self.model, NAME, also=head if new_head else ())

    def train(self, session: Session) -> FitResult:
        """Fit the adapter; it ends with its best weights, as they are stored."""
        result = super().train(session)
        if self.settings.adapter_half:
            with torch.no_grad():
                for value in adapter_tensors(self.model, NAME).values():
                    value.copy_(value.half())
            result.metrics.update(self.scores(self.model, "validation", session.device))
        return result

    def save(self, session: Session) -> None:
        """Write the adapter, without the model."""
        save_adapter_alone(session.run.folder / "model", self.model, self.facts, half=self.settings.adapter_half)

    def saved_as(self) -> dict[str, Any]:
        """That it is an adapter, and whether one for a task can be stacked on it."""
        alone = self.facts.below is None and self.facts.base.kept is None
        return {"model_type": "adapter", "stacks": self.facts.method == "bottleneck" and alone}

    def summary(self) -> dict[str, int]:
        """Parameters and bytes of the model, and of the adapter alone, as it is stored."""
        own = sum(value.numel() for value in adapter_tensors(self.model, NAME).values())
        size = 2 if self.settings.adapter_half else 4
        return {**parameter_summary(self.model), "own_parameters": own, "own_bytes": own * size}
