"""How much of a text is read, and what is said of the rest."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.encode import Encoded
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.files.lengths import max_length


def text_length(model: Any, tokenizer: PreTrainedTokenizerBase, asked: int | None) -> int:
    """The most tokens of a text: what was asked for, else 256 or what the model reads, whichever is less.

    A model that reads documents whole does so, whatever is asked for.
    """
    most = max_length(model.config, tokenizer, asked)
    return most if asked or reads_whole(model.config) else min(256, most)


def said_of_cuts(parts: dict[str, Encoded], length: int, *, more: str) -> list[str]:
    """A sentence for each part of the data of which texts reach the limit.

    Args:
        parts: by name.
        length: the limit, in tokens.
        more: what to do to have more of them read.
    """
    full = {name: int((encoded.lengths == length).sum()) for name, encoded in parts.items()}
    return [
        f"{name}: {full[name]:,} of {len(encoded):,} texts have {length:,} tokens or more; what is beyond is not read ({more})."
        for name, encoded in parts.items()
        if full[name]
    ]


def how_to_read_more(model: Any) -> str:
    """What moves the limit of a classifier."""
    if reads_whole(model.config):
        return "cut such documents into several rows"
    return "--max_length moves the limit"
