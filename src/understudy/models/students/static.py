"""The static student: the mean of token embeddings, and a small head. It is the fastest student."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.models.students.pooled import mean_pooled
from understudy.models.students.student import Student, StudentConfig


class StaticConfig(StudentConfig):
    """Sizes of a :class:`StaticBag`."""

    model_type = "understudy_static"


class StaticBag(Student):
    """A bag of token embeddings: a small head reads their mean over the real tokens.

    Word order is ignored. The weight of a token in the mean is learnt as the length of its vector.

    Example:
        >>> model = StaticBag(StaticConfig(vocab_size=9, embedding_size=4, hidden_size=5)).eval()
        >>> torch.allclose(model(torch.tensor([[5, 6, 7]])).logits, model(torch.tensor([[7, 5, 6]])).logits)
        True
    """

    config_class = StaticConfig

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config, pooled_size=config.embedding_size)
        self.post_init()

    def pool(self, input_ids: Tensor, attention_mask: Tensor | None, segments: Tensor | None) -> list[Tensor]:
        """The mean over the real tokens of each text, ``(rows, embedding_size)`` a text; zero for a text without tokens."""
        embedded = self.drop(self.embeddings(input_ids))
        if segments is None:
            return [embedded.mean(1) if attention_mask is None else mean_pooled(embedded, attention_mask)]
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return [mean_pooled(embedded, real * (segments == text)) for text in (0, 1)]
