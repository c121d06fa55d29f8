"""How many tokens of a text a model reads."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from understudy.errors import ConfigError
from understudy.models.awd_lstm.config import reads_whole

_OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Architectures that count positions from the padding id plus one: the rows below that in the table are never used."""

_DEFAULT_LENGTH = 512

_DOCUMENT_LENGTH = 16384
"""Tokens that a model without positions reads of a document: about forty pages. Its memory does not grow with the
document; the limit only bounds the time, in case a row is a whole book by mistake."""


def max_length(config: Any, tokenizer: PreTrainedTokenizerBase, asked: int | None) -> int:
    """The maximum number of tokens of a text, special tokens included.

    Without `asked` it is 512, or less if the model or its tokenizer allows less. `asked` overrides the tokenizer's
    limit, which is advice, but not the size of the model's position table. A model that
    :func:`understudy.models.awd_lstm.config.reads_whole` reads 16,384 tokens of a document whatever `asked` is: there
    `asked` bounds the gradient.

    Raises:
        ConfigError: if `asked` is more than the model can read.
    """
    if reads_whole(config):
        return _DOCUMENT_LENGTH
    config = getattr(config, "encoder_config", config)
    limit = most_tokens(config)
    if asked is None:
        return min(_DEFAULT_LENGTH, int(min(tokenizer.model_max_length, _DEFAULT_LENGTH)), limit or _DEFAULT_LENGTH)
    if limit is not None and asked > limit:
        raise ConfigError(
            f"max_length is {asked}, but this model ({config.model_type}) reads at most {limit} tokens. Give --max_length {limit} or less."
        )
    return asked


def most_tokens(config: Any) -> int | None:
    """The tokens that an encoder's table of positions has room for; None if it has none.

    Example:
        >>> from transformers import RobertaConfig
        >>> most_tokens(RobertaConfig(max_position_embeddings=514, pad_token_id=1))
        512
    """
    positions = getattr(config, "max_position_embeddings", None)
    return positions - first_position(config) if isinstance(positions, int) and positions > 0 else None


def first_position(config: Any) -> int:
    """The position of a text's first token: 0, or the padding id plus one in RoBERTa's family.

    Example:
        >>> from transformers import BertConfig, RobertaConfig
        >>> first_position(BertConfig()), first_position(RobertaConfig(pad_token_id=1))
        (0, 2)
    """
    return (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0
