"""A pool that is labelled by parts on a Ray cluster: each part is kept until the whole output is written.

A part is named by what its lines depend on: the model and the settings (its folder), and its texts (its file). So whatever was
done before a kill, or before a row of the input changed, is found again. A file ends with a checksum; a damaged one is made
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from understudy.atomic import CACHE, new_file
from understudy.checksums import seal, still_sound
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.errors import OutputError, require
from understudy.failpoints import failpoint
from understudy.runs.cluster.connection import connected
from understudy.runs.cluster.machines import check_machines
from understudy.runs.cluster.parts import answered_parts
from understudy.terminal.lines import say, silence

_BLOCKS = 4
"""Blocks of a part: a thousand texts at the usual size of a block."""
Block = list[tuple[str, ...]]
"""Texts that are given to the model together."""


class PredictedParts:
    """The lines of a pool, part by part.

    Args:
        texts: reads the pool; it is read twice.
        batch: texts of a block. The blocks are those of a prediction without Ray, so that its bytes are the same.
        identity: of everything but the texts that the lines depend on.
        make: makes what returns the lines of some blocks, on another machine.
        threads: of each actor.
    """

    def __init__(
        self,
        texts: Callable[[], Iterator[tuple[str, ...]]],
        *,
        batch: int,
        identity: str,
        make: Callable[[], Callable[[list[Block]], str]],
        threads: int,
    ) -> None:
        self._texts, self._batch, self._make, self._threads = texts, batch, make, threads
        self._folder = cache_dir() / "predictions" / identity[:32]
        self._known: list[tuple[str, int]] = []

    def blocks(self) -> Iterator[tuple[int, str]]:
        """The number of texts and the lines of each part, in their order; what is not known is labelled first.

        Raises:
            UnderstudyError: if the texts cannot be read, the cluster cannot be joined, or a machine lacks the model.
        """
        self._known = [(_key(part), sum(map(len, part))) for part in self._parts()]
        missing = {key for key, _ in self._known if still_sound(self._path(key)) is None}
        if missing:
            self._label(missing)
        for key, count in self._known:
            yield count, self._read(key)

    def remove(self) -> None:
        """Delete the parts: they stand in the output."""
        for key, _ in self._known:
            self._path(key).unlink(missing_ok=True)
        with suppress(OSError):  # another prediction has parts there, or there were no texts
            self._folder.rmdir()

    def _label(self, missing: set[str]) -> None:
        with connected() as cluster:
            check_machines(require("ray", extra="cluster"))
            number = len({key for key, _ in self._known})
            say(f"  labelling on {cluster.line}: {len(missing):,} of {number:,} parts are to be done")
            keys: list[str] = []
            with (
                silence(),  # what there is to say of the input was said
                closing(
                    answered_parts(
                        cluster, self._make, self._missing(missing, keys), threads=self._threads, on_gpus=False
                    )
                ) as done,
            ):
                for part, lines in done:
                    with new_file(self._path(keys[part]), remedy=CACHE) as file:
                        file.write(lines.encode())
                        seal(file)
                    failpoint("predict.part")

    def _missing(self, missing: set[str], keys: list[str]) -> Iterator[tuple[int, list[Block]]]:
        """The parts that are to be done, equal ones once; their keys are added to `keys`."""
        for part in self._parts():
            key = _key(part)
            if key in missing:
                missing.remove(key)
                keys.append(key)
                yield len(keys) - 1, part

    def _parts(self) -> Iterator[list[Block]]:
        texts = self._texts()
        while part := [block for _ in range(_BLOCKS) if (block := list(islice(texts, self._batch)))]:
            yield part

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.lines"

    def _read(self, key: str) -> str:
        size = still_sound(self._path(key))
        if size is None:
            raise OutputError(f"{self._path(key)}: was just written but cannot be read back. Give the command again.")
        with open(self._path(key), "rb") as file:
            return file.read(size).decode()


def _key(part: Iterable[Block]) -> str:
    """A name for the texts of a part."""
    digest = hashlib.sha256()
    for block in part:
        digest.update(Texts.of(block).keys().tobytes())
    return digest.hexdigest()[:32]
