"""JSON: an object a line, an array of objects, or one object that holds the splits or the columns."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from understudy.data.readers.formats.objects import Item, object_batches
from understudy.data.readers.formats.parsed import BOM, Lines, Opener, Parsed, Unreadable
from understudy.data.readers.places.split_names import splits_of

_MOST_BYTES = 512 << 20
"""One object is read into memory whole, so a larger file must have an object a line."""
_EXAMPLE = '{"text": "...", "label": "..."}'


def jsonl_batches(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    """The objects of a file of JSON lines as record batches."""

    def items() -> Iterator[Item]:
        with opener() as stream:
            yield from _lines(parsed, stream)

    return object_batches(parsed, items, lambda item: _line_fault(opener, item.place))


def json_batches(
    parsed: Parsed, opener: Opener, *, part: str | None = None, columns: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The rows of a ``.json`` file as record batches: lines, an array, or an object.

    Args:
        part: of an object with several splits, the one that is read.
        columns: names of the values in an array of arrays.

    Raises:
        Unreadable: if it is none of them.
    """
    kind = _kind(opener, parsed.origin)
    if kind == "lines":
        yield from jsonl_batches(parsed, opener)
        return
    parsed.unit = "row"

    def items() -> Iterator[Item]:
        rows: Iterator[tuple[Any, int]]
        if kind == "array":
            rows = _elements(opener, parsed.origin)
        else:
            rows = ((row, 0) for row in _rows_of(_whole(opener, parsed.origin), part, parsed))
        for place, (row, read) in enumerate(rows, 1):
            yield Item(place, _named(row, columns), read)

    yield from object_batches(parsed, items, _row_fault)


def json_tables(opener: Opener, origin: str) -> list[str]:
    """The names of the tables in a ``.json`` file that is one object of them: ``{"train": [...], "test": [...]}``; else none.

    Raises:
        Unreadable: if it is broken.
    """
    if _kind(opener, origin) != "object":
        return []
    document = _whole(opener, origin)
    tables = [key for key, value in document.items() if _is_rows(value) or _columns_of(value)]
    if not _columns_of(document):
        return tables
    # tables of the same columns look like one table as pandas writes it, so their names decide
    named = sum(map(len, splits_of({key: key for key in document}).values())) == len(document)
    return tables if named and all(_is_rows(value) or _lists_of(value) for value in document.values()) else []


def _kind(opener: Opener, origin: str) -> str:
    """``lines``, ``array`` or ``object``."""
    with opener() as stream:
        if stream.read(1 << 16).removeprefix(BOM).lstrip().startswith(b"["):  # perhaps all of it is one line
            return "array"
    with opener() as stream:
        lines = (line for raw in stream if (line := raw.removeprefix(BOM).strip()))
        first = next(lines, b"{}")
        try:
            found = json.loads(first)
        except (ValueError, RecursionError):  # an object over several lines, or a broken one
            return "object" if first.startswith(b"{") and not next(lines, b"").startswith(b"{") else "lines"
        if not isinstance(found, dict):
            return "lines"
        alone = next(lines, None) is None
        return "object" if alone and any(isinstance(value, list | dict) for value in found.values()) else "lines"


def _lines(parsed: Parsed, stream: BinaryIO) -> Iterator[Item]:
    """For every line that is not blank: its number, what it holds, and the bytes read so far."""
    lines = Lines(stream, parsed)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            parsed.blank += 1
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield Item(number, row, lines.bytes)


def _line_fault(opener: Opener, number: int) -> str:
    """What is wrong with one line of a jsonl file."""
    with opener() as stream:
        line = next(raw for i, raw in enumerate(stream, 1) if i == number).removeprefix(BOM).decode(errors="replace")
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        return (
            f"broken JSON ({error.msg} at position {error.colno}). Each line must hold one object, such as {_EXAMPLE}"
        )
    except ValueError:
        return "a whole number of more than 4,300 digits. Write it in quotes"
    except RecursionError:
        return "JSON that is nested too deeply. Each line must hold one flat object"
    return f"a JSON {type(found).__name__}, but an object is needed, such as {_EXAMPLE}"


def _row_fault(item: Item) -> str:
    kind = type(item.found).__name__
    if not isinstance(item.found, list):
        return f"a JSON {kind}, but an object is needed, such as {_EXAMPLE}"
    return f"a JSON list of {len(item.found)} values, but an object is needed, such as {_EXAMPLE}. Or name the values of each row in order with --columns"


def _named(row: Any, columns: Sequence[str]) -> Any:
    """A row as an object: a text alone is one, and so is a list whose values have names."""
    if isinstance(row, str):
        return {"text": row}
    return dict(zip(columns, row)) if isinstance(row, list) and len(row) == len(columns) else row


def _elements(opener: Opener, origin: str) -> Iterator[tuple[Any, int]]:
    """The elements of an array one after the other, with the bytes read so far: memory holds one of them."""
    decoder, broken = json.JSONDecoder(), f"{origin}: broken JSON"
    with opener() as stream:
        text, at, more, number, read = "", 0, True, 0, 0
        step = 1 << 20
        decode = _decoder(origin)

        def fill() -> None:
            nonlocal text, at, more, read
            raw = stream.read(step)
            read += len(raw)
            text, at, more = text[at:] + decode(raw, final=not raw), 0, bool(raw)

        def skip(signs: str) -> str:
            nonlocal at
            while True:
                while at < len(text) and text[at] in signs:
                    at += 1
                if at < len(text) or not more:
                    return text[at : at + 1]
                fill()

        if skip(" \t\r\n\ufeff") != "[":
            raise Unreadable(f"{broken} (no array). Write the file again.")
        at += 1
        while (sign := skip(" \t\r\n")) != "]":
            number += 1
            if number > 1:
                if sign != ",":
                    raise Unreadable(
                        f"{broken} after row {number - 1} (a comma or ']' is missing). Write the file again."
                    )
                at += 1
                skip(" \t\r\n")
            while True:
                try:
                    found, at = decoder.raw_decode(text, at)
                    break
                except json.JSONDecodeError as error:
                    if not more:
                        raise Unreadable(f"{broken} in row {number} ({error.msg}). Write the file again.") from None
                except (ValueError, RecursionError) as error:
                    raise Unreadable(f"{broken} in row {number} ({error}). Write the file again.") from None
                fill()
                step = min(2 * step, 1 << 26)  # one long row is not tried again for every piece of it
            yield found, read
        at += 1
        if skip(" \t\r\n"):
            raise Unreadable(
                f"{broken} (something follows the array, after row {number}). Write all rows as one array, or an object a line."
            )


def _decoder(origin: str) -> Any:
    """Decodes the pieces of a file."""
    decode = codecs.getincrementaldecoder("utf-8")().decode

    def decoded(raw: bytes, final: bool) -> str:
        try:
            return decode(raw, final)
        except UnicodeDecodeError as error:
            raise Unreadable(
                f"{origin}: not UTF-8 (byte 0x{error.object[error.start]:02x}). Save the file as UTF-8, or name its encoding with --encoding, such as cp1252."
            ) from None

    return decoded


def _whole(opener: Opener, origin: str) -> dict[str, Any]:
    with opener() as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise Unreadable(
            f"{origin}: one JSON object of more than {_MOST_BYTES >> 20} MB, which would have to be read into memory whole. Write an object a line ({_EXAMPLE}) and call it .jsonl."
        )
    try:
        found = json.loads(content.removeprefix(BOM).decode())
    except UnicodeDecodeError:
        raise Unreadable(
            f"{origin}: not UTF-8. Save the file as UTF-8, or name its encoding with --encoding, such as cp1252."
        ) from None
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"{origin}, line {error.lineno}: broken JSON ({error.msg}). Write an array of objects, or an object a line, such as {_EXAMPLE}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{origin}: broken JSON ({error}). Write the file again.") from None
    return found if isinstance(found, dict) else {}


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _lists_of(value: Any) -> dict[str, Sequence[Any]]:
    """The columns of an object of lists of one length; else none."""
    parts = list(value.values()) if isinstance(value, Mapping) else []
    whole = all(isinstance(part, list) and not _is_rows(part) for part in parts) and len({*map(len, parts)}) == 1
    return dict(value) if whole else {}


def _columns_of(value: Any) -> dict[str, Sequence[Any]]:
    """The columns of an object of lists of one length, or of objects with the same keys, as pandas writes it; else none."""
    if not isinstance(value, Mapping) or not value:
        return {}
    parts = list(value.values())
    if lists := _lists_of(value):
        return lists
    if all(isinstance(part, dict) for part in parts) and len({tuple(part) for part in parts}) == 1:
        return {key: list(part.values()) for key, part in value.items()} if parts[0] else {}
    return {}


def _rows_of(document: Mapping[str, Any], part: str | None, parsed: Parsed) -> Iterator[Any]:
    """The rows of an object: of a split in it, of its columns, or of the only list of rows in it.

    Raises:
        Unreadable: if there are no rows, or several lists of them.
    """
    found: Any = document if part is None else document[part]
    names, data = (found.get("columns"), found.get("data")) if isinstance(found, Mapping) else (None, None)
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        yield from (dict(zip(map(str, names), row)) if len(row) == len(names) else row for row in data)
        return
    columns = _columns_of(found)
    if columns:
        yield from (dict(zip(columns, row)) for row in zip(*columns.values()))
        return
    if isinstance(found, Mapping):
        lists = [key for key, value in found.items() if _is_rows(value)]
        if len(lists) != 1:
            seen = f"several lists of rows ({', '.join(lists[:5])})" if lists else "no list of rows and no columns"
            raise Unreadable(
                f"{parsed.origin}: the JSON object has {seen}. Write an array of objects, an object a line, or an object of train, validation and test."
            )
        parsed.say(f"the rows are those of '{lists[0]}'.")
        found = found[lists[0]]
    yield from found
