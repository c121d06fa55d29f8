"""What ``tokenizers`` does with single characters, as tables for browsers, whose own tables of Unicode differ.

A browser of this year knows characters that ``tokenizers`` does not, and the other way round. The page therefore reads
``page/characters.json``, which this module makes: run it to make the file again after an update of ``tokenizers``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

from understudy.atomic import write_bytes

FILE = Path(__file__).parent / "page" / "characters.json"
_LETTER = "ก"
"""What stands between two characters that are looked at together: no character becomes this one, and no mark passes it."""


def character_tables(codes: Iterable[int]) -> dict[str, list[int]]:
    """For each kind of character, those among `codes` that belong to it, as the ends of ranges.

    Kinds: ``removed``, turned into a ``space``, put between spaces (``chinese``), ``decomposed``, a ``mark`` that is
    dropped, ``lowered``, all as a ``BertNormalizer`` does; ``white`` space, ``punctuation`` and part of a ``word``, as
    pre-tokenizers see it.

    Args:
        codes: code points in ascending order, surrogates left out.

    Returns:
        ``[first, last, first, last, …]`` by kind; a range also spans codes that were not asked for.

    Example:
        >>> tables = character_tables(range(0x20, 0x7F))
        >>> tables["lowered"] == [ord("A"), ord("Z")], tables["white"]
        (True, [32, 32])
    """
    asked = list(codes)
    clean, chinese, lower, strip = (
        _changed(asked, normalizers.BertNormalizer(**_ONLY | {step: True}))
        for step in ("clean_text", "handle_chinese_chars", "lowercase", "strip_accents")
    )
    pieces = _pieces(asked, pre_tokenizers.BertPreTokenizer())
    runs = _pieces(asked, pre_tokenizers.Whitespace())
    found = {
        "removed": [code for code in asked if clean[code] == ""],
        "space": [code for code in asked if clean[code] == " " != chr(code)],
        "chinese": [code for code in asked if len(chinese[code]) == 3],
        "decomposed": [code for code in asked if strip[code] not in ("", chr(code))],
        "mark": [code for code in asked if strip[code] == ""],
        "lowered": [code for code in asked if lower[code] != chr(code)],
        "white": [code for code in asked if pieces[code] == 2],
        "punctuation": [code for code in asked if pieces[code] == 3],
        "word": [code for code in asked if runs[code] == 1],
    }
    number = {code: i for i, code in enumerate(asked)}
    return {kind: _ranges(members, number) for kind, members in found.items()}


_ONLY = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}


def _changed(codes: list[int], normalizer: normalizers.Normalizer) -> dict[int, str]:
    """What becomes of each character."""
    others = [code for code in codes if chr(code) != _LETTER]
    found = normalizer.normalize_str("".join(_LETTER + chr(code) for code in others) + _LETTER)
    parts = found.split(_LETTER)[1:-1]
    if len(parts) != len(others):
        raise ValueError(f"a character became {_LETTER}, which stands between two: choose another letter")
    return {ord(_LETTER): _LETTER, **dict(zip(others, parts))}


def _pieces(codes: list[int], splitter: pre_tokenizers.PreTokenizer) -> dict[int, int]:
    """In how many pieces two letters and the character between them are split."""
    found = dict[int, int]()
    for begin in range(0, len(codes), 256):
        some = codes[begin : begin + 256]
        # a line end splits for both splitters, and is no part of any piece
        starts = [
            start
            for _, (start, _) in splitter.pre_tokenize_str("".join(f"{_LETTER}{chr(code)}{_LETTER}\n" for code in some))
        ]
        for start in starts:
            code = some[start // 4]
            found[code] = found.get(code, 0) + 1
    return found


def _ranges(members: list[int], number: dict[int, int]) -> list[int]:
    ends = list[int]()
    for code in members:
        if ends and number[code] == number[ends[-1]] + 1:
            ends[-1] = code
        else:
            ends += [code, code]
    return ends


def main() -> None:
    """Make the file again."""
    tables = character_tables(code for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    write_bytes(FILE, (json.dumps(tables, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
