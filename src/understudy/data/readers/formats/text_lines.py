"""A text a line: plain, or with fastText's labels before it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pyarrow as pa

from understudy.data.arrow_columns import string_column
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.parsed import BATCH_BYTES, BATCH_ROWS, BOM, Lines, Opener, Parsed

FASTTEXT = "__label__"
_LABEL = re.compile(rf"(?:^|(?<=\s)){FASTTEXT}(\S*)(?:\s+|$)")
_LOOKED_AT = 1 << 16
"""So many bytes say whether a file is fastText's."""


def plain_batches(parsed: Parsed, opener: Opener, *, longest: int | None) -> Iterator[pa.RecordBatch]:
    """The lines of a file as record batches of one column, ``text``.

    Args:
        longest: a line with at least so many bytes is cut into several rows. None: lines stay whole.
    """
    parsed.bare = True
    with opener() as stream:
        rows: list[str] = []
        places: list[int] = []
        done = 0
        lines = Lines(stream, parsed, longest=longest)
        for line in lines:
            parsed.names = ("text",)
            found = line.removesuffix("\n").removesuffix("\r").split("\r")  # a bare carriage return also ends a line
            rows += found
            places += [lines.number] * len(found)
            if len(rows) >= BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield parsed.batch([string_column(rows)], places)
                rows, places, done = [], [], lines.bytes
        if rows:
            yield parsed.batch([string_column(rows)], places)


def is_fasttext(opener: Opener) -> bool:
    """Whether all of the first lines of a file begin with a label of fastText."""
    mark = FASTTEXT.encode()
    with opener() as stream:
        first = stream.read(_LOOKED_AT).removeprefix(BOM).split(b"\n")
    whole = [line for line in (first[:-1] or first) if line.strip()]  # the last one may be cut
    return bool(whole) and all(line.startswith(mark) for line in whole)


def fasttext_batches(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    """The lines of a fastText file as record batches of a label and a text. Several labels in a line become a list.

    The file is read twice: any line may be the first with several labels.
    """
    with opener() as stream:
        several = any(
            len(_LABEL.findall(line)) > 1 for line in Lines(stream, Parsed(parsed.origin, Faults()))
        )  # said below
    parsed.say(f"is read as fastText's: labels are the words that begin with {FASTTEXT}.")
    parsed.names = ("label", "text")
    if several:
        parsed.lists.add("label")
    labels: list[str | None] = []
    texts: list[str] = []
    places: list[int] = []
    done = 0

    def flush() -> pa.RecordBatch:
        return parsed.batch([string_column(column) for column in (labels, texts)], places)

    with opener() as stream:
        lines = Lines(stream, parsed)
        for line in lines:
            if not line.strip():
                parsed.blank += 1
                continue
            found = _LABEL.findall(line)
            labels.append((json.dumps(found, ensure_ascii=False) if several else found[0]) if found else None)
            texts.append(_LABEL.sub("", line).strip())
            places.append(lines.number)
            if len(texts) == BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield flush()
                labels, texts, places, done = [], [], [], lines.bytes
    if texts:
        yield flush()
