"""How much of each text a model reads, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.encode import Encoded
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.files.lengths import max_length

_UNKNOWN_SAID = 0.001
"""Unknown tokens are reported from this share upwards: they are easy to predict, and flatter a model."""
_UNKNOWN_MANY = 0.1
"""From this share upwards the report says what to do."""
_UNREAD = 0.2
"""From this share upwards it is said of what a classifier reads. Names and numbers alone are fewer."""

OF_STUDENTS = (
    "give a teacher that reads such texts, or a bilstm or static a --tokenizer of its own, such as words:30000"
)
"""What helps a student whose tokenizer does not know the texts."""


def text_length(model: Any, tokenizer: PreTrainedTokenizerBase, asked: int | None) -> int:
    """The largest number of tokens of a text: what was asked for, otherwise 256 or what the model reads if that is less.

    A model that reads whole documents does so, whatever is asked for.
    """
    most = max_length(model.config, tokenizer, asked)
    return most if asked or reads_whole(model.config) else min(256, most)


def said_of_cuts(parts: dict[str, Encoded], length: int, *, more: str) -> list[str]:
    """A sentence for each part of the data in which texts reach the limit.

    Args:
        parts: by name.
        length: the limit, in tokens.
        more: how to read more of each text.
    """
    full = {name: int((encoded.lengths == length).sum()) for name, encoded in parts.items()}
    return [
        f"{name}: {full[name]:,} of {len(encoded):,} texts have {length:,} tokens or more; the rest is not read ({more})."
        for name, encoded in parts.items()
        if full[name]
    ]


def how_to_read_more(model: Any) -> str:
    """How to make a classifier read more of each text."""
    if reads_whole(model.config):
        return "cut such documents into several rows"
    return "--max_length moves the limit"


def unknown_notes(
    parts: Mapping[str, Encoded],
    tokenizer: PreTrainedTokenizerBase,
    *,
    remedy: str = "give a larger vocabulary (--vocabulary new:16000, say), or a model that reads such texts",
) -> list[str]:
    """The share of unknown tokens in the training and validation texts, where it is worth a sentence.

    Args:
        remedy: what to do, added where the share is large.
    """
    shares = _unknown_shares({name: parts[name] for name in ("train", "validation")}, tokenizer)
    return [
        f"{name}: {100 * share:.1f} % of the tokens are unknown."
        + f" They are easy to predict, so scores say little: {remedy}." * (share >= _UNKNOWN_MANY)
        for name, share in shares.items()
        if share >= _UNKNOWN_SAID
    ]


def unread_notes(
    parts: Mapping[str, Encoded],
    tokenizer: PreTrainedTokenizerBase,
    *,
    remedy: str = "name a --model that reads such texts",
) -> list[str]:
    """A sentence for each part of which a classifier cannot tell many tokens apart, because its tokenizer knows none of them."""
    return [
        f"{name}: {100 * share:.0f} % of the tokens are unknown to the tokenizer, and all alike to the model: {remedy}."
        for name, share in _unknown_shares(parts, tokenizer).items()
        if share >= _UNREAD
    ]


def _unknown_shares(parts: Mapping[str, Encoded], tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """The share of unknown tokens in each part; empty where the tokenizer has no token for them alone."""
    unknown = tokenizer.unk_token_id
    if unknown in (None, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id):
        return {}
    return {name: float((encoded.ids == unknown).mean()) for name, encoded in parts.items() if len(encoded.ids)}
