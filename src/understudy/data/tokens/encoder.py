"""A tokenizer prepared for encoding: fast, without stored truncation or padding, and with a fingerprint."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from understudy.errors import ConfigError, ModelError

_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 2000, 4_000_000
_FORMAT = "1"
"""Part of every fingerprint. To be raised when a text is encoded differently, so that old cache entries are not read."""

Text = str | tuple[str, ...]


class EncodedPart(NamedTuple):
    """The encodings of some texts, end to end: ids ``(tokens,)``, lengths ``(rows,)``, segments ``(tokens,)`` or None."""

    ids: np.ndarray
    lengths: np.ndarray
    segments: np.ndarray | None


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
        """A token that is added after every single text, for tokenizers that add none."""
        self.pad_id = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.pad_segment = int(tokenizer.pad_token_type_id)
        self.padding_side = tokenizer.padding_side
        self._tokenizer = tokenizer
        self._backend = _clean_copy(tokenizer)
        self._content = self._backend.to_str() if self._backend else None
        if self._backend:
            self._backend.encode_special_tokens = tokenizer.split_special_tokens
        self._segment_kinds: dict[int, Literal["types", "sequences", "none"]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that determines the ids of a text, such as the tokenizer and the maximal length."""
        sides = [self.padding_side, self._tokenizer.truncation_side, self._tokenizer.split_special_tokens]
        settings = json.dumps(
            [_FORMAT, self.max_length, self.pad_id, self.pad_segment, *sides, *["split"] * self.split]
        )
        if self.end_id is not None:
            settings += f" and {self.end_id} at the end"
        content = self._content or _describe(self._tokenizer)
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
        kind = self._segment_kind(text)
        encoding = self._batch([_bare(text)])[0]
        if kind == "none":
            return encoding.ids, None
        return encoding.ids, encoding.type_ids if kind == "types" else _sequence_ids(encoding)

    def parts(self, texts: Iterable[Text]) -> Iterator[EncodedPart]:
        """Encode a few thousand texts at a time, fewer if they are long. The texts must be all single or all pairs."""
        for chunk in _chunks(texts):
            part = self._fast_part(chunk) if self._backend else self._slow_part(chunk)
            yield part if self.end_id is None else _with_end(part, self.end_id)

    def _fast_part(self, texts: list[Text]) -> EncodedPart:
        assert self._backend is not None
        kind = self._segment_kind(texts[0])
        encodings = self._batch(list(map(_bare, texts)))
        if self.split:
            encodings = [piece for encoding in encodings for piece in (encoding, *encoding.overflowing)]
        lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
        tokens = int(lengths.sum())

        def flat(lists: Iterable[list[int]], dtype: type) -> np.ndarray:
            return np.fromiter(itertools.chain.from_iterable(lists), dtype, tokens)

        ids = flat((encoding.ids for encoding in encodings), np.int32)
        if kind == "none":
            return EncodedPart(ids, lengths, None)
        if kind == "types":
            return EncodedPart(ids, lengths, flat((encoding.type_ids for encoding in encodings), np.uint8))
        return EncodedPart(ids, lengths, flat(map(_sequence_ids, encodings), np.uint8))

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
            types = (out.encodings and map(_sequence_ids, out.encodings)) or self._slow_sequences(columns)
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
        for text in map(_bare, texts):
            ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            for start in range(0, max(len(ids), 1), room):
                rows.append(self._tokenizer.build_inputs_with_special_tokens(ids[start : start + room]))
        lengths = np.array([len(row) for row in rows], np.int64)
        return EncodedPart(np.concatenate([np.array(row, np.int32) for row in rows]), lengths, None)

    def _segment_kind(self, text: Text) -> Literal["types", "sequences", "none"]:
        """Where segments come from: the tokenizer's type ids or, for a pair without any, which text a token is in."""
        arity = 1 if isinstance(text, str) else len(text)
        if arity not in self._segment_kinds:
            assert self._backend is not None
            special = self._backend.num_special_tokens_to_add(arity == 2)
            if self.max_length is not None:
                if self.max_length <= special:
                    raise ConfigError(
                        f"max_length is {self.max_length}, but the tokenizer alone adds {special} special tokens. Give at least {special + 1}."
                    )
                self._backend.enable_truncation(
                    self.max_length, strategy="longest_first", direction=self._tokenizer.truncation_side
                )
            probe = self._batch(["a" if arity == 1 else ("a", "a")])[0]
            self._segment_kinds[arity] = "types" if any(probe.type_ids) else "sequences" if arity == 2 else "none"
        return self._segment_kinds[arity]

    def _batch(self, texts: list[Any]) -> Any:
        """The encodings of texts or pairs by the fast backend; a ModelError if its vocabulary has gaps."""
        assert self._backend is not None
        try:
            return self._backend.encode_batch_fast(texts)
        except Exception as error:
            if type(error) is not Exception:  # what the library raises for a vocabulary with gaps
                raise
            raise ModelError(
                f"the tokenizer cannot read a text ({error}): its files are damaged. Copy the model again or train it again."
            ) from error


def _chunks(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Texts in lists of :data:`_TEXTS_AT_ONCE`, or fewer if they reach :data:`_CHARACTERS_AT_ONCE`."""
    chunk: list[Text] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(chunk) == _TEXTS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _with_end(part: EncodedPart, end_id: int) -> EncodedPart:
    """Single texts with one more token after each."""
    ids = np.insert(part.ids, np.cumsum(part.lengths), np.int32(end_id))
    return EncodedPart(ids, part.lengths + 1, None)


def _bare(text: Text) -> Text:
    """A single text as a string, as tokenizers expect it."""
    return text[0] if isinstance(text, tuple) and len(text) == 1 else text


def _sequence_ids(encoding: Any) -> list[int]:
    """0 before the first token of the second text, 1 from that token on."""
    sequence = encoding.sequence_ids
    first = sequence.index(1) if 1 in sequence else len(sequence)
    return [0] * first + [1] * (len(sequence) - first)


def _clean_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer | None:
    """A copy of the tokenizer's fast backend without stored truncation and padding; None if there is no such copy."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return None
    try:
        copy = Tokenizer.from_str(backend.to_str())
    except Exception:  # `tokenizers` raises exactly this class for parts written in Python, which cannot be copied
        return None
    copy.no_truncation()
    copy.no_padding()
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
