"""A tokenizer made ready for encoding: fast, without state of its own, and with a fingerprint."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from understudy.errors import ConfigError

_TEXTS_AT_ONCE = 2000
_FORMAT = "1"
"""Part of every fingerprint: a change of what is made of a text makes new cache entries instead of misread old ones."""

Text = str | tuple[str, ...]


class Piece(NamedTuple):
    """The encodings of some texts, end to end."""

    ids: np.ndarray
    lengths: np.ndarray
    segments: np.ndarray | None


class TextEncoder:
    """A tokenizer made ready for encoding: special tokens on, truncated to `max_length`, never padded.

    It works on a copy of the fast tokenizer underneath, without the truncation and padding that the tokenizer's own
    file may carry; a tokenizer that has no fast one underneath is called as it is.

    Raises:
        ConfigError: if `max_length` leaves no room for a token beside the special ones.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        self.max_length = max_length
        self.pad_id = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.pad_segment = int(tokenizer.pad_token_type_id)
        self.padding_side = tokenizer.padding_side
        self._tokenizer = tokenizer
        self._backend = _clean_copy(tokenizer)
        self._content = self._backend.to_str() if self._backend else _describe(tokenizer)
        if self._backend:
            self._backend.encode_special_tokens = tokenizer.split_special_tokens
        self._segment_kinds: dict[int, Literal["types", "sequences", "none"]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides which ids a text gets: the tokenizer's content and the maximal length."""
        sides = [self.padding_side, self._tokenizer.truncation_side, self._tokenizer.split_special_tokens]
        settings = json.dumps([_FORMAT, self.max_length, self.pad_id, self.pad_segment, *sides])
        return hashlib.sha256(f"{settings}\n{self._content}".encode()).hexdigest()

    def one(self, text: Text) -> tuple[list[int], list[int] | None]:
        """The ids of a single text or pair and its segments, None where they are all zero. The fast path.

        Example:
            >>> from tokenizers import Tokenizer, models, pre_tokenizers
            >>> from transformers import PreTrainedTokenizerFast
            >>> words = Tokenizer(models.WordLevel({"[UNK]": 0, "good": 1, "film": 2}, unk_token="[UNK]"))
            >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
            >>> encoder = TextEncoder(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"), max_length=3)
            >>> encoder.one("good dull film film")
            ([1, 0, 2], None)
        """
        if self._backend is None:
            piece = self._slow_piece([text])
            return piece.ids.tolist(), None if piece.segments is None else piece.segments.tolist()
        kind = self._segment_kind(text)
        encoding = self._backend.encode_batch_fast([_bare(text)])[0]
        if kind == "none":
            return encoding.ids, None
        return encoding.ids, encoding.type_ids if kind == "types" else _sequence_ids(encoding)

    def pieces(self, texts: Iterable[Text]) -> Iterator[Piece]:
        """Encode a few thousand texts at a time. The texts must be all single or all pairs."""
        rows = iter(texts)
        while chunk := list(itertools.islice(rows, _TEXTS_AT_ONCE)):
            yield self._fast_piece(chunk) if self._backend else self._slow_piece(chunk)

    def _fast_piece(self, texts: list[Text]) -> Piece:
        assert self._backend is not None
        kind = self._segment_kind(texts[0])
        encodings = self._backend.encode_batch_fast(list(map(_bare, texts)))
        lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
        tokens = int(lengths.sum())

        def flat(lists: Iterable[list[int]], dtype: type) -> np.ndarray:
            return np.fromiter(itertools.chain.from_iterable(lists), dtype, tokens)

        ids = flat((encoding.ids for encoding in encodings), np.int32)
        if kind == "none":
            return Piece(ids, lengths, None)
        if kind == "types":
            return Piece(ids, lengths, flat((encoding.type_ids for encoding in encodings), np.uint8))
        return Piece(ids, lengths, flat(map(_sequence_ids, encodings), np.uint8))

    def _slow_piece(self, texts: list[Text]) -> Piece:
        pairs = [(text,) if isinstance(text, str) else text for text in texts]
        columns = [list(column) for column in zip(*pairs, strict=True)]
        out = self._tokenizer(
            *columns, truncation=True, max_length=self.max_length, return_token_type_ids=True, verbose=False
        )
        lengths = np.array([len(ids) for ids in out["input_ids"]], np.int64)
        ids = np.concatenate([np.array(ids, np.int32) for ids in out["input_ids"]])
        segments = np.concatenate([np.array(types, np.uint8) for types in out["token_type_ids"]])
        return Piece(ids, lengths, segments)

    def _segment_kind(self, text: Text) -> Literal["types", "sequences", "none"]:
        """Where segments come from: the tokenizer's type ids, or for a pair without them the place in the pair."""
        arity = 1 if isinstance(text, str) else len(text)
        if arity not in self._segment_kinds:
            assert self._backend is not None
            special = self._backend.num_special_tokens_to_add(arity == 2)
            if self.max_length <= special:
                raise ConfigError(
                    f"max_length is {self.max_length}, but the tokenizer alone adds {special} special tokens. Give at least {special + 1}."
                )
            self._backend.enable_truncation(
                self.max_length, strategy="longest_first", direction=self._tokenizer.truncation_side
            )
            probe = self._backend.encode_batch_fast(["a" if arity == 1 else ("a", "a")])[0]
            self._segment_kinds[arity] = "types" if any(probe.type_ids) else "sequences" if arity == 2 else "none"
        return self._segment_kinds[arity]


def _bare(text: Text) -> Text:
    """A single text as a string, which is how tokenizers take it."""
    return text[0] if isinstance(text, tuple) and len(text) == 1 else text


def _sequence_ids(encoding: Any) -> list[int]:
    """0 up to the first token of the second text, 1 from there on."""
    sequence = encoding.sequence_ids
    first = sequence.index(1) if 1 in sequence else len(sequence)
    return [0] * first + [1] * (len(sequence) - first)


def _clean_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """The fast tokenizer underneath, copied and without stored truncation and padding; None if that cannot be had."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return None
    try:
        copy = Tokenizer.from_str(backend.to_str())
    except Exception:  # tokenizers raises this very class for parts written in Python, which cannot be copied
        return None
    copy.no_truncation()
    copy.no_padding()
    return copy


def _describe(tokenizer: PreTrainedTokenizerBase) -> str:
    """The content of a tokenizer without a fast one: its class, settings and vocabulary."""
    return json.dumps(
        [type(tokenizer).__qualname__, tokenizer.init_kwargs, tokenizer.get_vocab()], sort_keys=True, default=str
    )
