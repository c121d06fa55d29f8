"""One writer a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from understudy.errors import OutputError


class Lock:
    """The right to write into a folder. One process has it at a time, and it goes when the process does.

    The lock is on the folder itself, so that it leaves no file behind. A file system without locks gives it to everyone.

    Args:
        folder: where it is about to write.
        shared: have it together with others that share it.
        waits: until no other process has it.

    Raises:
        OutputError: if another process has it.
    """

    def __init__(self, folder: Path, *, shared: bool = False, waits: bool = False) -> None:
        self._descriptor: int | None = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(
                self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB)
            )
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                self.release()
                raise OutputError(
                    f"{folder}: another process is writing this run. Wait until it ends, or name another --output."
                ) from None

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others write."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
