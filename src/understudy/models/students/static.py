"""The static student: token embeddings, averaged, and a small head. The fastest there is."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.models.students.student import Student, StudentConfig


class StaticConfig(StudentConfig):
    """Sizes of a :class:`StaticBag`."""

    model_type = "understudy_static"


class StaticBag(Student):
    """A bag of token embeddings: their mean over the real tokens goes through a small head.

    It knows no word order. A token's weight in the mean is learnt as the length of its vector.

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
        """The mean over the real tokens of each text; zero for a text without any."""
        embedded = self.drop(self.embeddings(input_ids))
        if segments is None:
            return [embedded.mean(1) if attention_mask is None else _mean(embedded, attention_mask)]
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return [_mean(embedded, real * (segments == text)) for text in (0, 1)]


def _mean(embedded: Tensor, mask: Tensor) -> Tensor:
    """The mean of ``(rows, tokens, width)`` where the mask is 1; the weights are divided first, so fp16 holds."""
    weights = mask / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(weights[:, None].to(embedded.dtype), embedded)[:, 0]
