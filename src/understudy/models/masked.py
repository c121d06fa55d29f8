"""Masked language models by name: with the head they have, or with one tied to their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM, PreTrainedTokenizerBase

from understudy.errors import ModelError
from understudy.models.files.classifiers import check_tokenizer, load_tokenizer, resolve
from understudy.models.files.pretrained import load_pretrained, read_pretrained
from understudy.models.structure.layers import head_modules


@dataclass(frozen=True)
class MaskedModel:
    """A masked language model with its tokenizer, and a sentence where its head is not the checkpoint's own."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    note: str | None = None


def is_masked(config: Any) -> bool:
    """Whether transformers has a masked language model of this architecture that is an encoder alone.

    Example:
        >>> from transformers import BertConfig, GPT2Config
        >>> is_masked(BertConfig()), is_masked(GPT2Config())
        (True, False)
    """
    encodes = not (getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False))
    return encodes and type(config) in MODEL_FOR_MASKED_LM_MAPPING


def load_masked(name: str) -> MaskedModel:
    """A masked language model in float32 and in eval mode: a run, a model folder or a hub id.

    A checkpoint without a masked-LM head (a bare encoder, a classifier) gets one whose output table is its embedding
    table; what else the head has starts afresh, from torch's current seed.

    Raises:
        ModelError: if it cannot be loaded, is no encoder, lacks more than a head, or its tokenizer does not fit it or
            has no mask token.
    """
    path = resolve(name)
    _, config = read_pretrained(path)
    if not is_masked(config):
        raise ModelError(
            f"{path}: a '{config.model_type}' model has no masked-LM head. Name an encoder, such as BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, XLM-R, MobileBERT, MPNet or ModernBERT."
        )
    tokenizer = load_tokenizer(name)
    model, lacking = load_pretrained(path, AutoModelForMaskedLM, config)
    if lacking and not config.tie_word_embeddings:
        config.tie_word_embeddings = True
        model, lacking = load_pretrained(path, AutoModelForMaskedLM, config)
    head = {id(parameter) for module in head_modules(model) for parameter in module.parameters()}
    names = {key for key, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in head}
    broken = sorted(key for key in lacking if key not in names)
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ModelError(
            f"{path}: lacks weights that are more than a masked-LM head: {', '.join(broken[:3])}{more}. Give a complete checkpoint of this architecture."
        )
    check_tokenizer(model, tokenizer, name=name)
    check_mask(tokenizer, name=name)
    fresh = f"{name}: has no masked-LM head of its own, so it got one tied to its embeddings; what the head has besides starts afresh."
    return MaskedModel(model.eval(), tokenizer, fresh if lacking else None)


def check_mask(tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """See that there is a token to mask with.

    Raises:
        ModelError: if there is none.
    """
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f'{name}: its tokenizer has no mask token. Use the tokenizer that the model was trained with, or name the mask in its tokenizer_config.json ("mask_token": "[MASK]") where the vocabulary has one.'
        )
