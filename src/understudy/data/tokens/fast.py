"""``nanotoken``: the ids of ``tokenizers`` for WordPiece in a fraction of the time, used only where they are the same.

``tokenizers`` encodes some thousand texts a second on a core, nanotoken some hundred thousand. It is young, so it is never
trusted: before it is used, its ids for a sample of texts are compared with those of ``tokenizers``. The sample holds every
word and every piece of the vocabulary, characters of all blocks of Unicode, and strings on which tokenizers tend to
disagree. NumPy and ``tokenizers`` only: the small runtime shares this module.

nanotoken is the extra ``fast``. Without it, everything works as it does with ``tokenizers`` alone.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from understudy.terminal.lines import say

_OFF = ("false", "off", "no", "f", "n", "0")
_WORDS_A_TEXT = 64
_BLOCK = 64
"""Neighbouring characters of Unicode from which one is taken."""
_PLANES = (*range(0x21, 0xD800, _BLOCK), *range(0xE000, 0x20000, _BLOCK), *range(0x20000, 0x110000, 0x1000))
_ODD = (
    "",
    " ",
    "\t\n\r\x0b\x0c\x1c\x85\u00a0\u2028\u3000",
    "a\x0bb\x0cc a\u200bb\u200dc\ufeffd",
    "nul\x00 and \ufffd and \x7f\x9f",
    "naïve café CAFÉ Ångström Å İstanbul ıI ß ẞ ﬁﬂ ſ Ǆ ΟΔΟΣ ς",
    "e\u0301 a\u0308\u0301 \u0301alone n\u0303\u0303\u0303",
    "你好，世界。こんにちは 안녕하세요 ภาษาไทย हिन्दी العربية עברית",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇬🇭 👍🏽 ☺️",
    'it\'s 3.14% of $5,000.00 -- "quoted" (x_y) #tag @you a/b\\c `d` ~^|<>{}[]=+*&',
    "http://example.org/a?b=c&d=e#f user@example.org 1e-5 0x1F",
    "[CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <unk> <mask> [CLS][SEP] x[MASK]y [mask]",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101 + " " + "w" * 250,
    "in-between—dashes–and…ellipses‘single’“double”«guillemets»",
)


class Encoding(NamedTuple):
    """Ids of several texts end to end, int32 ``(tokens,)``, and how many each has, int64 ``(texts,)``."""

    ids: np.ndarray
    lengths: np.ndarray


class Sample(NamedTuple):
    """Texts, and the digest of the ids that ``tokenizers`` gives them."""

    texts: list[str]
    digest: str


class FastTokenizer:
    """nanotoken with the content of one ``tokenizer.json``, for single texts.

    Args:
        content: of ``tokenizer.json``, without truncation and padding.
        max_length: tokens of a text, special tokens included; None for no limit.
        side: on which side longer texts are cut.

    Raises:
        ModuleNotFoundError: if nanotoken is not installed.
        ValueError: if this is not a tokenizer that it knows, such as one of byte pairs.
    """

    def __init__(self, content: str, *, max_length: int | None, side: Literal["left", "right"]) -> None:
        nanotoken = importlib.import_module("nanotoken")
        self._cut: dict[str, Any] = {"max_length": max_length, "truncation_side": side}
        try:
            self._tokenizer = nanotoken.Tokenizer.from_json(content)
        except nanotoken.UnsupportedTokenizerError as error:
            raise ValueError(str(error)) from error

    def encode(self, texts: Sequence[str], *, whole: bool = False) -> Encoding:
        """Ids with the special tokens.

        Args:
            whole: whether nothing is cut.
        """
        # the switch of `tokenizers` is that of nanotoken, too: one thread for one is one thread for both
        alone = os.environ.get("TOKENIZERS_PARALLELISM", "").lower() in _OFF
        found = self._tokenizer.encode_batch(texts, parallel=False if alone else None, **({} if whole else self._cut))
        return Encoding(found.ids.astype(np.int32), np.diff(found.offsets))


def can_be_fast(content: str) -> bool:
    """Whether nanotoken is installed and knows a tokenizer."""
    try:
        FastTokenizer(content, max_length=None, side="right")
    except (ModuleNotFoundError, ValueError):
        return False
    return True


def sample_texts(tokenizer: Tokenizer) -> list[str]:
    """The texts on which nanotoken is compared with a tokenizer: its vocabulary, all blocks of Unicode, odd strings."""
    words, pieces = list[str](), list[str]()
    for token in sorted(tokenizer.get_vocab(with_added_tokens=False)):
        (pieces if token.startswith("##") else words).append(token)
    words += [f"a{piece.removeprefix('##')}" for piece in pieces]
    characters = [chr(code) for code in _PLANES]
    words += [form for one in characters for form in (one, f"a{one}b")]
    return [*_ODD, *(" ".join(words[i : i + _WORDS_A_TEXT]) for i in range(0, len(words), _WORDS_A_TEXT))]


def digest(*encodings: Encoding) -> str:
    """SHA-256, in hex, of ids and lengths."""
    found = hashlib.sha256()
    for encoding in encodings:
        found.update(encoding.lengths.astype("<i8").tobytes())
        found.update(encoding.ids.astype("<i4").tobytes())
    return found.hexdigest()


def checked_fast_tokenizer(
    content: str,
    sample: Callable[[], Sample],
    *,
    max_length: int | None,
    side: Literal["left", "right"],
) -> FastTokenizer | None:
    """nanotoken, if it is installed, knows this tokenizer, and gives the ids of the sample; else None.

    A difference is said on standard error: nobody should wonder why encoding is slow.

    Args:
        sample: its digest is that of the ids of ``tokenizers``, whole and cut, in this order. It is only made if
            nanotoken knows this tokenizer.
    """
    try:
        fast = FastTokenizer(content, max_length=max_length, side=side)
    except (ModuleNotFoundError, ValueError):
        return None
    known = sample()
    if digest(fast.encode(known.texts, whole=True), fast.encode(known.texts)) == known.digest:
        return fast
    say("  nanotoken gives other ids than tokenizers for this tokenizer, so it is not used: encoding is slower.")
    return None
