"""What is wrong with data as far as paths and column names tell: found in a moment, before anything else is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from understudy.data.readers.columns import find_labels, find_text
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.files import format_of
from understudy.data.readers.formats.parsed import Unreadable
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.places.hub import HUB_ID, is_saved
from understudy.data.readers.places.locate import locate, locate_file
from understudy.data.readers.places.names import is_held
from understudy.data.readers.places.source import How, Source

_MOST_BYTES = 16 << 20
"""A larger file is not looked into if its format must be read whole to know its columns."""
_MOST_READ = 1 << 19
"""Bytes of data that are read as a whole, for the faults of their rows, before a fault of paths or columns is told."""
_AT_ONCE = ("csv", "parquet", "arrow")
"""Formats that name their columns at their beginning."""


def looks_wrong(
    data: str | None,
    files: dict[str, str | None],
    *,
    unlabeled: str | None = None,
    text: Sequence[str] = (),
    label: Sequence[str] = (),
    labelled: bool = True,
    reading: Reading = AS_WRITTEN,
) -> bool:
    """Whether data is certain to be refused: a file is missing, or has no such columns.

    Hub data sets and what ``save_to_disk`` wrote are taken to be in order, because looking at them takes long. Where data
    takes long to read, what is wrong is told at once; otherwise who asks reads the data, and tells all that is wrong.

    Args:
        data, unlabeled, text, label, reading: as :func:`understudy.data.readers.sources.load_splits` takes them.
        files: the files that were named for single splits.
        labelled: whether the rows need labels.

    Raises:
        DataError: with the faults of paths and columns, if the data takes long to read.
    """
    faults, notes = Faults(), list[str]()
    slow = data is not None and _takes_long(data)
    if slow:
        data = None
    how = How(reading, table=labelled)
    if data is None and files.get("train") is None:
        sources = {split: locate_file(name, faults, how, notes) for split, name in files.items() if name is not None}
    else:
        sources = dict(locate(data, files, faults, notes, pool=unlabeled, how=how))
    pool = None if unlabeled is None else locate_file(unlabeled, faults, How(reading), notes)
    train = sources.get("train")
    names, headed = ((), False) if train is None or faults else _names(train)
    if names and train is not None:
        columns = find_text(names, text, origin=train.origin, faults=faults, label=label, headed=headed)
        taken = [name for entry in columns or () for name in entry]
        if labelled:
            find_labels(names, label, text=taken, origin=train.origin, faults=faults)
        others = [_names(source)[0] for split, source in sources.items() if source is not None and split != "train"]
        if any(found and not set(taken) <= set(found) for found in others):
            return True
    if slow or sum(_bytes(source) for source in (*sources.values(), pool) if source is not None) > _MOST_READ:
        faults.check()
    return bool(faults)


def _bytes(source: Source) -> int:
    """What must be read for all of its rows: more than can be read at once, where that is not known."""
    if source.parts:
        return sum(_bytes(part) for part in source.parts)
    if source.stored is not None:
        return 0
    with suppress(OSError, Unreadable):  # said by who reads the rows
        return _MOST_READ + 1 if source.path is None else _size(source.path)
    return 0


def _size(path: Traversable) -> int:
    """Bytes of a file, or of a member of an archive when it is unpacked."""
    if isinstance(path, Path):
        return path.stat().st_size
    inside: Any = path
    return int(inside.root.getinfo(inside.at).file_size)


def _takes_long(data: str) -> bool:
    path = Path(data).expanduser()
    if path.exists() or is_held(data):
        return path.is_dir() and is_saved(path)
    in_folder = path.parent != Path() and path.parent.is_dir()
    return format_of(path)[0] is None and not in_folder and HUB_ID.fullmatch(data) is not None


def _names(source: Source) -> tuple[tuple[str, ...], bool]:
    """The names of its columns, empty where they are not known at once; and whether its first line names them."""
    path = source.path
    if path is None:
        return (), False
    kind, zipped = format_of(path)
    with suppress(Unreadable, OSError):  # said by who reads the rows
        if _size(path) > _MOST_BYTES and (kind not in _AT_ONCE or zipped):
            return (), False
        parsed = source.parse(Faults())
        with closing(iter(parsed)) as rows:
            if next(rows, None) is not None and not parsed.bare:
                return parsed.names, parsed.headed
    return (), False
