"""A source of rows, whatever it is: what its rows are made of, and what reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.formats.arrow import dataset_batches
from understudy.data.readers.formats.files import FORMAT_ENDINGS, DataFile, format_of, parse_file
from understudy.data.readers.formats.parsed import BATCH_ROWS, Parsed
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.formats.streams import special


class How(NamedTuple):
    """How the files of one role are read."""

    reading: Reading = AS_WRITTEN
    table: bool = False
    """Rows need columns: a txt file is no list of texts then."""
    longest: int | None = None
    """A line of a txt file with at least so many bytes is cut into several rows. None: lines stay whole."""


AS_IT_IS = How()
"""Files whose names and bytes say how they are read."""


@dataclass(frozen=True)
class Source:
    """The rows of one split: of a file, of several that are parts of it, of a folder, of a data set, of a table in Python.

    Args:
        origin: the name that the user gave; messages begin with it.
        content: a digest of all that the rows are made of.
        parse: prepares to read the rows.
        key: how they are read; with the content this is the name in the cache.
        changes: whether the content may change while it is read.
        takes: the names of what a :class:`Reading` may say of it.
        path: the file, if it is one.
        parts: the sources whose rows follow each other, if it is several.
        stored: the name in the cache, where the rows are already there and nowhere else.
    """

    origin: str
    content: Callable[[], bytes]
    parse: Callable[[Faults], Parsed]
    key: bytes
    changes: bool = True
    takes: frozenset[str] = frozenset()
    path: Traversable | None = None
    parts: tuple[Source, ...] = ()
    stored: str | None = None


def file_source(
    path: Traversable, origin: str, faults: Faults, how: How = AS_IT_IS, *, part: str | None = None
) -> Source | None:
    """A file, or a member of an archive; None, and a fault, if it is none that can be read.

    Args:
        part: of a file with several splits, the one that is meant.
    """
    if path.is_dir():
        faults.add(f"{origin}: a folder, but a file is needed. Name the file in it.")
        return None
    if kind := special(path):
        faults.add(
            f"{origin}: {kind}, which cannot be read twice, so nothing would tell whether it changed. Write it to a file first."
        )
        return None
    form, zipped = format_of(path)
    if form is None:
        faults.add(f"{origin}: not a format that can be read. Save it in one of these: {FORMAT_ENDINGS}.")
        return None
    file = DataFile(path, origin, form, zipped, how.reading, how.table, part, how.longest if form == "txt" else None)
    return Source(
        origin, lambda: digest_of(path), lambda found: parse_file(file, found), file.key, True, file.takes, path
    )


def digest_of(path: Traversable) -> bytes:
    """The SHA-256 of a file as it lies on the disk; a member of an archive is told by the bytes of the whole archive."""
    inside: Any = path
    place, member = (path, b"") if isinstance(path, Path) else (Path(inside.root.filename), inside.at.encode())
    with place.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").digest()
    return hashlib.sha256(found + member).digest() if member else found


def joined_source(parts: Sequence[Source], origin: str) -> Source:
    """Several sources whose rows follow each other, called `origin` together."""
    takes = frozenset().union(*(part.takes for part in parts))
    return replace(parts[0], origin=origin, takes=takes, path=None, parts=tuple(parts))


def dataset_source(dataset: Any, origin: str) -> Source:
    """A split of a ``datasets`` data set; class numbers become class names."""

    def content() -> bytes:
        digest = hashlib.sha256(str(dataset.features).encode())
        for table in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
            for batch in table.to_batches():
                digest.update(batch.serialize())
        return digest.digest()

    def parse(faults: Faults) -> Parsed:
        parsed = Parsed(origin, faults, unit="row")
        parsed.batches = lambda: dataset_batches(parsed, dataset)
        return parsed

    return Source(origin, content, parse, b"hub\0" + origin.encode(), changes=False)


def check_use(reading: Reading, sources: Sequence[Source], faults: Faults) -> None:
    """Add a fault for everything that was said of the files and suits none of them."""
    parts = [part for source in sources for part in (source.parts or (source,))]
    for name in reading.given():
        if parts and not any(name in part.takes for part in parts):
            faults.add(
                f"--{name} says how files of text are read, but {quoted([part.origin for part in parts[:3]])} need no such thing. Leave it out."
            )
