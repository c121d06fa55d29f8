"""The fast backend of a tokenizer, prepared for encoding. NumPy and ``tokenizers`` only: the small runtime shares it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from understudy.data.tasks import Text
from understudy.data.tokens.fast import Encoding, FastTokenizer, Sample, checked_fast_tokenizer, digest, sample_texts
from understudy.errors import ConfigError, ModelError

_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 2000, 4_000_000
_WORTH_A_CHECK = 1000
"""After so many texts, checking nanotoken takes less time than it saves with as many again."""
_checked: dict[tuple[str, int | None, str], FastTokenizer | None] = {}
"""Tokenizers that this process has checked."""


class EncodedPart(NamedTuple):
    """The encodings of some texts, end to end: ids ``(tokens,)``, lengths ``(rows,)``, segments ``(tokens,)`` or None."""

    ids: np.ndarray
    lengths: np.ndarray
    segments: np.ndarray | None


class Backend:
    """A tokenizer that adds special tokens, truncates to `max_length` and never pads.

    Many single texts are encoded by nanotoken where it gives the same ids, see :mod:`understudy.data.tokens.fast`.

    Args:
        tokenizer: it becomes this object's own. Truncation and padding that it has stored are switched off.
        max_length: tokens of a row, special tokens included; None for no limit. The longer text of a pair is truncated
            first.
        side: on which side longer texts are cut.
        split: continue a longer text in further rows instead of truncating it.
        spell_special: whether the names of special tokens in a text are read as ordinary text.
        sample: on which nanotoken is compared before it is used; made when it is needed by default.
        fast: whether nanotoken may be used.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_length: int | None,
        side: Literal["left", "right"] = "right",
        split: bool = False,
        spell_special: bool = False,
        sample: Sample | None = None,
        fast: bool = True,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.content = tokenizer.to_str()
        tokenizer.encode_special_tokens = spell_special
        self.max_length, self.side, self.split = max_length, side, split
        self.sample, self.spell_special = sample, spell_special
        self._tokenizer = tokenizer
        self._segment_kinds: dict[int, Literal["types", "sequences", "none"]] = {}
        self._may_be_fast = fast and not split and not spell_special
        self._fast: FastTokenizer | None = None
        self._calls, self._seen = 0, 0

    def one(self, text: Text) -> tuple[list[int], list[int] | None]:
        """The ids and the segments of a single text or pair, on a fast path. Segments are None if all are zero."""
        kind = self._segment_kind(text)
        if kind == "none" and (found := self._quickly([as_string(text)])) is not None:
            return found.ids.tolist(), None
        encoding = self._batch([as_string(text)])[0]
        if kind == "none":
            return encoding.ids, None
        return encoding.ids, encoding.type_ids if kind == "types" else sequence_ids(encoding)

    def places(self, text: Text) -> list[tuple[int, int, int] | None]:
        """For each id of :meth:`one`, which text of a pair it is in and where, in characters; None for special tokens."""
        self._segment_kind(text)
        given = as_string(text)
        encoding = self._tokenizer.encode(*((given,) if isinstance(given, str) else given))
        return [
            None if sequence is None else (sequence, *place)
            for sequence, place in zip(encoding.sequence_ids, encoding.offsets)
        ]

    def part(self, texts: Sequence[Text]) -> EncodedPart:
        """Encode texts, at least one, all single or all pairs."""
        kind = self._segment_kind(texts[0])
        strings = list(map(as_string, texts))
        if kind == "none" and (found := self._quickly(strings)) is not None:
            return EncodedPart(*found, None)
        encodings = self._batch(strings)
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
        return EncodedPart(ids, lengths, flat(map(sequence_ids, encodings), np.uint8))

    def make_sample(self) -> Sample:
        """The texts on which nanotoken is compared with this tokenizer, and the digest of their ids."""
        return self.as_sample(sample_texts(self._tokenizer))

    def as_sample(self, texts: list[str]) -> Sample:
        """Texts and the digest of the ids that ``tokenizers`` gives them, whole and cut."""
        parts = [
            Backend(Tokenizer.from_str(self.content), max_length=length, side=self.side, fast=False).part(texts)
            for length in (None, self.max_length)
        ]
        return Sample(texts, digest(*(Encoding(part.ids, part.lengths) for part in parts)))

    def _quickly(self, texts: list[str]) -> Encoding | None:
        """What nanotoken says, where it is used."""
        fast = self._fast_tokenizer(len(texts))
        try:
            return None if fast is None else fast.encode(texts)
        except UnicodeEncodeError:  # half of a character: `tokenizers` says what it always says
            return None

    def _fast_tokenizer(self, texts: int) -> FastTokenizer | None:
        """nanotoken, from when on it is worth its start: after so many texts or, with a sample, from the second call on."""
        if self._may_be_fast and self._fast is None:
            self._calls, self._seen = self._calls + 1, self._seen + texts
            if self._seen >= _WORTH_A_CHECK or (self.sample is not None and self._calls > 1):
                self._may_be_fast = False
                self._fast = self._checked()
        return self._fast

    def _checked(self) -> FastTokenizer | None:
        limits: dict[str, Any] = {"max_length": self.max_length, "side": self.side}
        if (sample := self.sample) is not None:
            return checked_fast_tokenizer(self.content, lambda: sample, **limits)
        known = (self.content, self.max_length, self.side)
        if known not in _checked:
            _checked[known] = checked_fast_tokenizer(self.content, self.make_sample, **limits)
        return _checked[known]

    def _segment_kind(self, text: Text) -> Literal["types", "sequences", "none"]:
        """Where segments come from: the tokenizer's type ids or, for a pair without any, which text a token is in."""
        arity = 1 if isinstance(text, str) else len(text)
        if arity not in self._segment_kinds:
            special = self._tokenizer.num_special_tokens_to_add(arity == 2)
            if self.max_length is not None:
                if self.max_length <= special:
                    raise ConfigError(
                        f"max_length is {self.max_length}, but the tokenizer alone adds {special} special tokens. Give at least {special + 1}."
                    )
                self._tokenizer.enable_truncation(self.max_length, strategy="longest_first", direction=self.side)
            probe = self._batch(["a" if arity == 1 else ("a", "a")])[0]
            self._segment_kinds[arity] = "types" if any(probe.type_ids) else "sequences" if arity == 2 else "none"
        return self._segment_kinds[arity]

    def _batch(self, texts: list[Any]) -> Any:
        """The encodings of texts or pairs; a ModelError if the vocabulary has gaps."""
        try:
            return self._tokenizer.encode_batch_fast(texts)
        except Exception as error:
            if isinstance(error, TypeError) and (broken := next(filter(_has_half_a_character, texts), None)):
                raise ValueError(
                    f"a text must be Unicode, but one holds half of a character (a lone surrogate): {broken!r:.80}. Decode it as what it is, or leave it out."
                ) from None
            if type(error) is not Exception:  # what the library raises for a vocabulary with gaps
                raise
            raise ModelError(
                f"the tokenizer cannot read a text ({error}): its files are damaged. Copy the model again or train it again."
            ) from error


def _has_half_a_character(text: Any) -> bool:
    """Whether a text, or one of a pair, cannot be written as UTF-8."""
    return any(
        "\ud800" <= character <= "\udfff" for part in ([text] if isinstance(text, str) else text) for character in part
    )


def chunks_of(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Texts in lists of a few thousand, or fewer if they are long."""
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


def as_string(text: Text) -> Any:
    """A single text as a string, as tokenizers expect it; a pair as it is."""
    return text[0] if isinstance(text, tuple) and len(text) == 1 else text


def sequence_ids(encoding: Any) -> list[int]:
    """0 before the first token of the second text, 1 from that token on."""
    sequence = encoding.sequence_ids
    first = sequence.index(1) if 1 in sequence else len(sequence)
    return [0] * first + [1] * (len(sequence) - first)
