"""Hidden states and the words that belong there in; a language model's loss, perplexity and accuracy out."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from understudy.functional.metrics import LANGUAGE_MODEL_METRICS, perplexity
from understudy.functional.vocabulary_loss import Head, vocabulary_scores


def word_scores(batches: Iterable[tuple[Tensor, Tensor]], head: Head, *, chunk: int) -> dict[str, float]:
    """How well a head's words fit the targets, over all batches together; computed without gradients.

    Args:
        batches: hidden states ``(positions, width)`` and targets ``(positions,)``.
        head: hidden states to logits over the vocabulary.
        chunk: the most positions whose logits are computed at once.

    Returns:
        ``loss`` (nats a position), ``perplexity`` (its exponential) and ``accuracy`` (the share of positions where the
        likeliest word is the target); NaN throughout where there is no position.

    Example:
        >>> scores = word_scores([(torch.eye(2), torch.tensor([0, 0]))], lambda hidden: 9 * hidden, chunk=8)
        >>> scores["accuracy"]
        0.5
    """
    loss = right = 0.0
    count = 0
    with torch.inference_mode():
        for hidden, targets in batches:
            losses, hits = vocabulary_scores(hidden, head, targets, chunk=chunk)
            loss += losses.cpu().double().sum().item()
            right += hits.sum().item()
            count += len(hits)
    if not count:
        return dict.fromkeys(LANGUAGE_MODEL_METRICS, math.nan)
    return {"loss": loss / count, "perplexity": perplexity(loss / count), "accuracy": right / count}
