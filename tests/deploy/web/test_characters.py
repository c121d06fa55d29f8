"""The tables of characters that a page reads are those of the installed ``tokenizers``."""

from __future__ import annotations

import json

import pytest

from understudy.deploy.web.characters import FILE, character_tables


@pytest.mark.parametrize("first", [0, 0x1F00, 0xFF00, 0x11000])
def test_the_file_is_what_tokenizers_says(first: int) -> None:
    codes = [code for code in range(first, first + 0x800) if not 0xD800 <= code < 0xE000]
    known = json.loads(FILE.read_text(encoding="utf-8"))
    for kind, ends in character_tables(codes).items():
        found = {code for low, high in zip(ends[::2], ends[1::2]) for code in range(low, high + 1)}
        expected = {
            code
            for low, high in zip(known[kind][::2], known[kind][1::2])
            for code in range(max(low, first), min(high, codes[-1]) + 1)
        }
        assert found == expected, kind
