"""What a model is fed, settled in one place: padding and segments under which a text gets one answer in any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Text
from understudy.data.tokens.encode import Encoded, collate, encode_in_memory, input_names
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ModelError
from understudy.models.files.lengths import max_length
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.layers import evaluating, word_embeddings

_TOLERANCE = 1e-3
"""Tolerance in float32, relative to the largest answer. What padding changes where it is read is a hundred times that."""

_WORDS = (3, 1, 9, 27)
"""Lengths of the texts that are tried: whatever looks at neighbours or counts from an end tells them apart."""

_REFUSALS = (ValueError, RuntimeError, LookupError, TypeError, AttributeError, NotImplementedError)
"""What architectures raise for inputs that they do not take."""

Answers = Callable[[Any, Mapping[str, Tensor]], Tensor]


def settle_inputs(
    model: Any, tokenizer: PreTrainedTokenizerBase, *, answers: Answers = classifier_logits
) -> tuple[str, ...]:
    """Make model and tokenizer pad so that a text gets the same answer alone and in any batch; the model's inputs.

    It is tried on a few short texts: as the tokenizer pads; on its other side (BERT counts positions from the left,
    XLNet reads the last token); with the padding token of the configuration (a causal classifier reads the last token
    that is not that one). The tokenizer and the configuration keep what was found, so it is saved with the model.

    Without ``attention_mask`` among the inputs the model cannot mask: it reads the padding whatever the mask says. Its
    batches then hold texts of one length, see :func:`understudy.data.batches.by_length.length_batches`.

    Args:
        answers: model and inputs to one row of numbers a text.

    Raises:
        ModelError: if a text's answer depends on the batch even there, or the model does not take such inputs, or its
            answers are not finite.
    """
    names = input_names(model, tokenizer)
    config = getattr(model.config, "encoder_config", model.config)
    known, own, side = getattr(config, "pad_token_id", None), tokenizer.pad_token_id, tokenizer.padding_side
    short = _short_texts(tokenizer)
    texts: list[Text] = [*zip(short, short[1:] + short[:1])] if getattr(model.config, "pair", False) else [*short]
    fault: Exception | None = None
    for way in _ways(tokenizer, known):
        _pad(config, tokenizer, *way)
        try:
            if _one_answer(model, tokenizer, texts, names, answers):
                return names
        except _REFUSALS as error:
            fault = error
    _pad(config, tokenizer, own, side, config.pad_token_id if known is None else known)
    unmasked = tuple(name for name in names if name != "attention_mask")
    try:
        if _one_answer(model, tokenizer, texts * 2, unmasked, answers, padded=False):
            return unmasked
    except _REFUSALS as error:
        fault = error
    reason = f" ({' '.join(str(fault).split())[:200]})" if fault else ""
    raise ModelError(
        f"a '{model.config.model_type}' model cannot be used here: its answer for a text depends on the other texts of the batch{reason}. If it was trained just now, train with a lower --learning_rate; otherwise name another model, such as BERT, RoBERTa, DistilBERT or ModernBERT."
    )


def not_finite() -> ModelError:
    """The refusal of a model that answers with NaN or infinity."""
    return ModelError(
        "the model's answers are not finite numbers: its weights or its config.json are damaged. Copy or train it again."
    )


def _ways(tokenizer: PreTrainedTokenizerBase, known: int | None) -> Iterator[tuple[int | None, str, int]]:
    """Padding token, side and padding token of the configuration; first of all those that are there already."""
    own = [token for token in (tokenizer.pad_token_id, known) if token is not None and 0 <= token < len(tokenizer)]
    others = (tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id)
    tokens = list(dict.fromkeys(own)) or [next((token for token in others if token is not None), None)]
    sides = sorted(("left", "right"), key=tokenizer.padding_side.__ne__)
    if known is not None:
        yield from ((token, side, known) for token, side in product(tokens, sides))
    yield from ((token, side, token or 0) for token, side in product(tokens, sides) if token != known)


def _pad(config: Any, tokenizer: PreTrainedTokenizerBase, token: int | None, side: str, configured: int) -> None:
    if token != tokenizer.pad_token_id:
        tokenizer.pad_token = None if token is None else tokenizer.convert_ids_to_tokens(token)
    tokenizer.padding_side, config.pad_token_id = side, configured


def _short_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts of a few ordinary tokens, spread over the vocabulary."""
    spread = np.linspace(0, len(tokenizer) - 1, 4 * max(_WORDS)).astype(int).tolist()
    usable = sorted({*spread} - {*tokenizer.all_special_ids}) or [0]
    return [tokenizer.decode([usable[(7 * i + words) % len(usable)] for i in range(words)]) for words in _WORDS]


def _one_answer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    names: Sequence[str],
    answers: Answers,
    *,
    padded: bool = True,
) -> bool:
    """Whether texts are answered alone as they are together: all in one batch, or only those of one length."""
    encoded = encode_in_memory(TextEncoder(tokenizer, max_length=max_length(model.config, tokenizer, None)), texts)
    rows = np.arange(len(texts))
    batches = [rows] if padded else [rows[encoded.lengths == length] for length in np.unique(encoded.lengths)]
    with torch.inference_mode(), torch.random.fork_rng(devices=[]), evaluating(model):
        alone = _answered(model, encoded, [rows[i : i + 1] for i in rows], names, answers)
        together = _answered(model, encoded, batches, names, answers)
    if not all(one.isfinite().all() for one in alone.values()):
        raise not_finite()
    largest = max(float(one.abs().max()) for one in alone.values())
    return all(torch.allclose(one, together[row], rtol=0, atol=_TOLERANCE * largest) for row, one in alone.items())


def _answered(
    model: Any, encoded: Encoded, batches: Sequence[np.ndarray], names: Sequence[str], answers: Answers
) -> dict[int, Tensor]:
    """The answer for each row; of one that has numbers for each token, those of the real tokens."""
    device = word_embeddings(model).weight.device
    found: dict[int, Tensor] = {}
    for rows in batches:
        inputs = {name: tensor.to(device) for name, tensor in collate(encoded, rows, names=names).items()}
        out = answers(model, inputs).float()
        real = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
        found |= {int(row): out[i] if out.dim() == 2 else out[i][real[i]] for i, row in enumerate(rows)}
    return found
