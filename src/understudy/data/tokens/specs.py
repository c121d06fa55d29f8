"""The short forms of a vocabulary in settings, such as ``words:30000``: parsed without loading any tokenizer."""

from __future__ import annotations

import re

from understudy.errors import ConfigError, nearest

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The special tokens of every tokenizer that is trained here; they count as part of the vocabulary."""

_KINDS = ("words", "bpe")
_MOST = 2**32 - 1


def parse_spec(spec: str) -> tuple[str, int]:
    """The kind and the size of a vocabulary from its short form, ``words:N`` or ``bpe:N``.

    Raises:
        ConfigError: if it has another form, or N leaves no room beside the special tokens.

    Example:
        >>> parse_spec("words:30000")
        ('words', 30000)
    """
    match = re.fullmatch(r"([a-z]+):(\d+)", spec)
    if match is None or match[1] not in _KINDS:
        kind = spec.partition(":")[0]
        given = spec.partition(":")[2]
        number = given if given.isdecimal() else "8000"
        hint = nearest(kind, _KINDS).replace("'?", f":{number}'?")
        raise ConfigError(
            f"tokenizer '{spec}' is neither words:N nor bpe:N, for example words:30000 or bpe:8000.{hint}"
        )
    size = int(match[2])
    if size > _MOST:
        raise ConfigError(f"tokenizer '{spec}' must ask for at most {_MOST:,} tokens. For example: {match[1]}:8000.")
    if size <= len(SPECIAL_TOKENS):
        raise ConfigError(
            f"tokenizer '{spec}' must have more than the {len(SPECIAL_TOKENS)} special tokens, but asks for {size}. For example: {match[1]}:8000."
        )
    return match[1], size


def parse_choice(choice: str) -> str | None:
    """What ``--vocabulary`` asks to train, as a short form for :func:`parse_spec`; None for ``keep``.

    Raises:
        ConfigError: if it is not ``keep``, ``new:N`` or ``words:N``, or N leaves no room beside the special tokens.

    Example:
        >>> parse_choice("new:16000"), parse_choice("words:30000"), parse_choice("keep")
        ('bpe:16000', 'words:30000', None)
    """
    if choice == "keep":
        return None
    kind, _, size = choice.partition(":")
    if kind not in ("new", "words") or not size.isdecimal():
        number = size if size.isdecimal() else "16000"
        hint = nearest(choice, ["keep"]) or nearest(kind, ("new", "words")).replace("'?", f":{number}'?")
        raise ConfigError(
            f"vocabulary must be keep, new:N (pieces of words) or words:N, for example new:16000, but is {choice!r}.{hint}"
        )
    if int(size) > _MOST:
        raise ConfigError(f"vocabulary {choice!r} must ask for at most {_MOST:,} tokens. For example: {kind}:16000.")
    if int(size) <= len(SPECIAL_TOKENS):
        raise ConfigError(
            f"vocabulary {choice!r} must have more than the {len(SPECIAL_TOKENS)} special tokens. For example: {kind}:16000."
        )
    return f"{'bpe' if kind == 'new' else 'words'}:{int(size)}"
