"""A tokenizer prepared for encoding: fast, without stored truncation or padding, and with a fingerprint."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Text
from understudy.data.tokens.backend import Backend, EncodedPart, as_string, chunks_of, sequence_ids

_FORMAT = "1"
"""Part of every fingerprint. To be raised when a text is encoded differently, so that old cache entries are not read."""


class TextEncoder:
    """A tokenizer prepared for encoding: it adds special tokens, truncates to `max_length` and never pads.

    With `split`, a text that exceeds `max_length` is not truncated: it continues in further rows, each with its own
    special tokens. Without a `max_length` a text is encoded in full.

    It works on a copy of the tokenizer's fast backend, without the truncation and padding that the tokenizer's own file
    may contain. A tokenizer without a fast backend is called as it is.

    Raises:
        ConfigError: if `max_length` leaves no room for a token beside the special ones.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int | None,
        split: bool = False,
        end_id: int | None = None,
    ) -> None:
        self.max_length = max_length
        self.split = split
        self.end_id = end_id
        """A token that is added after every single text, for tokenizers that add no end."""
        self.pad_id = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.pad_segment = int(tokenizer.pad_token_type_id)
        self.padding_side = tokenizer.padding_side
        self._tokenizer = tokenizer
        copied = _clean_copy(tokenizer)
        self._backend = copied and Backend(
            copied,
            max_length=max_length,
            side=tokenizer.truncation_side,
            split=split,
            spell_special=tokenizer.split_special_tokens,
        )

    @property
    def backend(self) -> Backend | None:
        """The fast backend, which needs no transformers; None for a tokenizer written in Python."""
        return self._backend

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that determines the ids of a text, such as the tokenizer and the maximal length."""
        sides = [self.padding_side, self._tokenizer.truncation_side, self._tokenizer.split_special_tokens]
        settings = json.dumps(
            [_FORMAT, self.max_length, self.pad_id, self.pad_segment, *sides, *["split"] * self.split]
        )
        if self.end_id is not None:
            settings += f" and {self.end_id} at the end"
        content = self._backend.content if self._backend else _describe(self._tokenizer)
        return hashlib.sha256(f"{settings}\n{content}".encode()).hexdigest()

    def one(self, text: Text) -> tuple[list[int], list[int] | None]:
        """The ids and the segments of a single text or pair, on a fast path. Segments are None if all are zero.

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
            part = self._slow_part([text])
            return part.ids.tolist(), None if part.segments is None else part.segments.tolist()
        return self._backend.one(text)

    def parts(self, texts: Iterable[Text]) -> Iterator[EncodedPart]:
        """Encode a few thousand texts at a time, fewer if they are long. The texts must be all single or all pairs."""
        for chunk in chunks_of(texts):
            part = self._backend.part(chunk) if self._backend else self._slow_part(chunk)
            yield part if self.end_id is None else _with_end(part, self.end_id)

    def _slow_part(self, texts: list[Text]) -> EncodedPart:
        if self.split:
            return self._slow_rows_of(texts)
        pairs = [(text,) if isinstance(text, str) else text for text in texts]
        columns = [list(column) for column in zip(*pairs, strict=True)]
        cut = {"truncation": True, "max_length": self.max_length} if self.max_length is not None else {}
        out = self._tokenizer(*columns, **cut, return_token_type_ids=True, verbose=False)
        lengths = np.array([len(ids) for ids in out["input_ids"]], np.int64)
        ids = np.concatenate([np.array(ids, np.int32) for ids in out["input_ids"]])
        types = out["token_type_ids"]
        if len(columns) == 2 and not any(self._tokenizer("a", "a", return_token_type_ids=True)["token_type_ids"]):
            types = (out.encodings and map(sequence_ids, out.encodings)) or self._slow_sequences(columns)
        segments = np.concatenate([np.array(row, np.uint8) for row in types])
        return EncodedPart(ids, lengths, segments)

    def _slow_sequences(self, columns: list[list[str]]) -> list[list[int]]:
        """Which text of a pair each token is in, as :func:`_sequence_ids`, from a tokenizer that does not say it."""
        tokenizer: Any = self._tokenizer
        first, second = (tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] for texts in columns)
        between = tokenizer.build_inputs_with_special_tokens([-1], [-2])  # one token each
        rows = []
        for one, other in zip(first, second):
            over = 0 if self.max_length is None else len(one) + len(other) + len(between) - 2 - self.max_length
            one, other, _ = tokenizer.truncate_sequences(one, other, over, "longest_first")
            tail = len(between) - between.index(-2) - 1 + len(other) if other else 0
            rows.append([0] * (len(one) + len(other) + len(between) - 2 - tail) + [1] * tail)
        return rows

    def _slow_rows_of(self, texts: list[Text]) -> EncodedPart:
        assert self.max_length is not None, "without a limit there is nothing to split at"
        room = self.max_length - self._tokenizer.num_special_tokens_to_add()
        rows: list[list[int]] = []
        for text in map(as_string, texts):
            ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            for start in range(0, max(len(ids), 1), room):
                rows.append(self._tokenizer.build_inputs_with_special_tokens(ids[start : start + room]))
        lengths = np.array([len(row) for row in rows], np.int64)
        return EncodedPart(np.concatenate([np.array(row, np.int32) for row in rows]), lengths, None)


def _with_end(part: EncodedPart, end_id: int) -> EncodedPart:
    """Single texts with one more token after each."""
    ids = np.insert(part.ids, np.cumsum(part.lengths), np.int32(end_id))
    return EncodedPart(ids, part.lengths + 1, None)


def _clean_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """A copy of the tokenizer's fast backend; None if there is no such copy."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return None
    try:
        copy = Tokenizer.from_str(backend.to_str())
    except Exception:  # `tokenizers` raises exactly this class for parts written in Python, which cannot be copied
        return None
    return copy


def _describe(tokenizer: PreTrainedTokenizerBase) -> str:
    """The content of a tokenizer without a fast backend: the code's version, simple attributes, every file as saved.

    A tokenizer that cannot be saved cannot be described. It gets a name of its own, under which nothing is ever found.
    """
    paths = {"name_or_path", *tokenizer.vocab_files_names}
    simple = {key: value for key, value in vars(tokenizer).items() if isinstance(value, str | int | float)}
    code = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__} {transformers.__version__}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}
    except Exception:  # whatever code of its own raises
        return uuid.uuid4().hex
    return json.dumps([code, {key: simple[key] for key in simple.keys() - paths}, files], sort_keys=True)
