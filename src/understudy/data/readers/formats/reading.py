"""How a file is to be read where its name and its bytes do not say it: separator, columns, encoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "\\t": "\t"}
"""Separators that have a name: a shell takes some signs for its own."""
IN_WORDS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}


def as_flag(separator: str) -> str:
    """A separator as a command line takes it.

    Example:
        >>> as_flag(";"), as_flag("^")
        ('semicolon', "'^'")
    """
    return next((name for name, sign in SEPARATORS.items() if sign == separator), f"'{separator}'")


@dataclass(frozen=True)
class Reading:
    """What the user says of the files; what is None or empty is found out.

    Args:
        separator: the sign between the columns of delimited files.
        columns: the names of the columns of files whose first line is a row of data.
        encoding: of files of text, where it is not UTF-8.
    """

    separator: str | None = None
    columns: tuple[str, ...] = ()
    encoding: str | None = None

    @classmethod
    def of(cls, separator: str | None, columns: Sequence[str], encoding: str | None) -> Reading:
        """From what the user wrote; faults in it are found by :func:`reading_faults`.

        Example:
            >>> Reading.of("tab", ["label", "text"], None)
            Reading(separator='\\t', columns=('label', 'text'), encoding=None)
        """
        return cls(
            None if separator is None else SEPARATORS.get(separator.lower(), separator), tuple(columns), encoding
        )

    def given(self) -> Iterator[str]:
        """The names of what the user said."""
        yield from (name for name in ("separator", "columns", "encoding") if getattr(self, name))

    @property
    def key(self) -> bytes:
        """What tells two readings of one file apart."""
        return repr((self.separator, self.columns, self.encoding)).encode()


AS_WRITTEN = Reading()
"""Files that say themselves how they are read."""


def reading_faults(reading: Reading) -> list[str]:
    """What is wrong with a reading by itself.

    Example:
        >>> reading_faults(Reading(encoding="cp1525"))[0]
        "--encoding: there is no encoding 'cp1525'. Usual ones are utf-8, cp1252, latin-1, utf-16, gb18030, shift_jis and koi8-r."
    """
    faults = []
    if reading.separator is not None and (len(reading.separator) != 1 or reading.separator in '"\r\n\0'):
        faults.append(f"--separator must be one sign, or one of {', '.join(SEPARATORS)}, but is {reading.separator!r}.")
    twice = [name for name in dict.fromkeys(reading.columns) if reading.columns.count(name) > 1]
    if twice:
        faults.append(f"--columns names '{twice[0]}' more than once. Give each column a name of its own.")
    if any(not name.strip() for name in reading.columns):
        faults.append("--columns holds an empty name. Give each column a name.")
    if reading.encoding is not None and not _is_of_text(reading.encoding):
        faults.append(
            f"--encoding: there is no encoding '{reading.encoding}'. Usual ones are utf-8, cp1252, latin-1, utf-16, gb18030, shift_jis and koi8-r."
        )
    return faults


def _is_of_text(encoding: str) -> bool:
    """Whether there is such an encoding and it makes text of bytes, as rot13 and base64 do not."""
    try:
        codecs.getincrementaldecoder(encoding)
        return isinstance(b"".decode(encoding), str)
    except (LookupError, ValueError):
        return False
