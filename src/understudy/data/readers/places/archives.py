"""Zip archives: a folder in a file, or a file in one."""

from __future__ import annotations

import zipfile
from importlib.resources.abc import Traversable
from pathlib import Path

from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.files import FORMAT_ENDINGS, format_of

_MOST_MEMBERS = 1_000_000


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive by its name.

    Example:
        >>> is_archive(Path("reviews.csv.zip")), is_archive(Path("reviews.csv.gz"))
        (True, False)
    """
    return path.name.lower().endswith(".zip")


def entries(folder: Traversable) -> list[Traversable]:
    """What lies in a folder or an archive, sorted by name, without what no one put there on purpose."""
    found = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    return sorted(found, key=lambda entry: entry.name)


def unpacked(path: Path, origin: str, faults: Faults) -> tuple[Traversable, str] | None:
    """What is in an archive and what to call it: its only file, or a folder. None, and a fault, if nothing can be read.

    Folders that hold a single folder and nothing else are passed through.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        faults.add(f"{origin}: not a zip archive, or a damaged one ({error}). Copy it or compress it again.")
        return None
    names = archive.infolist()
    if len(names) > _MOST_MEMBERS or any(name.flag_bits & 1 for name in names):
        why = "needs a password" if len(names) <= _MOST_MEMBERS else f"holds more than {_MOST_MEMBERS:,} files"
        faults.add(f"{origin}: the archive {why}. Unpack it, and name the file or the folder.")
        return None
    place: Traversable = zipfile.Path(archive)
    base = origin
    while True:
        inside = entries(place)
        data = [entry for entry in inside if entry.is_file() and format_of(entry)[0] is not None]
        if len(inside) == 1 and inside[0].is_dir():
            place, base = inside[0], f"{base}/{inside[0].name}"
            continue
        if len(data) == 1 and not any(entry.is_dir() for entry in inside):
            return data[0], f"{base}/{data[0].name}"
        if not inside:
            faults.add(f"{origin}: an empty archive. Put a file in one of these formats into it: {FORMAT_ENDINGS}.")
            return None
        return place, base
