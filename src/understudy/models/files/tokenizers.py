"""Tokenizers by name, and whether a tokenizer belongs to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from understudy.errors import ModelError, shortened
from understudy.models.files.names import check_undamaged, encoder_name, resolve
from understudy.models.files.quiet import explained, quiet
from understudy.models.structure.layers import word_embeddings

_FILLED_UP = 1024
"""An embedding table may have at least this many rows without a token."""


_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a run folder, a model folder or a hub id, with the truncation and padding stored in its file
    switched off.

    Raises:
        ModelError: if there is no tokenizer, or if it cannot be read or is damaged.
    """
    return read_tokenizer(resolve(encoder_name(name)))


def read_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The same of a folder that may hold nothing but a tokenizer, or of a hub id.

    Raises:
        ModelError: as :func:`load_tokenizer`.
    """
    if Path(path).is_dir() and not any(any(Path(path).glob(pattern)) for pattern in _TOKENIZER_FILES):
        if (Path(path) / "tfidf.json").is_file():
            raise ModelError(
                f"{path}: is a TF-IDF model, in which nothing is trained further. Name an encoder, or tfidf for a new one."
            )
        raise ModelError(
            f"{path}: holds no tokenizer (tokenizer.json or vocab.txt). Copy the tokenizer's files into it."
        )
    check_undamaged(path, weights=False)
    with explained(path), quiet():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    length = tokenizer.model_max_length
    if not isinstance(length, int | float) or not length >= 1:
        raise ModelError(
            f"{path}: 'model_max_length' in its tokenizer_config.json must be a number of tokens, but is {shortened(length)}. Correct it."
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    return tokenizer


def check_tokenizer(model: Any, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Check that every token has a row in the embedding table, and that the table was not made for another tokenizer.

    Many tables are padded to a round number of rows. If more than 1,024 rows have no token, and these outnumber the
    tokens, the tokenizer must belong to another model.

    Raises:
        ModelError: if the tokenizer is larger than the table, or that much smaller.
    """
    rows = word_embeddings(model).num_embeddings
    tokens = tokenizer.get_vocab().values()
    highest = max(tokens, default=-1)
    if rows - len(tokens) > max(len(tokens), _FILLED_UP):
        raise ModelError(
            f"{name}: its tokenizer has {len(tokens):,} tokens, but its embedding table has {rows:,} rows: they do not belong together. Use the tokenizer that the model was trained with; if this is that tokenizer, cut the table first (resize_token_embeddings)."
        )
    if highest >= rows:
        raise ModelError(
            f"{name}: its tokenizer goes up to id {highest}, but its embedding table has {rows} rows: they do not belong together. Use the tokenizer that the model was trained with."
        )
