"""What an encoder makes of each token in context: a table that a student's embeddings can start from.

The word table of an encoder says what a token is before any layer has read it. The states that come out of the encoder
say what the token means in the texts of a task, and, if the encoder was fine-tuned, what it means for the task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.data.at_once import in_order
from understudy.data.batches.by_length import length_batches
from understudy.data.tokens.encode import Encoded, collate
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model, evaluating, watched

_RIDGE = 1e-2
"""Penalty of the map from words to states, as a share of the mean square of the words' entries."""


class TokenStates(NamedTuple):
    """The sum of the last hidden states of each token over all its occurrences, and how often it occurred."""

    sums: Tensor
    """``(tokens, width)``, float64."""
    counts: Tensor
    """``(tokens,)``, float64."""


def token_states(
    model: Any,
    encoded: Encoded,
    *,
    names: Sequence[str],
    tokens: int,
    rows: np.ndarray | None = None,
    max_tokens: int = 2048,
    workers: int = 1,
    on_batch: Callable[[np.ndarray, Any], None] = lambda rows, output: None,
) -> TokenStates:
    """Add up an encoder's last hidden states, token by token, over texts. Padding counts for nothing.

    Args:
        model: an encoder of transformers, or a model with a head on one; it runs in evaluation mode, where it is.
        encoded: the texts.
        names: the inputs that the model takes.
        tokens: rows of the table: more than the highest id.
        rows: the numbers of the texts to read; all by default.
        max_tokens: padded tokens of a batch.
        workers: batches that are computed at once, see :func:`understudy.data.at_once.in_order`.
        on_batch: called for each batch with the positions in `rows` and the model's output.

    Raises:
        ModelError: if the encoder does not return one state a token.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> size = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4}
        >>> encoder = BertModel(BertConfig(**size, num_hidden_layers=1))
        >>> texts = Encoded(np.array([3, 5, 5], np.int32), np.array([0, 2, 3]), None, 0, "right", "")
        >>> token_states(encoder, texts, names=["input_ids", "attention_mask"], tokens=9).counts.tolist()
        [0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0]
    """
    rows = np.arange(len(encoded)) if rows is None else rows
    device = next(model.parameters()).device
    padded = "attention_mask" in names
    batches = length_batches(encoded.lengths[rows], max_tokens=max_tokens, padded=padded)

    def read(batch: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Any]:
        inputs = collate(encoded, rows[batch], names=[*dict.fromkeys([*names, "attention_mask"])])
        with torch.inference_mode():
            output = model(**{name: inputs[name].to(device) for name in names})
            return inputs["input_ids"], inputs["attention_mask"].bool(), states().float().cpu(), output

    sums: Tensor | None = None
    counts = torch.zeros(tokens, dtype=torch.float64)
    with evaluating(model), watched(model) as states, closing(in_order(read, batches, workers=workers)) as found:
        for batch, (ids, real, last, output) in zip(batches, found, strict=True):
            if last.shape[:2] != ids.shape:
                raise ModelError(
                    f"a '{base_model(model).config.model_type}' encoder has no state for each token. Give --embeddings teacher."
                )
            if sums is None:
                sums = torch.zeros(tokens, last.shape[-1], dtype=torch.float64)
            sums.index_add_(0, ids[real], last[real].double())
            counts += torch.bincount(ids[real], minlength=tokens)
            on_batch(batch, output)
    assert sums is not None
    return TokenStates(sums, counts)


def states_of_words(words: Tensor, states: TokenStates) -> Tensor:
    r"""The state that a token's word embedding suggests: a linear map, fitted to the tokens that occurred.

    .. math:: W = \arg\min_W \sum_t n_t \lVert W^\top [x_t, 1] - \bar s_t \rVert^2 + \lambda \lVert W \rVert^2

    where x is the word embedding, s̄ the mean state and n the count of token t. λ is a hundredth of the weighted mean
    square of x's entries.

    Args:
        words: ``(tokens, any width)``.
        states: of the same tokens.

    Returns:
        float64 ``(tokens, width of the states)``: a guess for every token, those included that did not occur.
    """
    inputs = torch.cat([words.double(), torch.ones(len(words), 1, dtype=torch.float64)], 1)
    weights = states.counts[:, None]
    means = states.sums / weights.clamp(min=1)
    gram = inputs.T @ (weights * inputs)
    gram += torch.eye(len(gram), dtype=torch.float64) * (_RIDGE * gram.diagonal().mean())
    return inputs @ torch.linalg.solve(gram, inputs.T @ (weights * means))


def contextual_table(words: Tensor, states: TokenStates) -> Tensor:
    r"""The mean state of each token, drawn towards what its word embedding suggests, as by one occurrence of it.

    .. math:: (\sum_i s_{t,i} + g_t) / (n_t + 1)

    where g is :func:`states_of_words`: all there is for a token that did not occur, and soon little.

    Args:
        words: the encoder's table of word embeddings, ``(tokens, any width)``.
        states: of the same tokens.

    Returns:
        float32 ``(tokens, width of the states)``.
    """
    return ((states.sums + states_of_words(words, states)) / (states.counts + 1)[:, None]).float()
