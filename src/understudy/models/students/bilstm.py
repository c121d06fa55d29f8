"""The BiLSTM student: embeddings, one bidirectional LSTM, max-pooling over time, a hidden layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init

from understudy.models.students.student import Student, StudentConfig

_FLOOR = -1.0
"""Below all states of an LSTM, which lie in (−1, 1), and finite in every number format: the floor of the maximum."""


class BiLSTMConfig(StudentConfig):
    """Sizes of a :class:`BiLSTM`."""

    model_type = "understudy_bilstm"

    lstm_size: int = 128
    """Width of the state of each direction."""


class BiLSTM(Student):
    """One bidirectional LSTM, max-pooled over the real tokens.

    Padding changes nothing, although no sequence is packed. The backward direction reads each row reversed within its
    own length, so padding comes last in both directions and cannot reach the states before it. The maximum over time
    does not depend on the order, so nothing is reversed back. Packed sequences would be slower to train (each step is
    a kernel of its own) and do not export to ONNX.

    Example:
        >>> model = BiLSTM(BiLSTMConfig(vocab_size=9, embedding_size=4, lstm_size=3, hidden_size=5)).eval()
        >>> alone = model(torch.tensor([[5, 6, 7]])).logits
        >>> padded = model(torch.tensor([[5, 6, 7, 0]]), attention_mask=torch.tensor([[1, 1, 1, 0]])).logits
        >>> torch.allclose(alone, padded, atol=1e-6)
        True

    Reference:
        Tang et al. 2019, arXiv 1903.12136, section 3.1 (which uses the last states instead of the maximum).
    """

    config_class = BiLSTMConfig

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__(config, pooled_size=2 * config.lstm_size)
        self.forward_lstm = nn.LSTM(config.embedding_size, config.lstm_size)
        self.backward_lstm = nn.LSTM(config.embedding_size, config.lstm_size)
        self.post_init()

    def body(self) -> list[nn.Module]:
        """The two directions of the LSTM."""
        return [self.forward_lstm, self.backward_lstm]

    def pool(self, input_ids: Tensor, attention_mask: Tensor | None, segments: Tensor | None) -> list[Tensor]:
        """The states of both directions, max-pooled over the real tokens of each text: ``(rows, 2 * lstm_size)`` a text."""
        if attention_mask is None:
            return self._pool_unpadded(input_ids.t(), None if segments is None else segments.t())
        rows, tokens = input_ids.shape
        length = attention_mask.sum(1, keepdim=True)
        start = attention_mask.argmax(1, keepdim=True)  # the first real token: padding may be on the left
        position = torch.arange(tokens, device=input_ids.device)[None, :]
        order = (start + position).clamp(max=tokens - 1)
        mirror = (length - 1 - position).clamp(min=0).t()
        real = (position < length).t()[..., None]

        # Time comes first from here on, because nn.LSTM would otherwise transpose its input and output.
        embedded = self.drop(self.embeddings(input_ids.gather(1, order).t()))
        cells = mirror * rows + torch.arange(rows, device=input_ids.device)
        mirrored = embedded.flatten(0, 1).index_select(0, cells.flatten()).view_as(embedded)
        onward, backward = self.forward_lstm(embedded)[0], self.backward_lstm(mirrored)[0]
        if segments is None:
            return [_maximum(onward, real, backward, real)]
        segment = segments.gather(1, order).t()
        mirrored_segment = segment.gather(0, mirror)
        return [
            _maximum(
                onward, real & (segment == text)[..., None], backward, real & (mirrored_segment == text)[..., None]
            )
            for text in (0, 1)
        ]

    def _pool_unpadded(self, ids: Tensor, segments: Tensor | None) -> list[Tensor]:
        """The same without padding, for ``ids`` of ``(tokens, rows)``. It is for single texts, where each operation counts."""
        embedded = self.drop(self.embeddings(ids))
        onward, backward = self.forward_lstm(embedded)[0], self.backward_lstm(embedded.flip(0))[0]
        if segments is None:
            return [torch.cat([onward.amax(0), backward.amax(0)], dim=-1)]
        inside = [(segments == text)[..., None] for text in (0, 1)]
        return [_maximum(onward, mask, backward, mask.flip(0)) for mask in inside]

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        if not isinstance(module, nn.LSTM):
            super()._init_weights(module)
            return
        size = module.hidden_size
        for name, parameter in module.named_parameters():
            loaded = getattr(parameter, "_is_hf_initialized", False)
            if name.startswith("weight_hh"):
                init.orthogonal_(parameter)
            elif name.startswith("weight"):
                init.xavier_uniform_(parameter)
            else:
                init.zeros_(parameter)
                if name.startswith("bias_ih") and not loaded:
                    parameter[size : 2 * size] = 1.0  # opens the forget gate: Jozefowicz et al. 2015


def _maximum(onward: Tensor, mask: Tensor, backward: Tensor, backward_mask: Tensor) -> Tensor:
    """The maximum of the states of both directions within their masks: ``(rows, 2 * lstm_size)``."""
    return torch.cat(
        [onward.masked_fill(~mask, _FLOOR).amax(0), backward.masked_fill(~backward_mask, _FLOOR).amax(0)], dim=-1
    )
