"""A checksum at the end of a file: written with the content, verified whenever the file is opened.

Disks, memory and interrupted copies change bytes, and a changed byte in an array is silently another number. Every file
of the cache and every checkpoint therefore ends with a mark and the CRC-32 of all before it. CRC-32 finds any change
within 32 neighbouring bits for certain, and others with a probability of 1 - 2^-32; it is the fastest sum in Python's
standard library that does. The formats used here (zip, npy, plain arrays, Arrow by its length) ignore what follows the
content.

A model folder has the checksums of its files beside them, in checksums.json, because other libraries read these files.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from understudy.terminal.lines import say

_MARK = b"understudy crc32"
_END = len(_MARK) + 4
_AT_ONCE = 1 << 18
CHECKSUMS = "checksums.json"
"""The file of a folder that holds the checksums of the others."""
_EDITED = ("config.json", "adapter_config.json")
"""What people may edit in a model folder, which has one of them: it is not in the list."""


class DamagedFile(ValueError):
    """A file does not hold what was written, or was written without a checksum."""


def checksum(file: BinaryIO, size: int) -> int:
    """The CRC-32 of the next `size` bytes of a file; of fewer if it ends before."""
    found, buffer = 0, memoryview(bytearray(_AT_ONCE))
    while size > 0 and (count := file.readinto(buffer[:size])):  # type: ignore[attr-defined]
        found, size = zlib.crc32(buffer[:count], found), size - count
    return found


def seal(file: BinaryIO) -> None:
    """Add the checksum of the whole content to a file that is open for reading and writing."""
    size = file.seek(0, 2)
    file.seek(0)
    end = _MARK + checksum(file, size).to_bytes(4, "little")
    file.seek(size)  # between reading and writing
    file.write(end)
    file.flush()


def verified(path: Path) -> int:
    """Compare a file with its checksum.

    Returns:
        The length of the content, without the checksum.

    Raises:
        FileNotFoundError, NotADirectoryError: if there is no such file.
        DamagedFile: if it cannot be read, or if its checksum is missing or wrong.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2) - _END
            file.seek(max(size, 0))
            end = file.read()
            if end[: len(_MARK)] != _MARK:
                raise DamagedFile("it has no checksum: its end is lost, or an earlier version wrote it")
            file.seek(0)
            if checksum(file, size).to_bytes(4, "little") != end[len(_MARK) :]:
                raise DamagedFile("its checksum is wrong")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise DamagedFile(f"it cannot be read: {error.strerror}") from error
    return size


def still_sound(path: Path, *, remove: Path | None = None) -> int | None:
    """The length of the content of a cached file; None if there is none, or if it is damaged, which is said.

    Whoever asks then makes the file again. An entry without a checksum is made again too: it cannot be told from one
    that has lost its end.

    Args:
        remove: a file or a folder that is deleted if the file is damaged.
    """
    try:
        return verified(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedFile as error:
        say_damaged(path, str(error))
        if remove is not None:
            shutil.rmtree(remove, ignore_errors=True) if remove.is_dir() else remove.unlink(missing_ok=True)
        return None


def say_damaged(path: Path, reason: str) -> None:
    """Note on standard error that a file is damaged and is made again."""
    say(f"  {path}: is damaged ({reason}). It is made again.")


def list_checksums(folder: Path, *, without: str) -> None:
    """Write the checksums of all files of a folder into its checksums.json, except of one that people may edit."""
    found = {path.name: _of(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != without}
    (folder / CHECKSUMS).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def check_listed(folder: Path, *, weights: bool) -> None:
    """Compare the weights of a folder, or all other files, with its checksums.json, if it has one.

    Raises:
        DamagedFile: with the name of the first file that is not as it was written.
    """
    for name, known in _listed(folder).items():
        if weights != name.endswith(".safetensors"):
            continue
        if not (folder / name).is_file():
            raise DamagedFile(f"{name} was saved there, but is missing")
        if known != _of(folder / name):
            raise DamagedFile(f"{name} is not what was saved: its checksum is wrong")


def saved_files(folder: Path) -> set[str]:
    """The names of the files that a model folder was saved with; none if it has no readable checksums.json."""
    with suppress(DamagedFile):
        if found := _listed(folder):
            edited = next((name for name in _EDITED if (folder / name).is_file()), _EDITED[0])
            return {*found, CHECKSUMS, edited}
    return set()


def checksums_of(folder: Path, names: Iterable[str]) -> bytes:
    """A checksums.json for some files of a folder, as its own has them; empty if it has none of them."""
    known, kept = _listed(folder), set(names)
    found = {name: known[name] for name in known if name in kept}
    return (json.dumps(found, indent=1) + "\n").encode() if found else b""


def _listed(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CHECKSUMS).read_bytes())
    except OSError:
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DamagedFile(f"{CHECKSUMS} cannot be read")
    return found


def _of(path: Path) -> str:
    with open(path, "rb") as file:
        return f"{checksum(file, path.stat().st_size):08x}"
