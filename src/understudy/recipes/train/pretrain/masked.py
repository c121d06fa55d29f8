"""Pretraining of masked language models: a text a row, or texts packed into blocks."""

from __future__ import annotations

from typing import Any

import torch

from understudy.data.readers.corpus import Corpus
from understudy.errors import ConfigError
from understudy.models.awd_lstm.config import set_reading
from understudy.models.masked import load_masked_model
from understudy.objectives.masked_lm import MaskedLM
from understudy.recipes.train.masked_texts import MaskedTexts
from understudy.recipes.train.pretrain.new_vocabulary import carry
from understudy.recipes.train.pretrain.work import LanguageWork
from understudy.runs.text_limits import unknown_notes
from understudy.settings.train.pretrain import PretrainSettings


class HiddenWords(LanguageWork):
    """A masked language model, and batches with other masks in each epoch."""

    kind = "masked_language_model"
    learning_rate = 1e-4

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        if settings.bptt is not None:
            raise ConfigError(
                f"--bptt is for an AWD-LSTM, but {settings.model} reads a text at a time. Leave it out, or give --max_length instead."
            )
        super().__init__(settings, corpus)
        torch.manual_seed(settings.seed)  # a head that nothing has trained is random
        found = load_masked_model(settings.model)
        self.model, self.tokenizer, notes = carry(
            found.model, found.tokenizer, corpus.train, vocabulary=settings.vocabulary, cased=settings.cased
        )
        set_reading(self.model, name=settings.model, gradient_tokens=None, drop_mult=settings.drop_mult)
        self.adapt(new_head=found.note is not None)
        self.trained_before = found.note is None
        self.texts = MaskedTexts(settings, corpus.texts(), [self.model], self.tokenizer)
        self.parts, self.batches = self.texts.parts, self.texts.batches
        self.length, self.rows = self.texts.length, self.texts.rows
        self.notes = [
            *([] if found.note is None else [found.note]),
            *notes,
            *self.texts.notes,
            *unknown_notes(self.parts, self.tokenizer),
        ]
        self._learn(MaskedLM(self.model))

    def adapt(self, *, new_head: bool) -> None:
        """Change the loaded model before it is trained: here nothing.

        Args:
            new_head: whether nothing has trained its head.
        """

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus, under fixed masks."""
        return self.texts.scores(model, part, device)
