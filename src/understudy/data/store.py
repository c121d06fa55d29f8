"""Cache entries on disk: written whole or not at all, and clear words when the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from understudy.errors import OutputError

_ABANDONED_AFTER_S = 24 * 3600
"""A temporary entry that nobody has touched for this long was left by a killed run."""


@contextmanager
def new_file(path: Path, *, before_rename: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and synced; a file of that name is replaced.

    Args:
        before_rename: called when everything is on disk and only the name is missing.

    Raises:
        OutputError: if the disk is full or the folder cannot be written.
    """
    with _said_plainly(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        temporary = _temporary(path)
        try:
            with open(temporary, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            before_rename()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name only when it is complete.

    If a folder of that name has appeared meanwhile (another run made the same entry), that one stays and this one is
    thrown away.

    Raises:
        OutputError: if the disk is full or the folder cannot be written.
    """
    with _said_plainly(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            for entry in temporary.iterdir():
                with open(entry, "rb") as file:
                    os.fsync(file.fileno())
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """A name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed runs left in a folder of entries; what another run may still be writing is let be."""
    for entry in folder.glob(".*.tmp"):
        try:
            newest = max(part.stat().st_mtime for part in [entry, *(entry.iterdir() if entry.is_dir() else ())])
            if time.time() - newest > _ABANDONED_AFTER_S:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        except OSError:
            continue  # another process was quicker


@contextmanager
def _said_plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"{folder}: the disk is full. Make room there, or name a cache folder on another disk in the environment variable UNDERSTUDY_CACHE."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise OutputError(
                f"{folder}: cannot be written ({error.strerror}). Name another cache folder in the environment variable UNDERSTUDY_CACHE."
            ) from None
        raise
