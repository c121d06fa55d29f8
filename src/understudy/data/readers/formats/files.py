"""Every format by the ending of its name: what reads it, and what can be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.arrow import ipc_batches, parquet_batches
from understudy.data.readers.formats.delimited import delimited_batches
from understudy.data.readers.formats.dialects import dialect_of
from understudy.data.readers.formats.excel import excel_batches
from understudy.data.readers.formats.json_files import json_batches, jsonl_batches
from understudy.data.readers.formats.parsed import Lines, Opener, Parsed, Unreadable
from understudy.data.readers.formats.reading import AS_WRITTEN, IN_WORDS, Reading
from understudy.data.readers.formats.streams import as_utf8, open_bytes, seekable
from understudy.data.readers.formats.text_lines import fasttext_batches, is_fasttext, plain_batches
from understudy.data.readers.usual_names import seems_a_header

FORMAT_ENDINGS = ".csv, .tsv, .txt, .jsonl, .json, .parquet, .arrow or .xlsx, each also with .gz or in a .zip"
"""For messages."""


@dataclass(frozen=True)
class DataFile:
    """A file, or a member of an archive, and how it is read."""

    path: Traversable
    origin: str
    kind: str
    zipped: bool
    reading: Reading = AS_WRITTEN
    table: bool = False
    """A txt file must hold columns; otherwise each of its lines is a text."""
    part: str | None = None
    """The split in a file of several."""
    longest: int | None = None
    """A line of a txt file with at least so many bytes is cut into several rows. None: lines stay whole."""

    def opened(self) -> BinaryIO:
        """Its bytes, unpacked."""
        return open_bytes(self.path, zipped=self.zipped, origin=self.origin)

    def text(self, parsed: Parsed) -> Opener:
        """Opens it as UTF-8."""
        return as_utf8(self.opened, self.reading.encoding, self.origin, parsed.say)

    def seekable(self) -> BinaryIO:
        """Its bytes, for formats that are read from their end."""
        return seekable(self.path, zipped=self.zipped, origin=self.origin)

    @property
    def takes(self) -> frozenset[str]:
        """The names of what a :class:`Reading` may say of such a file."""
        return FORMATS[self.kind].takes if self.table or self.kind != "txt" else frozenset({"encoding"})

    @property
    def key(self) -> bytes:
        """How it is read, for the cache: with the contents this decides the rows."""
        told = {name: getattr(self.reading, name) for name in sorted(self.takes)}
        return repr((self.kind, self.zipped, self.table, self.part, self.longest, told)).encode()


def parse_file(file: DataFile, faults: Faults) -> Parsed:
    """Prepare to read a file; it is opened when the first batch is asked for."""
    form = FORMATS[file.kind]
    parsed = Parsed(file.origin, faults, unit=form.unit)
    parsed.batches = lambda: form.batches(parsed, file)
    return parsed


def format_of(path: Traversable | Path) -> tuple[str | None, bool]:
    """The format according to the name of a file (None if unknown), and whether the file is gzipped.

    Example:
        >>> format_of(Path("train.csv.gz")), format_of(Path("a.ndjson")), format_of(Path("notes.doc"))
        (('csv', True), ('jsonl', False), (None, False))
    """
    name = path.name.lower()
    zipped = name.endswith(".gz")
    ending = name.removesuffix(".gz").rpartition(".")[2]
    return _ENDINGS.get(ending), zipped


def is_txt(name: str) -> bool:
    """Whether a file is a txt file by its name.

    Example:
        >>> is_txt("pool.txt.gz"), is_txt("pool.csv")
        (True, False)
    """
    return format_of(Path(name))[0] == "txt"


def stem_of(path: Traversable) -> str:
    """The name of a file without the ending of its format.

    Example:
        >>> stem_of(Path("a/train.2.csv.gz"))
        'train.2'
    """
    kind, zipped = format_of(path)
    name = path.name[: -len(".gz")] if zipped else path.name
    return name if kind is None else name.rpartition(".")[0]


class Format(NamedTuple):
    """What reads a format."""

    batches: Callable[[Parsed, DataFile], Iterator[pa.RecordBatch]]
    takes: frozenset[str] = frozenset()
    """The names of what a :class:`Reading` may say of its files."""
    unit: str = "line"


def _delimited(parsed: Parsed, file: DataFile, usual: str | None) -> Iterator[pa.RecordBatch]:
    opener = file.text(parsed)
    dialect = dialect_of(parsed, opener, usual, file.reading)
    if dialect is None:
        return plain_batches(parsed, opener, longest=file.longest)
    return delimited_batches(parsed, opener, dialect, file.reading.columns)


def _txt(parsed: Parsed, file: DataFile) -> Iterator[pa.RecordBatch]:
    opener = file.text(parsed)
    if is_fasttext(opener) and not file.reading.columns and not file.reading.separator:
        return fasttext_batches(parsed, opener)
    if file.table:
        return _delimited(parsed, file, None)
    with opener() as stream:
        first = next(iter(Lines(stream, Parsed(file.origin, Faults()), longest=1 << 12)), "").strip()
    for sign, words in IN_WORDS.items():
        if seems_a_header(first.split(sign)):
            ending = {"\t": "tsv"}.get(sign, "csv")
            raise Unreadable(
                f"{file.origin}, line 1: looks like the header of a table ('{first[:60]}', separated by {words}), but each line of this txt file would be a text. Give the file a name that ends in .{ending} to read its columns, or take this line out."
            )
    return plain_batches(parsed, opener, longest=file.longest)


def _json(parsed: Parsed, file: DataFile) -> Iterator[pa.RecordBatch]:
    return json_batches(parsed, file.text(parsed), part=file.part, columns=file.reading.columns)


def _seeking(batches: Callable[[Parsed, BinaryIO], Iterator[pa.RecordBatch]]) -> Format:
    """A format that is read from its end."""

    def read(parsed: Parsed, file: DataFile) -> Iterator[pa.RecordBatch]:
        with file.seekable() as source:
            yield from batches(parsed, source)

    return Format(read, unit="row")


def _excel(parsed: Parsed, file: DataFile) -> Iterator[pa.RecordBatch]:
    with file.seekable() as source:
        yield from excel_batches(parsed, source, part=file.part, columns=file.reading.columns)


_TEXT, _TABLE = frozenset({"encoding"}), frozenset({"separator", "columns", "encoding"})
FORMATS = {
    "csv": Format(lambda parsed, file: _delimited(parsed, file, ","), _TABLE),
    "tsv": Format(lambda parsed, file: _delimited(parsed, file, "\t"), _TABLE),
    "txt": Format(_txt, _TABLE),
    "jsonl": Format(lambda parsed, file: jsonl_batches(parsed, file.text(parsed)), _TEXT),
    "json": Format(_json, _TEXT | {"columns"}),
    "parquet": _seeking(parquet_batches),
    "arrow": _seeking(ipc_batches),
    "xlsx": Format(_excel, frozenset({"columns"}), unit="row"),
}
_ENDINGS = {**{kind: kind for kind in FORMATS}, "ndjson": "jsonl", "feather": "arrow", "tab": "tsv", "pq": "parquet"}


def with_part(file: DataFile, part: str) -> DataFile:
    """One split of a file of several."""
    return replace(file, part=part)
