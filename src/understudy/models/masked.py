"""Masked language models by name, with their own head or with a new one tied to their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM, PreTrainedTokenizerBase

from understudy.errors import ModelError
from understudy.models.files.names import resolve
from understudy.models.files.pretrained import first_names, load_pretrained, read_pretrained
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.layers import head_modules


@dataclass(frozen=True)
class MaskedModel:
    """A masked language model with its tokenizer, and a note if its head is not the checkpoint's own."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    note: str | None = None


def has_masked_head(config: Any) -> bool:
    """Whether transformers has a masked language model of this architecture, and it is an encoder without a decoder.

    Example:
        >>> from transformers import BertConfig, GPT2Config
        >>> has_masked_head(BertConfig()), has_masked_head(GPT2Config())
        (True, False)
    """
    encodes = not (getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False))
    return encodes and type(config) in MODEL_FOR_MASKED_LM_MAPPING


def load_masked_model(name: str) -> MaskedModel:
    """A masked language model in float32 and in eval mode, from a run, a model folder or a hub id.

    A checkpoint without a masked-LM head (an encoder alone, a classifier) gets one whose output table is its embedding
    table. The rest of the new head is initialised from torch's current seed.

    Raises:
        ModelError: if the model cannot be loaded, is not an encoder, or lacks more than a head; or if its tokenizer does
            not fit it or has no mask token.
    """
    path = resolve(name)
    _, config = read_pretrained(path)
    if not has_masked_head(config):
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
        raise ModelError(
            f"{path}: lacks weights outside the masked-LM head: {first_names(broken)}. Give a complete checkpoint of this architecture."
        )
    check_tokenizer(model, tokenizer, name=name)
    check_mask_token(tokenizer, name=name)
    note = f"{name}: has no masked-LM head of its own, so it got one tied to its embeddings; the rest of the head is newly initialised."
    return MaskedModel(model.eval(), tokenizer, note if lacking else None)


def check_mask_token(tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Check that the tokenizer has a mask token.

    Raises:
        ModelError: if it has none.
    """
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f'{name}: its tokenizer has no mask token. Use the tokenizer that the model was trained with, or, if its vocabulary has a mask, name it in tokenizer_config.json ("mask_token": "[MASK]").'
        )
