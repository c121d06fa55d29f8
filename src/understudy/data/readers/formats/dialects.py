"""How a delimited file is written: the sign between its columns, and whether it quotes fields. Found out, or refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from understudy.data.readers.formats.parsed import BOM, Opener, Parsed, Unreadable
from understudy.data.readers.formats.reading import IN_WORDS, Reading, as_flag

_SAMPLE, _RECORDS = 1 << 20, 500
"""So many bytes and so many rows of a file say what separates its columns."""
_MOST = 0.9
"""So many of the rows must be as wide as the header, if a sign separates the columns."""


class Dialect(NamedTuple):
    """How a delimited file is written."""

    separator: str
    quoting: Any
    """Of the ``csv`` module."""


def dialect_of(parsed: Parsed, opener: Opener, usual: str | None, reading: Reading) -> Dialect | None:
    """How a file is written, from what the user says and from its rows; what was found out is said.

    Args:
        parsed: is told what was found out.
        usual: the separator that the name of the file promises; None if a line may also be a text as it is.

    Returns:
        The dialect; None if `usual` is None and nothing separates columns.

    Raises:
        Unreadable: if two separators fit.
    """
    separator = reading.separator or _separator(parsed, opener, usual, reading.columns)
    if separator != "\t" or separator is None:
        return None if separator is None else Dialect(separator, csv.QUOTE_MINIMAL)
    with opener() as stream:
        quoted, joined = is_quoted(stream, len(reading.columns))
    parsed.joined = 0 if quoted else joined
    return Dialect(separator, csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _separator(parsed: Parsed, opener: Opener, usual: str | None, columns: Sequence[str]) -> str | None:
    with opener() as stream:
        raw = stream.read(_SAMPLE)
    sample = raw.removeprefix(BOM).decode(errors="replace")
    whole = len(raw) < _SAMPLE
    shares = {sign: _share(sample, sign, whole=whole, width=len(columns)) for sign in IN_WORDS}
    fitting = [sign for sign, (share, _) in shares.items() if share >= _MOST]
    if fitting == [usual] or not sample.strip():
        return usual
    if len(fitting) > 1:
        ways = " or ".join(f"--separator {as_flag(sign)}" for sign in fitting)
        signs = " and ".join(IN_WORDS[sign] for sign in fitting)
        raise Unreadable(f"{parsed.origin}: {signs} both divide its rows into columns. Say which of them does: {ways}.")
    if not fitting:
        header = [sign for sign, (_, fields) in shares.items() if fields > 1]
        if usual is None or not header or usual in header or columns:
            return usual
        names = _fields(sample, header[0])
        raise Unreadable(
            f"{parsed.origin}, line 1: {IN_WORDS[header[0]]} separate {len(names)} names ({', '.join(names[:5])}), but not the fields of the rows below. Correct the rows and give --separator {as_flag(header[0])}; if it is the name of a single column, give --separator {as_flag(usual)}."
        )
    parsed.say(f"the columns are separated by {IN_WORDS[fitting[0]]}: {', '.join(_fields(sample, fitting[0])[:8])}.")
    return fitting[0]


def _share(sample: str, sign: str, *, whole: bool, width: int) -> tuple[float, int]:
    """Which share of the rows below the first is as wide as it, and its width; 0 if it is one column.

    Args:
        whole: the sample is the whole file; otherwise its last row may be cut.
        width: the width of all rows if it is known, else 0.
    """
    best = (0.0, 0)
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        rows = list(_rows(sample, sign, quoting))
        if len(rows) > 1 and not whole:
            rows.pop()
        widths = [len(row) for row in rows if row]
        fields = widths[0] if widths else 0
        wanted = width or fields
        if wanted > 1 and len(widths) > 1 - bool(width):
            below = widths[0 if width else 1 :]
            best = max(best, (sum(found == wanted for found in below) / len(below), fields))
        best = max(best, (best[0], fields))
        if sign != "\t":  # only files of tabs leave quote marks as they are
            break
    return best


def _rows(sample: str, sign: str, quoting: Any) -> Iterator[list[str]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=sign, quoting=quoting)
    for _ in range(_RECORDS):
        try:
            yield next(reader)
        except (StopIteration, csv.Error):
            return


def _fields(sample: str, sign: str) -> list[str]:
    return [name.strip() for name in next((row for row in _rows(sample, sign, csv.QUOTE_MINIMAL) if row), [])]


def is_quoted(stream: BinaryIO, fields: int = 0) -> tuple[bool, int]:
    """Whether a tsv file quotes fields by the rules of csv. GLUE's files do not: their quote marks are plain text.

    Also, how many lines as wide as the header would be joined to others if it did.

    The whole file is read both ways, and the cheaper one is taken. As plain text, a line costs one if it is not as wide
    as the header. With quotes, so does a row that is not, a row that breaks the rules, and each line as wide as the
    header that a quoted field swallows. Where both cost the same, quote marks are plain text if some field opens a quote
    and does not close it.

    Args:
        fields: how many there are in a row, where the first line is none that tells.
    """
    plain = quoted = joined = tabs = whole = 0
    width = fields - 1 if fields else None
    opened = stray = False
    for line in stream:
        found = line.count(b"\t")
        if not line.strip() and not opened:
            continue
        width = found if width is None else width
        plain += bool(line.strip()) and found != width
        if not opened:
            tabs = whole = 0
        more, opened, broken = _scan(line.rstrip(b"\r\n"), opened)
        tabs, whole, stray = tabs + more, whole + (found == width), stray or opened or broken
        if not opened:
            quoted += broken or tabs != width
            joined += max(0, whole - 1)
    if opened:
        quoted, joined = quoted + 1, joined + max(0, whole - 1)
    return quoted + joined < plain or (quoted + joined == plain and not stray), joined


def _scan(line: bytes, opened: bool) -> tuple[int, bool, bool]:
    """The tabs of a line outside quotes; whether a quote is open at its end; whether it breaks the rules of quoting.

    Args:
        opened: whether a quote is open at its beginning.
    """
    at = tabs = 0
    while True:
        if not opened:
            if line[at : at + 1] != b'"':
                at = line.find(b"\t", at) + 1
                if not at:
                    return tabs, False, False
                tabs += 1
                continue
            at += 1
        end = line.find(b'"', at)
        if end < 0:
            return tabs, True, False
        at, opened = end + 1, line[end + 1 : end + 2] == b'"'
        if opened:
            at += 1
        elif at == len(line):
            return tabs, False, False
        elif line[at : at + 1] != b"\t":
            return tabs, False, True
        else:
            tabs, at = tabs + 1, at + 1
