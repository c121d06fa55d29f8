"""Files and folders that get their names only when they are complete: whenever the process dies, nothing is half written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from understudy.errors import OutputError

CACHE = "name another cache folder in the environment variable UNDERSTUDY_CACHE"
"""The remedy where a cache cannot be written."""
OUTPUT = "name another --output"
"""The remedy where a run folder cannot be written."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNWRITABLE = {
    errno.EACCES,
    errno.EEXIST,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
_TEMPORARY = re.compile(r"\..+\.understudy-[0-9a-f]{12}\.tmp", re.DOTALL)
"""Names that nobody else gives: whatever has one may be deleted."""
_ABANDONED_AFTER_S = 24 * 3600
"""A temporary entry that is unchanged for this long was left by a killed run."""


@contextmanager
def new_file(path: Path, *, remedy: str, before_rename: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """A file that gets its name only when it is complete and synced. It replaces a file of that name.

    Args:
        remedy: for the message, what to do where the disk is full or the folder cannot be written: :data:`CACHE` or
            :data:`OUTPUT`.
        before_rename: called when everything is on disk and only the name is missing.

    Raises:
        OutputError: if the disk is full or the folder cannot be written.
    """
    with said_plainly(path.parent, remedy=remedy), _temporary(path) as temporary:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        before_rename()
        os.replace(temporary, path)
        _sync(path.parent)


@contextmanager
def new_folder(path: Path, *, remedy: str, replace: bool = False) -> Iterator[Path]:
    """A folder to fill with files, which gets its name only when it is complete and synced.

    Args:
        remedy: as in :func:`new_file`.
        replace: what happens to a folder that has the name already. False: it stays, because another run has made the
            same entry, and the new one is deleted. True: the new one takes its place. (That takes two steps: for a
            moment there is no folder, but never a mixture.)

    Raises:
        OutputError: if the disk is full or the folder cannot be written.
    """
    with said_plainly(path.parent, remedy=remedy), _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        for entry in (*temporary.iterdir(), temporary):
            _sync(entry)
        if replace and path.exists():
            with _temporary(path) as old:
                os.rename(path, old)
                try:
                    os.rename(temporary, path)
                except OSError:
                    os.rename(old, path)
                    raise
        else:
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        _sync(path.parent)


def write_bytes(path: Path, content: bytes | memoryview, *, remedy: str = OUTPUT) -> None:
    """Write a file. At any moment the complete old one or the complete new one is there.

    Raises:
        OutputError: if the disk is full or the folder cannot be written.
    """
    with new_file(path, remedy=remedy) as file:
        file.write(content)


@contextmanager
def said_plainly(folder: Path, *, remedy: str) -> Iterator[None]:
    """Inside, a full disk and a folder that cannot be written raise an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"{folder}: the disk is full ({error.strerror}). Make room there, or {remedy}."
            ) from error
        if error.errno in _UNWRITABLE:
            way = remedy[0].upper() + remedy[1:]
            raise OutputError(f"{folder}: cannot be written ({error.strerror}). {way}.") from error
        raise


def is_temporary(path: Path) -> bool:
    """Whether a file or folder has a temporary name, because it is not complete.

    Example:
        >>> is_temporary(Path("runs/a/.model.understudy-3f09c2d4e5a1.tmp")), is_temporary(Path("a/.notes.3f09.tmp"))
        (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_abandoned(folder: Path, *, untouched_s: float = _ABANDONED_AFTER_S) -> None:
    """Delete what killed runs left in a folder. Younger entries are kept: another run may still be writing them."""
    for entry in filter(is_temporary, folder.glob(".*.tmp")):
        try:
            newest = max(part.stat().st_mtime for part in [entry, *(entry.iterdir() if entry.is_dir() else ())])
            if time.time() - newest >= untouched_s:
                remove(entry)
        except OSError:
            continue  # another process was quicker


def remove_files(folder: Path, names: re.Pattern[str]) -> None:
    """Delete a folder's files of some names, and what killed runs left there; then the folder, if it is empty.

    Whatever else is in it stays, and a link is not followed.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    remove_abandoned(folder, untouched_s=0)
    for path in list(folder.iterdir()):
        if names.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        folder.rmdir()


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` that no other process uses. What still has it at the end is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    # a name may have 255 bytes, and a character four of them
    temporary = path.with_name(f".{path.name[:48]}.understudy-{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
    finally:
        if temporary.is_dir() and not temporary.is_symlink():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
