"""The files of the teacher cache: a model's logits by text, so that no text goes through it twice.

A store belongs to one teacher (weights, tokenizer, maximal length). It holds

- ``jobs/<request>-<n>/plan.npz``: the texts of a set that had no answer when the job began, cut into batches. The plan
  fixes the batches, so that an interrupted job continues on the same ones and ends with the same bits;
- ``jobs/<request>-<n>/<batch>-<hash>.npz``: shards, the keys and logits of finished batches. They are only ever added;
- ``jobs/known-<request>/0.npz``: a shard without a plan, of answers that came out of another pass over texts;
- ``sets/<request>.npy``: the logits of a whole set of texts, assembled from the shards of all jobs.

Files get their names when they are complete, so that two runs may label at once; at worst both do the same work. All end
with a checksum: a set that is damaged is assembled again, and the texts of a damaged shard or plan are labelled again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.atomic import CACHE, new_file, new_folder
from understudy.checksums import seal, still_sound
from understudy.failpoints import failpoint

KEY = np.dtype("S16")
"""The hash of a text, as NumPy sorts and searches it quickly."""
_FILL_ROWS = 65536


def sortable(keys: np.ndarray) -> np.ndarray:
    """Hashes of 16 bytes a row, of any type, as :data:`KEY`."""
    return np.ascontiguousarray(keys).view(KEY).reshape(-1)


@dataclass(frozen=True)
class Job:
    """Texts to be labelled, cut into batches that never change."""

    folder: Path
    keys: np.ndarray
    batches: list[np.ndarray]
    """The positions in `keys` of each batch's texts."""

    def missing(self) -> list[int]:
        """The numbers of the batches that are in no shard."""
        done: set[int] = set()
        for shard in _shards(self.folder):
            done.update(shard["batches"].tolist())
        return [number for number in range(len(self.batches)) if number not in done]

    def add(self, logits: Mapping[int, np.ndarray]) -> None:
        """Write finished batches, by their numbers, as one shard."""
        numbers = list(logits)
        keys = np.concatenate([self.keys[self.batches[number]] for number in numbers])
        path = self.folder / f"{numbers[0]:06d}-{hashlib.sha256(keys.tobytes()).hexdigest()[:8]}.npz"
        with new_file(path, remedy=CACHE, before_rename=lambda: failpoint("label.shard")) as file:
            np.savez(
                file, batches=np.asarray(numbers, np.int64), keys=keys, logits=np.concatenate(list(logits.values()))
            )
            seal(file)


class LabelStore:
    """The logits of one teacher."""

    def __init__(self, folder: Path, *, outputs: int) -> None:
        self.folder = folder
        self.outputs = outputs

    def find(self, keys: np.ndarray) -> np.ndarray | None:
        """The logits of a whole set, memory-mapped, if they have been assembled before; else None.

        Args:
            keys: distinct and sorted, as for every method here.
        """
        if not len(keys):
            return np.empty((0, self.outputs), np.float32)
        path = self._set_path(keys)
        if still_sound(path) is None:
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.asarray(found) if found.shape == (len(keys), self.outputs) and found.dtype == np.float32 else None

    def unknown(self, keys: np.ndarray) -> np.ndarray:
        """The positions of the keys that are in no shard."""
        known = np.zeros(len(keys), bool)
        for shard in self._all_shards():
            at, found = places_of(keys, shard["keys"])
            known[at[found]] = True
        return np.flatnonzero(~known)

    def job(self, keys: np.ndarray, number: int) -> Job | None:
        """The `number`-th job of a set, counted from 0, if there is one."""
        folder = self._job_folder(keys, number)
        plan = _arrays(folder / "plan.npz", "keys", "order", "ends", remove=folder)
        if plan is None:
            return None
        return Job(folder, plan["keys"], np.split(plan["order"], plan["ends"][:-1]))

    def start(self, keys: np.ndarray, number: int, new: np.ndarray, batches: Sequence[np.ndarray]) -> Job:
        """Write the plan of a job and return the job. If another run has just written one, that one is used.

        Args:
            new: positions in `keys` of the texts to label.
            batches: positions in `new`.
        """
        folder = self._job_folder(keys, number)
        with new_folder(folder, remedy=CACHE) as temporary:
            ends = np.cumsum([len(batch) for batch in batches])
            with open(temporary / "plan.npz", "x+b") as file:
                np.savez(file, keys=keys[new], order=np.concatenate(batches), ends=ends)
                seal(file)
        job = self.job(keys, number)
        assert job is not None
        return job

    def know(self, keys: np.ndarray, logits: np.ndarray) -> None:
        """Take over logits that were computed elsewhere, of the keys that are in no shard.

        Args:
            logits: ``(keys, outputs)``.
        """
        new = self.unknown(keys)
        if not len(new):
            return
        failpoint("label.shard")
        folder = self.folder / "jobs" / f"known-{_request(keys[new])}"
        with new_folder(folder, remedy=CACHE) as temporary, open(temporary / "0.npz", "x+b") as file:
            np.savez(file, batches=np.zeros(1, np.int64), keys=keys[new], logits=logits[new])
            seal(file)

    def assemble(self, keys: np.ndarray) -> np.ndarray:
        """Assemble the logits of a set and keep them: float32 ``(keys, outputs)``, memory-mapped."""
        with new_file(self._set_path(keys), remedy=CACHE) as file:
            shape = (len(keys), self.outputs)
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            start = file.tell()
            for rows in range(0, len(keys), _FILL_ROWS):
                # written, not only mapped: a full disk must raise an error here, and not kill the process later
                file.write(np.full((min(_FILL_ROWS, len(keys) - rows), self.outputs), np.nan, "<f4").tobytes())
            file.flush()
            mapped = np.memmap(file, "<f4", mode="r+", offset=start, shape=shape)
            self._fill(keys, mapped)
            mapped.flush()
            seal(file)
        found = self.find(keys)
        assert found is not None
        return found

    def gather(self, keys: np.ndarray) -> np.ndarray:
        """The logits of a set that is not complete, in memory; NaN for the texts without an answer."""
        out = np.full((len(keys), self.outputs), np.nan, np.float32)
        self._fill(keys, out)
        return out

    def _fill(self, keys: np.ndarray, out: np.ndarray) -> None:
        for shard in self._all_shards():
            at, found = places_of(keys, shard["keys"])
            out[at[found]] = shard["logits"][found]

    def _all_shards(self) -> Iterator[dict[str, np.ndarray]]:
        for folder in sorted((self.folder / "jobs").glob("*")):
            yield from _shards(folder)

    def _job_folder(self, keys: np.ndarray, number: int) -> Path:
        return self.folder / "jobs" / f"{_request(keys)}-{number}"

    def _set_path(self, keys: np.ndarray) -> Path:
        return self.folder / "sets" / f"{_request(keys)}.npy"


def _request(keys: np.ndarray) -> str:
    """The name of a set of texts."""
    return hashlib.sha256(keys.tobytes()).hexdigest()[:32]


def places_of(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted key belongs in the sorted `keys`, and whether it is there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _shards(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """The contents of a job's shards; a damaged one is removed, and its texts are labelled again."""
    for path in sorted(folder.glob("[0-9]*.npz")):
        content = _arrays(path, "batches", "keys", "logits", remove=path)
        if content is not None:
            yield content


def _arrays(path: Path, *names: str, remove: Path) -> dict[str, np.ndarray] | None:
    """Arrays of an npz file; None if there is no file, or if it is damaged: then that is said, and `remove` is deleted."""
    with suppress(FileNotFoundError):  # another run may remove it too
        if still_sound(path, remove=remove) is not None:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in names}
    return None
