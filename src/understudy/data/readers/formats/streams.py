"""Files as streams of UTF-8: unzipped with a limit, decoded, and only what is a file at all."""

from __future__ import annotations

import codecs
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile

from understudy.data.readers.formats.parsed import BOM, Opener, Unreadable

MOST_UNPACKED, MOST_TIMES = 256 << 20, 200
"""A compressed file may unpack to so many bytes, or to so many times its own size if that is more."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks; that of UTF-32 begins as one of UTF-16 does. UTF-8's is skipped by who reads the lines."""
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, BadZipFile)
"""What a damaged compressed file raises."""


def open_bytes(path: Traversable, *, zipped: bool, origin: str) -> BinaryIO:
    """A file, or a member of an archive, as a stream of its bytes; a gzip file is unpacked.

    Raises:
        Unreadable: while it is read, if it unpacks to far more than files of text do.
    """
    stream: Any = path.open("rb")
    packed = size_of(path)
    if zipped:
        stream = _Bounded(gzip.GzipFile(fileobj=stream), stream, packed, origin)
    elif not isinstance(path, Path):
        stream = _Bounded(stream, stream, packed, origin)
    else:
        return cast(BinaryIO, stream)
    # The buffer around the unpacked stream makes iterating over its lines fast.
    return cast(BinaryIO, io.BufferedReader(stream, 1 << 17))


def size_of(path: Traversable) -> int:
    """The bytes of a file as it lies on the disk; of a member of an archive, its packed bytes."""
    if isinstance(path, Path):
        return path.stat().st_size
    root: Any = path
    return int(root.root.getinfo(root.at).compress_size)


class _Bounded(io.RawIOBase):
    """An unpacked stream that is refused when it grows far beyond its packed size."""

    def __init__(self, stream: Any, file: Any, packed: int, origin: str) -> None:
        self._stream, self._file, self._origin = stream, file, origin
        self._most = max(MOST_UNPACKED, MOST_TIMES * packed)
        self._seen = 0

    def readable(self) -> bool:
        """It can only be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes; how many.

        Raises:
            Unreadable: if it has grown too far.
        """
        found = self._stream.read(len(buffer))
        self._seen += len(found)
        if self._seen > self._most:
            raise Unreadable(
                f"{self._origin}: unpacks to more than {self._most:,} bytes, over {MOST_TIMES} times its size, as no file of text does. Unpack it yourself, if it is what you want to read."
            )
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close it, and the packed file below it."""
        self._stream.close()
        self._file.close()  # a GzipFile leaves open what it was given
        super().close()


def as_utf8(opener: Opener, encoding: str | None, origin: str, say: Callable[[str], None]) -> Opener:
    """Opens the same file as UTF-8, whatever it is written in.

    Args:
        encoding: what the user says. A byte-order mark says it better, and None is UTF-8.
        say: is told where the mark and the user do not agree, and what the mark says otherwise.

    Raises:
        Unreadable: while it is read, with the line of the first bytes that are not of that encoding.
    """
    with opener() as stream:
        start = stream.read(4)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    marked = "utf-8" if start.startswith(BOM) else marked
    if marked and encoding and codecs.lookup(encoding).name.split("-")[:2] != marked.split("-"):
        say(f"begins with the byte-order mark of {marked.upper()} and is read so, not as {encoding}.")
    elif marked and marked != "utf-8":
        say(f"is read as {marked.upper()}, as its byte-order mark says.")
    codec = marked or encoding
    if codec is None or codecs.lookup(codec).name in ("utf-8", "utf-8-sig", "ascii"):
        return opener

    def opened() -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Recoded(opener(), codec, origin), 1 << 17))

    return opened


class _Recoded(io.RawIOBase):
    """A stream in any encoding as UTF-8."""

    def __init__(self, stream: BinaryIO, codec: str, origin: str) -> None:
        self._stream, self._codec, self._origin = stream, codec, origin
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._ready = b""
        self._line = 1

    def readable(self) -> bool:
        """It can only be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes; how many.

        Raises:
            Unreadable: at bytes that are not of the encoding.
        """
        while not self._ready:
            raw = self._stream.read(1 << 16)
            try:
                text = self._decoder.decode(raw, final=not raw)
            except UnicodeError as error:
                raise self._undecodable(error) from None
            self._line += text.count("\n")
            self._ready = text.encode(errors="surrogatepass")
            if not raw:
                break
        found, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(found)] = found
        return len(found)

    def _undecodable(self, error: UnicodeError) -> Unreadable:
        line, byte = self._line, ""
        if isinstance(error, UnicodeDecodeError):
            line += error.object[: error.start].decode(self._codec, errors="replace").count("\n")
            byte = f" (byte 0x{error.object[error.start]:02x})"
        return Unreadable(
            f"{self._origin}, line {line}: not {self._codec}{byte}. Name the right encoding with --encoding, or save the file as UTF-8."
        )

    def close(self) -> None:
        """Close it, and the stream below it."""
        self._stream.close()
        super().close()


def special(path: Traversable) -> str | None:
    """What a path is that exists and is neither a file nor a folder; None for those.

    A pipe can be read only once, and a device may never end; both are read twice here, to know whether they change.
    """
    if not isinstance(path, Path) or path.is_file() or path.is_dir() or not path.exists():
        return None
    if path.is_fifo():
        return "a pipe"
    return "a socket" if path.is_socket() else "a device"


def seekable(path: Traversable, *, zipped: bool, origin: str) -> BinaryIO:
    """A file for formats that are read from their end: what cannot seek is unpacked into a temporary file first."""
    stream = open_bytes(path, zipped=zipped, origin=origin)
    if isinstance(path, Path) and not zipped:
        return stream
    whole: Any = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with stream:
        shutil.copyfileobj(stream, whole, 1 << 20)
    whole.seek(0)
    return cast(BinaryIO, whole)
