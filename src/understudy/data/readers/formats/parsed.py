"""What every format is parsed into: Arrow record batches of strings, with the line number of every row and fault."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.arrow_columns import number_column
from understudy.data.readers.faults import Faults, place_of
from understudy.errors import shortened

BATCH_ROWS, BATCH_BYTES = 16_384, 8 << 20
"""A record batch ends after so many rows, or so many bytes of input."""
BOM = b"\xef\xbb\xbf"

NAME_THE_COLUMNS = "put a line with the names of the columns above it, or name them in order with --columns"
"""The way out where a file has no header."""

Opener = Callable[[], BinaryIO]
"""Opens a file as a stream of (unzipped) bytes; called twice for formats that are read twice."""


class Unreadable(Exception):
    """The whole file cannot be read. The message is ready for the user."""


class Parsed:
    """Record batches of one source: its columns as ``large_string``, then a column of line numbers.

    Some things are known only after the last batch, such as columns with lists and blank lines: see :meth:`about`.
    """

    def __init__(self, origin: str, faults: Faults, *, unit: str = "line") -> None:
        self.origin = origin
        self.faults = faults
        self.unit = unit
        self.bare = False
        """Whether the rows are lines of text without columns, so that nothing can be a label."""
        self.headed = False
        """Whether the first line of the file names the columns."""
        self.said: list[str] = []
        """What was understood without being told: the ends of sentences that begin with the origin."""
        self.names: tuple[str, ...] = ()
        self.lists: set[str] = set()
        self.objects: set[str] = set()
        """Columns with objects; like lists, they are no text."""
        self.named: set[str] = set()
        """Columns whose values are class names from the schema."""
        self.blank = 0
        self.long = 0
        """The number of lines that were cut because they are too long."""
        self.joined = 0
        """The number of lines that quote marks would join to others, were they not plain text."""
        self.batches: Callable[[], Iterator[pa.RecordBatch]] = lambda: iter(())

    def __iter__(self) -> Generator[pa.RecordBatch]:
        try:
            yield from self.batches()
        except (EOFError, gzip.BadGzipFile, zlib.error, BadZipFile) as error:
            kind = "zip" if isinstance(error, BadZipFile) else "gzip"
            raise Unreadable(
                f"{self.origin}: the {kind} file is damaged or cut short ({error}). Copy it or compress it again."
            ) from error

    def where(self, number: int) -> str:
        """The place of a row or a line, for messages."""
        return place_of(self.origin, self.unit, number)

    def say(self, what: str) -> None:
        """Keep what was understood, once."""
        if what not in self.said:
            self.said.append(what)

    def about(self) -> dict[str, Any]:
        """What belongs to the table besides its rows, for JSON."""
        sets = {"lists": self.lists, "objects": self.objects, "named": self.named}
        columns = {name: sorted(found) for name, found in sets.items()}
        lines = {"blank": self.blank, "long": self.long, "joined": self.joined}
        return {**columns, **lines, "unit": self.unit, "bare": self.bare, "headed": self.headed, "said": self.said}

    def set_names(self, names: list[str], line: int) -> bool:
        """Set the column names; False, with a fault, if two are equal."""
        place = self.origin if self.unit == "position" else self.where(line)
        named = [name.strip() or f"unnamed {i}" for i, name in enumerate(names, 1)]
        if broken := [name for name in named if re.search("[\0\ud800-\udfff]", name)]:
            self.faults.add(
                f"{place}: the name of column {shortened(broken[0])} holds half a character or a NUL byte. Rename it; if the file is full of them, name its encoding with --encoding, such as utf-16-le."
            )
            return False
        way = "Rename one of them"
        way += f"; if this line is a row of data, {NAME_THE_COLUMNS}" * self.headed
        for name in sorted(name for name, times in Counter(named).items() if times > 1):
            self.faults.add(f"{place}: two columns are called '{name}'. {way}.")
        self.names = tuple(named)
        return len(set(named)) == len(named)

    def batch(self, columns: list[pa.Array], lines: list[int] | range) -> pa.RecordBatch:
        """Make a record batch. A NUL byte in a cell is a fault: no text contains one."""
        for name, column in zip(self.names, columns):
            bad = pc.match_substring(column, "\0")  # null is not true
            if pc.any(bad).as_py():
                rows = pc.indices_nonzero(bad).to_pylist()
                self.faults.rows(
                    self.origin,
                    "with a NUL byte",
                    rows,
                    lambda row, name=name: (
                        f"{self.where(lines[row])}: a NUL byte in column '{name}'. Remove it; if the file is full of them, save it as UTF-8, or name its encoding with --encoding, such as utf-16-le."
                    ),  # type: ignore[misc]
                )
        fields = [(name, pa.large_string()) for name in self.names] + [("", pa.int64())]
        return pa.RecordBatch.from_arrays([*columns, number_column(lines)], schema=pa.schema(fields))


class Lines:
    """The lines of a stream as strings, with their line ends. Bytes are counted, and what is not UTF-8 is a fault.

    Args:
        longest: a line with at least so many bytes comes in pieces of at most so many, so that memory does not grow
            with the line. It is cut before a space if there is one. None: lines stay whole.
        remedy: what to do about bytes that are not UTF-8.
    """

    def __init__(
        self,
        stream: BinaryIO,
        parsed: Parsed,
        *,
        longest: int | None = None,
        remedy: str = "Save the file as UTF-8, or name its encoding with --encoding, such as cp1252.",
    ) -> None:
        self.bytes = 0
        self.number = 0
        """The number of the last line, counted from 1."""
        self._stream = stream
        self._parsed = parsed
        self._longest = longest
        self._remedy = remedy

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        if self._longest is None:
            yield from enumerate(self._stream, 1)
            return
        number, rest = 1, b""
        while raw := rest + self._stream.readline(self._longest - len(rest)):
            rest = b""
            if len(raw) < self._longest or raw.endswith(b"\n"):
                yield number, raw
                number += 1
                continue
            at = raw.rfind(b" ")
            if at <= 0:  # no space: cut between two characters
                at = len(raw) - 1
                while at > 1 and raw[at] & 0xC0 == 0x80:
                    at -= 1
            self._parsed.long += number != self.number
            yield number, raw[:at]
            rest = raw[at:]

    def __iter__(self) -> Iterator[str]:
        first = True
        for number, raw in self._numbered():
            self.number = number
            self.bytes += len(raw)
            if first:
                raw, first = raw.removeprefix(BOM), False
            try:
                line = raw.decode()
            except UnicodeDecodeError as error:
                origin = self._parsed.origin
                self._parsed.faults.row(
                    origin,
                    "that are not UTF-8",
                    f"{origin}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line). {self._remedy}",
                )
                line = raw.decode(errors="replace")
            yield line
