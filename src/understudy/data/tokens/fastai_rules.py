"""fast.ai's rules for rewriting and splitting a text, as normalisers."""

from __future__ import annotations

from typing import Any

from tokenizers import Regex, normalizers

_MOST = 20
"""The largest number of repetitions that is told apart."""

_SIGN = "\ue000"
"""A character for private use, which no text contains."""

_HTML = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", "\n"),
    ("quot;", "'"),
    ("<br />", "\n"),
    ('\\"', '"'),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    ("\\", " \\ "),
    ("&lt;", "<"),
    ("&gt;", ">"),
)
"""What fast.ai's ``fix_html`` replaces, in its order (``&amp;`` becomes ``&&``), then the commonest entities."""

_ABBREVIATIONS = [
    "Mr",
    "Mrs",
    "Ms",
    "Messrs",
    "Dr",
    "Prof",
    "Gen",
    "Gov",
    "Adm",
    "Rep",
    "Sen",
    "Rev",
    "St",
    "Jr",
    "Sr",
    "Inc",
    "Ltd",
    "Co",
    "Corp",
    "Bros",
    "vs",
    "Mt",
    "Ph.D",
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Sept",
    "Oct",
    "Nov",
    "Dec",
    "a.m",
    "p.m",
    "e.g",
    "i.e",
]
_UNITS = "km²|km³|km|m²|m³|cm²|cm³|cm|mm|nm|yd|ft|kg|mg|lb|oz|hPa|kPa|mph|MB|GB|KB|TB|mb|gb|kb|tb|m|g|t|K|M|G|T|%"
_WORD = (
    r"\n+",
    r"xx[a-z]+\b",
    rf"(?<![\w.])(?:{'|'.join(name.replace('.', '[.]') for name in _ABBREVIATIONS)})[.](?!\w)",
    r"(?:\p{Lu}[.])+(?!\w)",  # U.S. and the J. of a name
    r"\.{2,}|…",
    rf"\d+(?:[.,:]\d+)*(?=(?:{_UNITS})(?!\w))",
    r"\d+(?:[.,:]\d+)*(?:st|nd|rd|th|s)?(?!\w)",
    r"\w+?(?=(?i:n['’]t)(?!\w))",
    r"(?i:n['’]t)(?!\w)",
    r"(?i:['’](?:s|m|d|re|ve|ll))(?!\w)",
    r"[\w.]*?\p{Ll}(?=[.]\p{Lu})",  # a full stop without its space
    r"\w+(?:(?:[.&@]|(?<=\d)-(?=\p{L})|(?<=\p{L})-(?=\d))\w+)*",
    r"[^\w\s]",
)
"""What a token is; the first pattern that matches applies. A short form of spaCy's rules for English."""


def fastai_rules(marks: dict[str, str | None]) -> list[Any]:
    """fast.ai's rules as normalisers, in its order. After them, spaces separate all tokens.

    Args:
        marks: the marks of the vocabulary by role, None for one that it lacks. A rule without its mark is left out.
    """
    old = marks["capitals"] == "t_up"
    rules: list[Any] = [normalizers.Prepend(" ")]  # `tokenizers` cannot replace an empty match at the start of a text
    rules += [normalizers.Replace(before, after) for before, after in _HTML]
    rules.append(normalizers.Replace("<unk>", f" {marks['unk']} "))
    if marks["repeated"]:
        rules.append(normalizers.Replace(Regex(r"(\S)\1{3,}\K"), " "))  # what follows a run is a new word
        rules += _repeats(r"(\S)", marks["repeated"])
    if marks["repeated words"]:
        rules += _repeats(r"(\b\w++\W++)", marks["repeated words"])
    if old and marks["capitals"]:
        rules.append(normalizers.Replace(Regex(r"\b(?=\w*\p{Lu})(?=[^\W\p{Ll}]{3,}\b)"), f" {marks['capitals']} "))
    rules.append(normalizers.Replace(Regex(r"(?<=[/#])|(?=[/#])"), " "))
    # The atomic group prevents a match that ends inside a token.
    rules.append(normalizers.Replace(Regex(rf"(?>{'|'.join(_WORD)})\K"), " "))
    if not old and marks["capitals"]:
        rules.append(
            normalizers.Replace(Regex(r"(?<!\S)(?=\S*\p{Lu})(?=[^\s\p{Ll}]{2,}(?!\S))"), f"{marks['capitals']} ")
        )
    if marks["capital"]:
        rules.append(
            normalizers.Replace(Regex(r"(?<!\S)(?=\p{Lu}[^\s\p{Lu}]+(?!\S))(?=\S*\p{Ll})"), f"{marks['capital']} ")
        )
    return [*rules, normalizers.Lowercase(), normalizers.Strip()]


def _repeats(unit: str, mark: str) -> list[Any]:
    """Rules that replace four or more repetitions by the mark, their number and one of them.

    Args:
        unit: a regular expression with one group: what is repeated.
    """
    rules = [normalizers.Replace(Regex(rf"{unit}\1{{{_MOST - 1}}}\K\1+"), "")]
    # A sign marks the last repetition of a run, so that the rules for each number skip texts without a run quickly.
    rules.append(normalizers.Replace(Regex(rf"{unit}\1{{2,}}\K(?=\1(?!\1))"), _SIGN))
    return rules + [
        normalizers.Replace(Regex(rf"{unit}\1{{{count - 2}}}{_SIGN}"), f" {mark} {count} ")
        for count in range(_MOST, 3, -1)
    ]
