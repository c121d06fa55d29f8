"""The token that ends a text, and texts encoded in full with such an end."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError


def encode_streams(texts: Texts, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Encode texts in full, each with the special tokens of its tokenizer, as a later classifier will read them.

    If the tokenizer adds none (such as GPT-2's), an end-of-text token follows each text.

    Raises:
        ModelError: if the tokenizer has no such token.
    """
    adds_none = tokenizer.num_special_tokens_to_add() == 0
    return encode(texts, tokenizer, max_length=None, end_id=end_of_text_id(tokenizer) if adds_none else None)


def end_of_text_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token that ends a text: the tokenizer's end-of-sequence token, else its separator.

    Raises:
        ModelError: if it has neither.
    """
    for token in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token is not None:
            return int(token)
    raise ModelError(
        "the tokenizer has neither an end-of-sequence nor a separator token, so texts cannot be told apart in a stream. Give its tokenizer_config.json an eos_token."
    )
