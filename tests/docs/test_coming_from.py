"""What ``docs/coming-from.md`` says of ours exists, and its blocks say whose they are; test_pages_run.py runs ours."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from understudy.commands import BY_NAME, COMMANDS, settings_class
from understudy.errors import UnderstudyError
from understudy.parsing import parse
from understudy.settings.flags import flags

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
OURS = "here"


class Fence(NamedTuple):
    """A block of code: its language, whose it is, what it says, and where it begins."""

    language: str
    title: str
    code: str
    line: int


def fences(text: str) -> list[Fence]:
    """All blocks of code, in order."""
    found = re.finditer(r"^```(\w*)([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [
        Fence(
            match[1],
            "".join(re.findall(r'title="([^"]+)"', match[2])),
            match[3],
            text.count("\n", 0, match.start()) + 1,
        )
        for match in found
    ]


def ours(text: str) -> list[str]:
    """The inline code that speaks of Understudy: all but the first column of tables."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    parts = [line.split(" | ", 1)[1] if line.startswith("| ") else line for line in prose.splitlines()]
    return re.findall(r"`([^`]+)`", "\n".join(parts))


TEXT = PAGE.read_text(encoding="utf-8")
FENCES = fences(TEXT)
RECIPES = [row.name for row in COMMANDS if row.settings]


def test_blocks_say_whose_they_are() -> None:
    """So that none of ours can be missed: it would be taken for another library's, and not run."""
    sections = TEXT.split("\n## ")[1:]
    assert len(sections) == 8
    for section in sections[:-1]:
        titles = [fence.title for fence in fences(section)]
        assert all(titles), f"a block without a title in {section.splitlines()[0]}"
        assert OURS in titles
        assert set(titles) != {OURS}
        assert "| there | here |" in section
    for fence in FENCES:
        assert fence.language in ("bash", "python")
        assert fence.title == OURS or "understudy" not in fence.code
        if fence.language == "python":
            ast.parse(fence.code)


def test_what_is_said_in_passing_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Inline code of ours: commands stand alone, as in ``understudy generate``; flags exist, with the values shown."""
    known = {name: {f"--{flag.name}" for flag in flags(settings_class(name))} for name in RECIPES}
    names = set(BY_NAME)
    spans = ours(TEXT)
    for span in spans:
        if span.startswith("understudy "):
            command = span.removeprefix("understudy ")
            assert command in names, f"`{span}`: not a command by itself; put it into a block, so that it is run"
        if span.startswith("--"):
            words = shlex.split(span)
            takers = [name for name in RECIPES if words[0] in known[name]]
            assert takers, f"`{span}`: no command has this flag"
            assert len(words) == 1 or any(accepts(name, words) for name in takers), f"`{span}`\n{capsys.readouterr()}"
    assert sum(span.startswith("--") for span in spans) > 80


def accepts(command: str, words: list[str]) -> bool:
    """Whether a command can read these flags; nothing is run."""
    try:
        return not isinstance(parse(command, words), int)
    except UnderstudyError:
        return False
