"""What one label cell says: nothing, a number, a name, or a list of names."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Sequence

MISSING = {"NaN", "nan", "NAN", "-NaN", "-nan", "<NA>", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "NULL", "Null"}
MISSING |= {"null", "None", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN", "\\N"}
"""Cells that mean "no value": those that pandas reads so, and what MySQL writes. An empty cell is not among them."""

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d{0,99}))(?:\.0*)?")
"""A whole number. What has more digits is a name: Python reads no number of 5,000 digits."""
_SPACED = re.compile(r"-?\d+(?:\s+-?\d+)+")
JOINTS = "|;,"
"""What may stand between several labels of one cell."""
_WRAPPED = re.compile(
    r"(?:np\.|numpy\.)?(?:array|tensor|frozenset|set|list|tuple)\((.*?)(?:,\s*dtype=[\w.'<>]+)?\)", re.DOTALL
)
_ITEM = re.compile(
    r"""
    (?:np\.\w+\()?                                  # numpy 2 prints np.int64(1), np.str_('a')
    (?: (?P<quoted> [ub]?"(?:[^"\\]|\\.)*" | [ub]?'(?:[^'\\]|\\.)*' )
      | (?:np\.)?(?P<bare> [-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)? | True | False | true | false | None | null | [nN]a[nN] )_? )
    \)?
    (?: \s*,\s* | \s+ | $ )""",
    re.VERBOSE | re.DOTALL,
)


def whole(value: str) -> str | None:
    """The integer that a cell holds, as a name; None if it holds none.

    Example:
        >>> whole("1.0"), whole("-3"), whole("01"), whole("one")
        ('1', '-3', None, None)
    """
    match = _WHOLE.fullmatch(value)
    return None if match is None else "0" if match[1] == "-0" else match[1]


def number(value: str) -> float:
    """The value as a number, or NaN. Python reads '1_000' as a number, but in a data file it is a name."""
    try:
        return math.nan if "_" in value else float(value)
    except ValueError:
        return math.nan


def has_decimal_comma(value: str) -> bool:
    """Whether a cell is a number with a decimal comma.

    Example:
        >>> has_decimal_comma("3,5"), has_decimal_comma("3.5"), has_decimal_comma("1,2,3")
        (True, False, False)
    """
    return re.fullmatch(r"[-+]?\d+,\d+", value) is not None


def printed_list(value: str) -> list[str] | None:
    """The names in a list as JSON, Python or numpy print it; None if the cell is no such list.

    Missing values in the list are left out; a list of nothing else is no list.

    Example:
        >>> printed_list('["a", 3]'), printed_list("['a' 'b']"), printed_list("[0. 1.]"), printed_list("('a',)")
        (['a', '3'], ['a', 'b'], ['0.', '1.'], ['a'])
        >>> printed_list("[]"), printed_list("[oops"), printed_list("a|b"), printed_list("[very good]")
        ([], None, None, None)
    """
    value = match[1].strip() if (match := _WRAPPED.fullmatch(value)) else value
    inner = _inside(value)
    if inner is None:
        return [] if match and not value else None
    items = _json_items(value) if value.startswith("[") else None
    items = _printed_items(inner) if items is None else items
    if items is None or (items and all(item is None for item in items)):
        return None
    if value.startswith("(") and "," not in inner and inner:
        return None  # a name in parentheses
    return [item for item in items if item is not None]


def missing_in(value: str) -> int:
    """How many values are missing in a list of numbers and missing values: all of them, some or none.

    Example:
        >>> missing_in("[NaN, null]"), missing_in("[1, None, 0]"), missing_in("[1, 0]"), missing_in("null")
        (2, 1, 0, 0)
    """
    value = match[1].strip() if (match := _WRAPPED.fullmatch(value)) else value
    parts = [part for part in re.split(r"[\s,]+", _inside(value) or "") if part]
    gone = sum(part in MISSING for part in parts)
    return gone if all(part in MISSING or not math.isnan(number(part)) for part in parts) else 0


def _inside(value: str) -> str | None:
    brackets = {"[": "]", "(": ")", "{": "}"}
    return value[1:-1].strip() if len(value) > 1 and brackets.get(value[0]) == value[-1] else None


def _json_items(value: str) -> list[str | None] | None:
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not all(item is None or isinstance(item, str | int | float) for item in items):
        return None
    named = [item.strip() if isinstance(item, str) else json.dumps(item) for item in items]
    return [None if item in ("null", "NaN") and not isinstance(raw, str) else item for item, raw in zip(named, items)]


def _printed_items(inner: str) -> list[str | None] | None:
    items: list[str | None] = []
    at = 0
    while at < len(inner):
        match = _ITEM.match(inner, at)
        if match is None:
            return None
        at = match.end()
        bare = match["bare"]
        if bare is not None:
            items.append(None if bare in ("None", "null") or bare.lower() == "nan" else bare)
            continue
        try:
            text = ast.literal_eval(match["quoted"])
        except (ValueError, SyntaxError):
            return None
        items.append(text.decode(errors="replace").strip() if isinstance(text, bytes) else text.strip())
    return items


def joints_of(values: Iterable[str]) -> str:
    """What separates labels within a column: ``|`` ``;`` and ``,``, but no comma where other cells have one of the others.

    Example:
        >>> joints_of(["a,b", "c"]), joints_of(["Toys, Games|Books", "Music"])
        ('|;,', '|;')
    """
    bar = comma = False
    for value in values:
        if printed_list(value) is None:
            bar, comma = bar or "|" in value or ";" in value, comma or "," in value
    return "|;" if bar and comma else JOINTS


def labels_in_cell(value: str, joints: str = JOINTS) -> list[str] | None:
    """The labels in one cell of a multi-label column: a printed list, numbers with spaces, or names with a joint between.

    Returns:
        The names, or None where the cell begins like a list and is none.

    Example:
        >>> labels_in_cell("a|b"), labels_in_cell("[a, b]"), labels_in_cell("a, b", "|;"), labels_in_cell("[oops")
        (['a', 'b'], ['a', 'b'], ['a, b'], None)
        >>> labels_in_cell("0 1 0"), labels_in_cell("very good")
        (['0', '1', '0'], ['very good'])
    """
    found = printed_list(value)
    if found is not None:
        return found
    if _SPACED.fullmatch(value):
        return value.split()
    if value.startswith("["):
        inner = _inside(value)
        if inner is None or set(inner) & set("[]'\"") or "..." in inner:
            return None
        value = inner
        if not all(part.strip() not in MISSING for part in value.split(",")):
            return None
        joints = ","
    return [part.strip() for part in re.split(f"[{joints}]", value) if part.strip()]


def hot(parts: Sequence[str]) -> list[int] | None:
    """A list of 0 and 1 (or of truth values) as integers; None if it holds anything else.

    Example:
        >>> hot(["0", "1.", "True"]), hot(["0", "2"])
        ([0, 1, 1], None)
    """
    found = [{"true": "1", "false": "0"}.get(part.lower(), whole(part)) for part in parts]
    return [int(part) for part in found if part] if all(part in ("0", "1") for part in found) else None
