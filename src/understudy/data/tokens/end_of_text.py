"""The token that ends a text, and texts encoded in full with such an end."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.data.tokens.fastai_words import is_fastai
from understudy.errors import ModelError


def encode_streams(texts: Texts, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Encode texts in full, each with the special tokens of its tokenizer, as a later classifier will read them.

    If the tokenizer adds none (such as GPT-2's) or only a beginning (Llama's), an end-of-text token follows each text. A
    beginning is enough for fast.ai's models, which were trained so, and where the tokenizer has no end-of-sequence token.

    Raises:
        ModelError: if the tokenizer adds no special token and has none that ends a text.
    """
    return encode(texts, tokenizer, max_length=None, end_id=_lacking_end(tokenizer))


def _lacking_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of the end that a tokenizer does not add to a text by itself; None if its texts can be told apart."""
    if tokenizer.num_special_tokens_to_add() == 0:
        return end_of_text_id(tokenizer)
    end, marks = tokenizer.eos_token_id, tokenizer("")["input_ids"]
    if end is None or is_fastai(tokenizer) or {end, tokenizer.sep_token_id} & set(marks):
        return None
    return int(end)


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
