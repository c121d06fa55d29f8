"""How a tokenizer puts special tokens around texts, read off the tokenizer itself."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from understudy.errors import ModelError

_TRIED = ("a", "the", "1", ".")


def reading_of(content: str, *, pair: bool) -> dict[str, Any]:
    """The order of texts and special tokens in a row, and where segments come from.

    Args:
        content: of ``tokenizer.json``.
        pair: whether a row has two texts.

    Returns:
        ``template``, a list of ``{"text": number, "type": segment}`` and ``{"id": token, "type": segment}``; and
        ``segments``: ``types`` (those of the template), ``sequences`` (1 from the first token of the second text on) or
        ``none``, as :class:`understudy.data.tokens.backend.Backend` has them.

    Raises:
        ModelError: if no text that is tried has a token.
    """
    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = (*_TRIED, *sorted(tokenizer.get_vocab(with_added_tokens=False), key=len)[:1000])
    word = next((word for word in words if tokenizer.encode(word, add_special_tokens=False).ids), None)
    if word is None:
        raise ModelError(
            "the tokenizer finds no token in any word, so the page could not read a text. Check its files."
        )
    encoding = tokenizer.encode(word, word) if pair else tokenizer.encode(word)
    template = list[dict[str, int]]()
    for number, kind, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids):
        if text is None:
            template.append({"id": number, "type": kind})
        elif not template or template[-1].get("text") != text:
            template.append({"text": text, "type": kind})
    segments = "types" if any(encoding.type_ids) else "sequences" if pair else "none"
    return {"template": template, "segments": segments}
