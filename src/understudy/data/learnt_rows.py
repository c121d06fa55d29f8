"""Which labelled rows a model learnt from, as a file of its run: hashes of their texts, never the texts."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy import atomic, checksums
from understudy.folders.contents import LEARNT_ROWS

MOST = 1 << 18
"""Hashes in a file at most: 2 MB of eight bytes each."""


@dataclass(frozen=True)
class LearntRows:
    """Sorted hashes of the texts that a model learnt from.

    A hash is the first eight bytes of a row's key (:meth:`understudy.data.texts.Texts.keys`). Of more than :data:`MOST`
    distinct texts the smallest hashes are kept: an even sample of the texts, which is the same in whatever order they come.

    Attributes:
        hashes: sorted, each once, uint64 ``(kept,)``.
        below: all hashes up to this one are there; the largest possible number if none was left out.
    """

    hashes: np.ndarray
    below: int = 2**64 - 1

    @classmethod
    def of(cls, keys: np.ndarray, *, most: int = MOST) -> LearntRows:
        """Those of rows with these keys.

        Args:
            keys: ``(rows,)`` of dtype ``S16``.
            most: hashes that are kept.

        Example:
            >>> LearntRows.of(np.array([b"a" * 16, b"b" * 16, b"a" * 16])).hashes.size
            2
        """
        return cls(_hashes(keys))._cut(most)

    @classmethod
    def united(cls, several: Iterable[LearntRows], *, most: int = MOST) -> LearntRows:
        """All rows that any of several learnt from, as far as each of them knows."""
        known = list(several)
        below = min(one.below for one in known)
        hashes = np.unique(np.concatenate([one.hashes for one in known]))
        return cls(hashes[hashes <= np.uint64(below)], below)._cut(most)

    def _cut(self, most: int) -> LearntRows:
        if len(self.hashes) <= most:
            return self
        return LearntRows(self.hashes[:most], int(self.hashes[most - 1]))

    def among(self, keys: np.ndarray) -> tuple[int, bool]:
        """How many of some rows it learnt from, and whether that is exact; otherwise it is what the sample suggests.

        Args:
            keys: ``(rows,)`` of dtype ``S16``.

        Example:
            >>> LearntRows.of(np.array([b"a" * 16, b"b" * 16])).among(np.array([b"b" * 16, b"c" * 16]))
            (1, True)
        """
        hashes = _as_numbers(keys)
        asked = hashes[hashes <= np.uint64(self.below)]
        found = int(np.isin(asked, self.hashes).sum())
        exact = self.below == 2**64 - 1
        return found if exact or not len(asked) else round(found * len(hashes) / len(asked)), exact

    def save(self, folder: Path) -> None:
        """Write the file of a run, with a checksum, whole or not at all."""
        content = io.BytesIO()
        content.write(self.below.to_bytes(8, "little"))
        content.write(self.hashes.astype("<u8").tobytes())
        checksums.seal(content)
        atomic.write_bytes(folder / LEARNT_ROWS, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> LearntRows:
        """Read a file back.

        Raises:
            FileNotFoundError, NotADirectoryError: if there is none.
            DamagedFile: if it is not what was written.
        """
        size = checksums.verified(path)
        content = path.read_bytes()[:size]
        if size % 8 or not size:
            raise checksums.DamagedFile("it holds no hashes")
        return cls(np.frombuffer(content[8:], "<u8").astype(np.uint64), int.from_bytes(content[:8], "little"))


def _hashes(keys: np.ndarray) -> np.ndarray:
    return np.unique(_as_numbers(keys))


def _as_numbers(keys: np.ndarray) -> np.ndarray:
    """The first eight bytes of each key; numpy drops zeros at the end of ``S16``, but the bytes are there."""
    return np.ascontiguousarray(keys, dtype="S16").view("<u8").reshape(-1, 2)[:, 0].astype(np.uint64)
