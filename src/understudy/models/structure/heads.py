"""The two halves of a language model: what makes hidden states of a text, and what makes words of those."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.batches.packing import packed_inputs
from understudy.data.tokens.encode import Encoded, collate
from understudy.errors import ModelError
from understudy.models.files.load import first_position
from understudy.models.structure.layers import base_model, evaluating, head_modules, word_embeddings

_TOLERANCE = 1e-4
"""Of float32, relative to the largest hidden state, where packed texts are compared with texts alone."""


@dataclass(frozen=True)
class VocabularyHead:
    """From hidden states to a score for each word: ``(..., width)`` to ``(..., vocabulary)``.

    It holds the model's own modules in the order of its forward pass and no parameters besides: it is no module, so
    that an objective that keeps one does not save its weights twice.
    """

    modules: tuple[nn.Module, ...]
    vocabulary: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """Scores, whatever the leading dimensions."""
        for module in self.modules:
            hidden = module(hidden)
        return hidden


def hidden_states(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """A model's last hidden states, those that its vocabulary head reads: ``(rows, tokens, width)``.

    Args:
        inputs: the model's keyword arguments. A four-dimensional attention mask of bool keeps packed texts apart, see
            :func:`understudy.data.batches.packing.packed_inputs`.
    """
    return base_model(model)(**model_inputs(model, inputs))[0]


def model_inputs(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as this model takes them: a packed mask as numbers to add, or one for each kind of layer; positions from
    where this model begins to count, or none where it knows relative ones alone.

    Two models may read the same batch and differ in all of this. Inputs without a packed mask come back as they are.
    """
    found: dict[str, Any] = dict(inputs)
    mask = found.get("attention_mask")
    if mask is None or mask.dim() != 4:
        return found
    base = base_model(model)
    positions = found.pop("position_ids")
    if "position_ids" in inspect.signature(base.forward).parameters:
        found["position_ids"] = positions + first_position(base.config)
    kinds = set(getattr(base.config, "layer_types", None) or ())
    if kinds <= {"full_attention"}:
        found["attention_mask"] = _as_attended(mask, base)
    else:  # ModernBERT: most layers see a window only, which a ready-made mask would lift
        places = torch.arange(mask.shape[-1], device=mask.device)
        near = (places[:, None] - places[None, :]).abs() <= base.config.sliding_window
        masks = {"full_attention": mask, "sliding_attention": mask & near}
        found["attention_mask"] = {kind: _as_attended(masks[kind], base) for kind in kinds}
    return found


def _as_attended(mask: Tensor, base: Any) -> Tensor:
    """Bool for torch's own attention; for attention written out, what is added to the scores."""
    if base.config._attn_implementation == "sdpa":
        return mask
    least = torch.finfo(base.dtype).min
    return torch.zeros(mask.shape, dtype=base.dtype, device=mask.device).masked_fill_(~mask, least)


def vocabulary_head(model: Any) -> VocabularyHead:
    """The head of a language model of transformers.

    The modules outside the encoder are put in the order in which a forward pass calls them, and what they make of its
    hidden states is compared with its scores, so that a head that is more than a chain is refused, not misread.

    Raises:
        ModelError: if there is no such head, or it is no chain of modules.
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
    except (TypeError, RuntimeError):  # a module that takes more than one tensor, or another one than its neighbour's
        return False
    return (
        isinstance(found, Tensor)
        and found.shape == scores.shape
        and bool(torch.allclose(found, scores, rtol=1e-4, atol=1e-4))
    )


def packs(model: Any, *, max_length: int) -> bool:
    """Whether packed texts come out as if each stood alone, tried on three texts that fill a block.

    An architecture may not take such a mask, or let neighbours in by other ways (MobileBERT's embeddings look at the
    next token; convolutions do).
    """
    table = word_embeddings(model)
    usable = np.arange(table.num_embeddings)[5:] if table.num_embeddings > 9 else np.arange(table.num_embeddings)
    lengths = np.array([max(1, max_length // 2), max(1, max_length // 3), max(1, max_length // 8)])
    ids = usable[np.arange(lengths.sum()) * 7 % len(usable)].astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
    together = packed_inputs(texts, np.array([len(lengths)]), names=["input_ids"])
    device = table.weight.device
    with torch.no_grad(), evaluating(model):
        alone = [
            hidden_states(model, _on(device, collate(texts, np.array([i]), names=["input_ids", "attention_mask"])))[0]
            for i in range(len(lengths))
        ]
        try:
            packed = hidden_states(model, _on(device, together))[0]
        except Exception:  # whatever an architecture makes of a mask it does not know
            return False
    expected = torch.cat(alone)
    return bool((packed - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _on(device: torch.device, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}
