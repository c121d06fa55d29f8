"""From texts to token ids, once: flat arrays that are kept under a fingerprint, and padded batches made of them."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from understudy.atomic import CACHE, new_folder
from understudy.checksums import seal, still_sound
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.data.tokens.encoder import Text, TextEncoder
from understudy.data.tokens.padding import padded_arrays, tokens_at


@dataclass(frozen=True)
class Encoded:
    """The token ids of many texts, end to end in one array.

    ``ids`` is int32 ``(tokens,)``; row i has the ids from ``offsets[i]`` to ``offsets[i + 1]``, int64 ``(rows + 1,)``.
    ``segments`` is uint8 ``(tokens,)``, or None if all are zero.
    """

    ids: np.ndarray
    offsets: np.ndarray
    segments: np.ndarray | None
    pad_id: int
    padding_side: str
    fingerprint: str
    pad_segment: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, special tokens included: int64 ``(rows,)``."""
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        """The token ids of one row, unpadded."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def encode(
    texts: Texts | Sequence[Text],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int | None,
    split: bool = False,
    end_id: int | None = None,
    cache: bool = True,
) -> Encoded:
    """Tokenise texts into flat arrays, or open the arrays that an earlier run made of the same texts.

    Args:
        texts: all single texts or all pairs.
        max_length: the most tokens of a row, special tokens included. The longer text of a pair is truncated first.
            None: no limit.
        split: continue a longer single text in further rows instead of truncating it.
        end_id: a token to add after every single text, for tokenizers that add no end.
        cache: keep the arrays in the cache folder, memory-mapped: memory does not grow with the rows, and the next run
            finds them. An incomplete entry is made again.

    Raises:
        ConfigError: if `max_length` leaves no room beside the special tokens.
        OutputError: if the cache cannot be written.
    """
    encoder = TextEncoder(tokenizer, max_length=max_length, split=split, end_id=end_id)
    if not cache:
        return encode_in_memory(encoder, texts)
    texts = (
        texts if isinstance(texts, Texts) else Texts.of([(text,) if isinstance(text, str) else text for text in texts])
    )
    fingerprint = hashlib.sha256(f"{encoder.fingerprint} {texts.fingerprint}".encode()).hexdigest()
    folder = cache_dir() / "encodings" / fingerprint
    found = _open(folder, fingerprint)
    if found is None:
        shutil.rmtree(folder, ignore_errors=True)
        with new_folder(folder, remedy=CACHE) as temporary:
            _write(temporary, encoder, texts)
        found = _open(folder, fingerprint)
    assert found is not None
    return found


def encode_in_memory(encoder: TextEncoder, texts: Iterable[Text]) -> Encoded:
    """Encode texts, all single or all pairs, into arrays in memory. The fingerprint is empty."""
    parts = list(encoder.parts(texts))
    lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
    segments = [part.segments for part in parts if part.segments is not None]
    return Encoded(
        ids=np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        segments=np.concatenate(segments) if segments else None,
        pad_id=encoder.pad_id,
        padding_side=encoder.padding_side,
        fingerprint="",
        pad_segment=encoder.pad_segment,
    )


def collate(encoded: Encoded, rows: np.ndarray, *, names: Sequence[str]) -> dict[str, Tensor]:
    """Rows as one padded batch: the model's keyword arguments, int64 ``(rows, longest)`` each.

    A row without a token is one token of padding that counts as real: a model that attends to nothing answers anything.

    Args:
        rows: the numbers of the rows, in the order of the batch.
        names: which of ``input_ids``, ``attention_mask`` and ``token_type_ids`` the model takes.

    Raises:
        ValueError: if there is another name.

    Example:
        >>> ids, offsets = np.array([5, 6, 7, 8], np.int32), np.array([0, 3, 4])
        >>> encoded = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
        >>> collate(encoded, np.array([1, 0]), names=["input_ids"])
        {'input_ids': tensor([[8, 0, 0],
                [5, 6, 7]])}
    """
    arrays = padded_arrays(
        *(encoded.ids, encoded.offsets, encoded.segments, rows),
        names=names,
        pad_id=encoded.pad_id,
        pad_segment=encoded.pad_segment,
        side=encoded.padding_side,
    )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def padded_ids(encoded: Encoded) -> Tensor:
    """All rows as one padded batch of token ids: int64 ``(rows, longest)``."""
    return collate(encoded, np.arange(len(encoded)), names=["input_ids"])["input_ids"]


def tokens_of(encoded: Encoded, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the tokens of some rows are, one row after the other.

    Returns:
        Indices into the flat arrays, ``(tokens,)``; places within the row, counted from 0, ``(tokens,)``; and the
        lengths of the rows, ``(rows,)``.

    Example:
        >>> ids, offsets = np.array([5, 6, 7, 8], np.int32), np.array([0, 3, 4])
        >>> encoded = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
        >>> [array.tolist() for array in tokens_of(encoded, np.array([1, 0]))]
        [[3, 0, 1, 2], [0, 0, 1, 2], [1, 3]]
    """
    return tokens_at(encoded.offsets, rows)


def input_names(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The names of a model's inputs: segments only if the model can tell them apart.

    It can if it is one of our students for pairs, or reads the texts of pairs apart. Any other model can if it takes
    segments, has a table with a row for each of them, and its tokenizer sets them. (Type ids that are always zero carry no
    information, a model without a second type would fail on ours, and GPT-2 would read them as words.)
    """
    names = ("input_ids", "attention_mask")
    config = getattr(model, "config", None)
    if getattr(config, "understudy_student", False) or getattr(config, "pair", False):
        return (*names, "token_type_ids") if getattr(config, "pair", False) else names
    taken = (
        "token_type_ids" in tokenizer.model_input_names
        and "token_type_ids" in inspect.signature(model.forward).parameters
    )
    if taken and 0 < max(tokenizer("a", "a", return_token_type_ids=True)["token_type_ids"]) < _segment_rows(model):
        return (*names, "token_type_ids")
    return names


def _segment_rows(model: nn.Module) -> float:
    """The rows of a model's table of segments. XLNet compares segments instead, so it takes any."""
    config: Any = getattr(model, "config", None)
    rows = getattr(getattr(config, "encoder_config", config), "type_vocab_size", None)
    if rows is None and any(name.endswith("seg_embed") for name, _ in model.named_parameters()):
        return math.inf
    return rows if isinstance(rows, int) else 0


def _write(folder: Path, encoder: TextEncoder, texts: Iterable[Text]) -> None:
    """Write a cache entry part by part. Its meta.json, which holds the sizes, comes last."""
    rows = tokens = segment_tokens = 0
    with (
        open(folder / "ids.bin", "x+b") as ids,
        open(folder / "offsets.bin", "x+b") as offsets,
        open(folder / "segments.bin", "x+b") as segments,
        open(folder / "meta.json", "x+b") as about,
    ):
        offsets.write(np.zeros(1, np.int64).tobytes())
        for part in encoder.parts(texts):
            ids.write(part.ids.tobytes())
            offsets.write((tokens + np.cumsum(part.lengths)).astype(np.int64).tobytes())
            rows += len(part.lengths)
            tokens += len(part.ids)
            if part.segments is not None:
                segments.write(part.segments.tobytes())
                segment_tokens += len(part.segments)
        meta = {"rows": rows, "tokens": tokens, "segments": segment_tokens > 0}
        meta |= {"pad_id": encoder.pad_id, "pad_segment": encoder.pad_segment, "padding_side": encoder.padding_side}
        about.write(json.dumps(meta).encode())
        for file in (ids, offsets, segments, about):
            seal(file)


def _open(folder: Path, fingerprint: str) -> Encoded | None:
    """A cache entry, or None if it is missing, damaged (which is said) or does not match its meta.json."""
    size = still_sound(folder / "meta.json")
    if size is None:
        return None
    try:
        meta = json.loads((folder / "meta.json").read_bytes()[:size])
        ids = _mapped(folder / "ids.bin", np.int32, meta["tokens"])
        offsets = _mapped(folder / "offsets.bin", np.int64, meta["rows"] + 1)
        segments = _mapped(folder / "segments.bin", np.uint8, meta["tokens"]) if meta["segments"] else None
        return Encoded(ids, offsets, segments, meta["pad_id"], meta["padding_side"], fingerprint, meta["pad_segment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(path: Path, dtype: type, size: int) -> np.ndarray:
    """A memory-mapped file as a plain ndarray (indexing a memmap is slower)."""
    if still_sound(path) != size * np.dtype(dtype).itemsize:
        raise ValueError(f"{path}: does not hold {size} numbers of type {np.dtype(dtype)}")
    return np.asarray(np.memmap(path, dtype, mode="r", shape=(size,))) if size else np.empty(0, dtype)
