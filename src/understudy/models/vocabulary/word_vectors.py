"""Text files of word vectors, and the words as which tokens are looked up in them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import DataError


def read_vectors(path: Path, wanted: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The wanted words and their vectors, line by line. Only the numbers of wanted words are parsed.

    Raises:
        DataError: with file and line, if the file cannot be read or a line is malformed.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of word vectors.")
    open_text = gzip.open if path.suffix == ".gz" else open
    width: int | None = None
    try:
        with open_text(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.rstrip().split(" ")
                if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                    continue
                if fields == [""]:
                    continue
                if width is None:
                    width = len(fields) - 1
                if width < 1 or len(fields) - 1 < width:
                    raise DataError(
                        f"{path}, line {number}: a word and {max(width, 1)} numbers are expected, but there are {len(fields) - 1} after the first space. Give a text file of word vectors, one word a line."
                    )
                # A word may contain spaces (in some GloVe files); the numbers are the last fields.
                word = " ".join(fields[:-width])
                if word not in wanted:
                    continue
                try:
                    with np.errstate(over="ignore"):  # a number too large becomes infinite and is refused below
                        vector = np.array(fields[-width:], dtype=np.float32)
                except ValueError:
                    raise DataError(
                        f"{path}, line {number}: the values of '{word}' must be numbers, but one of them is not."
                    ) from None
                if not np.isfinite(vector).all():
                    raise DataError(
                        f"{path}, line {number}: the values of '{word}' must be finite numbers, but one of them is not."
                    )
                yield word, vector
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 ({error.reason}). Give the vectors as text, not in a binary format."
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}.") from None


def bare_text(token: str) -> str:
    """A token's text without the marks of word starts and continuations.

    Example:
        >>> bare_text("##ing"), bare_text("▁film")
        ('ing', 'film')
    """
    bare = token.removeprefix("##").lstrip("Ġ▁").removesuffix("</w>")
    return bare or token
