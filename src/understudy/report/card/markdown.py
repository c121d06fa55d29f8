"""Values as Markdown that shows them literally."""

from __future__ import annotations

import re
import unicodedata

_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


class Markdown(str):
    """Text that is Markdown already; every other value is escaped when the template writes it."""


def escape(value: object) -> Markdown:
    r"""A value as inline Markdown that shows it literally: one line, no markup, no HTML, no border of a table cell.

    Example:
        >>> escape("<b>|`_x_`\n# no")
        '&lt;b&gt;\\|\\`\\_x\\_\\` # no'
        >>> escape("1. first"), escape(12)
        ('1\\. first', '12')
    """
    if isinstance(value, Markdown):
        return value
    line = one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)
    line = re.sub(r"^([#+=-])", r"\\\1", line)  # at the start of a line these begin a heading or a list
    return Markdown(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line))


def code(value: object) -> Markdown:
    """A value as a code span; the fence is longer than any run of backticks inside.

    Example:
        >>> code("a`b"), code("plain")
        ('``a`b``', '`plain`')
    """
    line = one_line(value) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def one_line(value: object) -> str:
    """A value on one line: control characters become spaces, spaces in a row one space, and marks of direction go."""
    characters = (" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} else c for c in str(value))
    return " ".join("".join(characters).translate(_BIDI_CONTROLS).split())
