"""A table of static embeddings from an encoder: states of single tokens, principal components, weights by frequency.

The mean of a text's rows stands for the encoder's own vector of the text. Everything here is arrays in, arrays out, but for
:func:`single_token_states`, which asks the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.models.structure.layers import evaluating
from understudy.models.students.pooled import mean_pooled

SIF = 1e-4
"""The usual a of :func:`sif_weights`."""
_AT_ONCE = 512


def single_token_states(
    encoder: Any,
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    *,
    names: Sequence[str],
    on_batch: Callable[[int], None] = lambda tokens: None,
) -> np.ndarray:
    """What an encoder makes of each token as a text of its own: the mean of its last states, special tokens included.

    Args:
        encoder: of transformers, without a head; it runs in evaluation mode, on the device where it is.
        ids: the tokens.
        names: the inputs that the encoder takes.
        on_batch: called with the number of tokens after each batch.

    Returns:
        float32 ``(tokens, width)``.
    """
    before, after = _around(tokenizer)
    device = next(encoder.parameters()).device
    found = []
    with evaluating(encoder), torch.inference_mode():
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            rows = torch.tensor([[*before, token, *after] for token in some], device=device)
            inputs = {"input_ids": rows, "attention_mask": torch.ones_like(rows), "token_type_ids": rows * 0}
            states = encoder(**{name: inputs[name] for name in names}).last_hidden_state
            found.append(mean_pooled(states.float(), inputs["attention_mask"]).cpu().numpy())
            on_batch(len(some))
    return np.concatenate(found)


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text."""
    whole, bare = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    start = next(i for i in range(len(whole) + 1) if whole[i : i + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def principal_directions(rows: np.ndarray, width: int) -> np.ndarray:
    """The first directions in which rows vary around their mean, of length 1: float64 ``(any width, width)``.

    The sign of a direction is that which makes its largest entry positive, so that the same rows give the same result.

    Args:
        rows: ``(rows, any width)``; a narrower one has no more directions than that.

    Example:
        >>> principal_directions(np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.3]]), 1).round(1).tolist()
        [[1.0], [0.1]]
    """
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, ::-1][:, :width]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    found: np.ndarray = vectors * signs
    return found


def seen_along(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Rows less their mean, along directions: float64 ``(rows, width)``.

    Args:
        rows: ``(rows, any width)``.
        directions: ``(any width, width)``, see :func:`principal_directions`.
    """
    found: np.ndarray = (rows.astype(np.float64) - rows.mean(0, dtype=np.float64)) @ directions
    return found


def zipf_shares(tokens: int) -> np.ndarray:
    r"""How often tokens occur if they are in the order of their frequency, as in most vocabularies: they sum to 1.

    .. math:: p_r = \frac{1/(r + 1)}{\sum_s 1/(s + 1)}, \quad r = 1, 2, \dots

    Reference:
        Zipf 1949, "Human Behavior and the Principle of Least Effort".

    Example:
        >>> zipf_shares(2).round(2).tolist()
        [0.6, 0.4]
    """
    shares = 1 / np.arange(2, tokens + 2)
    found: np.ndarray = shares / shares.sum()
    return found


def sif_weights(shares: np.ndarray, *, a: float = SIF) -> np.ndarray:
    r"""Smooth inverse frequency: what occurs everywhere counts little in the mean.

    .. math:: w = \frac{a}{a + p}

    Args:
        shares: how often each token occurs, ``(tokens,)``.

    Reference:
        Arora, Liang & Ma 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings".

    Example:
        >>> sif_weights(np.array([1e-4, 0.0])).tolist()
        [0.5, 1.0]
    """
    found: np.ndarray = a / (a + shares)
    return found


def fitted_to_vectors(
    table: np.ndarray, shares: Any, vectors: np.ndarray, *, penalty: float, steps: int = 40
) -> np.ndarray:
    r"""The table whose means of rows come nearest to known vectors of texts, and which stays near where it was.

    .. math:: \min_W \lVert X W - Y \rVert^2 + \lambda \lVert W - W_0 \rVert^2

    by conjugate gradients, one for each column. A token that no text has keeps its row.

    Args:
        table: W₀, ``(tokens, width)``.
        shares: X, sparse ``(texts, tokens)``: each token's share of a text.
        vectors: Y, ``(texts, width)``.
        penalty: λ > 0.
        steps: of conjugate gradients.

    Returns:
        float64 ``(tokens, width)``.
    """
    found = table.astype(np.float64)
    occur = np.flatnonzero(np.bincount(shares.nonzero()[1], minlength=len(table)))
    shares, start = shares[:, occur], found[occur]
    change = np.zeros_like(start)
    rest = shares.T @ (vectors - shares @ start)
    direction, size = rest.copy(), (rest**2).sum(0)
    for _ in range(steps):
        image = shares.T @ (shares @ direction) + penalty * direction
        step = size / np.maximum((direction * image).sum(0), np.finfo(float).tiny)
        change += step * direction
        rest -= step * image
        before, size = size, (rest**2).sum(0)
        direction = rest + (size / np.maximum(before, np.finfo(float).tiny)) * direction
    found[occur] += change
    return found
