"""The base of the small students: an embedding table, one pooled vector a text, a small head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput


class StudentConfig(PreTrainedConfig):
    """Settings that every student has."""

    vocab_size: int = 30522
    embedding_size: int = 300
    hidden_size: int = 200
    """Width of the layer between the pooled vector and the output; 0 leaves the layer out."""
    dropout: float = 0.2
    pair: bool = False
    """Whether a row has two texts; ``token_type_ids`` tells them apart."""
    pad_token_id: int | None = 0
    understudy_student: bool = True
    """Tells the batching that the model takes ``token_type_ids`` only if ``pair`` is set."""


class Student(PreTrainedModel):
    """Base of the students. They differ in :meth:`pool` (and :meth:`body`) only.

    A pair becomes one vector ``[u, v, |u − v|, u · v]``, where u and v are the pooled vectors of its segments.
    """

    config_class = StudentConfig
    base_model_prefix = ""

    def __init__(self, config: StudentConfig, *, pooled_size: int) -> None:
        super().__init__(config)
        width = pooled_size * (4 if config.pair else 1)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(width, config.hidden_size) if config.hidden_size else None
        self.classifier = nn.Linear(config.hidden_size or width, config.num_labels)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of token embeddings."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of token embeddings."""
        self.embeddings = value

    def body(self) -> list[nn.Module]:
        """The modules between the embeddings and the head, input to output."""
        return []

    def head(self) -> list[nn.Module]:
        """The modules from the pooled vector to the output."""
        return [self.classifier] if self.hidden is None else [self.hidden, self.classifier]

    def pool(self, input_ids: Tensor, attention_mask: Tensor | None, segments: Tensor | None) -> list[Tensor]:
        """Pooled vectors ``(rows, pooled_size)``, one for each text of a row."""
        raise NotImplementedError

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits of a batch.

        Args:
            input_ids: ``(rows, tokens)``.
            attention_mask: 1 at real tokens, which must be contiguous in each row; None if nothing is padding.
            token_type_ids: 0 in the first text and 1 in the second. A model of pairs needs them, others ignore them.

        Returns:
            ``logits``: ``(rows, outputs)``.
        """
        return SequenceClassifierOutput(logits=self.scores(input_ids, attention_mask, token_type_ids))

    def scores(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The logits of :meth:`forward` without its output object, which takes a tenth of the time of a single text."""
        alone = not is_traced() and len(input_ids) == 1
        if alone and attention_mask is not None and bool(attention_mask.all()):
            attention_mask = None  # for a single text the operations for padding would be a fifth of the time
        if self.config.pair:
            if token_type_ids is None:
                raise ValueError("a model of pairs needs token_type_ids, which tell its two texts apart")
            u, v = self.pool(input_ids, attention_mask, token_type_ids)
            pooled = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
        else:
            (pooled,) = self.pool(input_ids, attention_mask, None)
        if self.hidden is not None:
            pooled = self.hidden(pooled).relu()
        return self.classifier(self.drop(pooled))

    def drop(self, values: Tensor) -> Tensor:
        """Dropout in training. In evaluation not even the call, whose cost a single text would notice."""
        return self.dropout(values) if self.training else values

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        # These functions of transformers skip weights that a checkpoint filled.
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.1)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)


def is_traced() -> bool:
    """Whether an exporter or compiler is tracing the graph. The graph must then not depend on values of tensors."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()
