"""The head of a language model, apart from its encoder: from hidden states to a score for each word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.structure.layers import base_model, evaluating, head_modules, word_embeddings


@dataclass(frozen=True)
class VocabularyHead:
    """From hidden states to a score for each word: ``(..., width)`` to ``(..., vocabulary)``.

    It holds the model's own modules in the order of the forward pass, and no other parameters. It is not a module, so
    an objective that keeps one does not save its weights twice.
    """

    modules: tuple[nn.Module, ...]
    vocabulary: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """Scores ``(..., vocabulary)`` for hidden states ``(..., width)``."""
        for module in self.modules:
            hidden = module(hidden)
        return hidden


def vocabulary_head(model: Any) -> VocabularyHead:
    """The head of a language model of transformers.

    The modules outside the encoder are put in the order in which a forward pass calls them. Applied to the encoder's
    hidden states they must give the model's scores: a head that is more than a chain of modules is refused.

    Raises:
        ModelError: if there is no such head, or it is not a chain of modules.
    """
    calls: list[nn.Module] = []
    hidden: list[Tensor] = []
    heads = head_modules(model)
    handles = [module.register_forward_hook(lambda module, *_: calls.append(module)) for module in heads]
    handles.append(base_model(model).register_forward_hook(lambda _, __, output: hidden.append(output[0])))
    table = word_embeddings(model)
    ids = torch.arange(1, min(9, table.num_embeddings), device=table.weight.device)[None]
    try:
        with torch.no_grad(), evaluating(model):
            scores = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{type(model).__name__}: cannot read token ids alone ({error}). Use another architecture."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    head = VocabularyHead(tuple(calls), int(scores.shape[-1]))
    if not calls or not _chain_gives(head, hidden[0], scores):
        raise ModelError(
            f"{type(model).__name__}: its masked-LM head cannot be told apart from its encoder. Use another architecture, such as BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, XLM-R, MobileBERT, MPNet or ModernBERT."
        )
    return head


def _chain_gives(head: VocabularyHead, hidden: Tensor, scores: Tensor) -> bool:
    try:
        with torch.no_grad():
            found = head(hidden)
    except (
        TypeError,
        RuntimeError,
    ):  # a module that takes more than one tensor, or not the output of the module before it
        return False
    return (
        isinstance(found, Tensor)
        and found.shape == scores.shape
        and bool(torch.allclose(found, scores, rtol=1e-4, atol=1e-4))
    )
