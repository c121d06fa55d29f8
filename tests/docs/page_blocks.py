"""The blocks of code of a page, in order, with what its hidden comments say of them.

Nothing of this is seen by readers::

    <!-- given: reviews.csv runs/teacher -->    what lies in the folder before the first block: names of page_files.py
    <!-- file: distill.yaml -->                 the next block is the text of this file
    <!-- not run: needs two GPUs -->            the next block is not run, and why
    <!-- output -->                             the next block is what the one before it prints; with ``: table``, its end
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from understudy.report.verdict import _PLAIN

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("bash", "console", "sh", "shell")
_UNITS = {"B", "kB", "MB", "GB", "ms", "s", "µs", "%"}
_FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^ *```", re.M | re.S)
_JUST_BEFORE = re.compile(r"(?:<!--(?:(?!-->).)*-->\s*)*\Z", re.S)
_COMMENT = re.compile(r"<!-- *(given|file|not run|output)(?:: *(.*?))? *-->", re.S)


class Block(NamedTuple):
    """A block of code: its language and text, the line that it begins after, the file that it is, why it is not run."""

    language: str
    code: str
    line: int
    file: str = ""
    not_run: str = ""
    output: bool = False
    """Whether it is what the block before it prints."""

    @property
    def runs(self) -> bool:
        """Whether the test runs it."""
        return not self.not_run and not self.file and self.language in (*SHELL, "python")

    @property
    def shell(self) -> str:
        """What a shell is given: of a console, the lines after the prompts."""
        if self.language != "console":
            return self.code
        return "".join(line[2:] for line in self.code.splitlines(keepends=True) if line.startswith("$ "))


def blocks(text: str) -> list[Block]:
    """All blocks of a page but other libraries' code, which has a title of its own (as in ``title="fast.ai"``)."""
    found, end = [], 0
    for match in _FENCE.finditer(text):
        near = dict(_COMMENT.findall(_JUST_BEFORE.search(text[end : match.start()])[0]))  # type: ignore[index]
        end = match.end()
        title = re.search(r'title="([^"]+)"', match[3])
        if title and title[1] != "here":
            continue
        line = text.count("\n", 0, match.start()) + 1
        code = textwrap.dedent(match[4])
        found.append(Block(match[2], code, line, near.get("file", ""), near.get("not run", ""), "output" in near))
    return found


def form(output: str) -> list[str]:
    """The words of what a command prints: numbers, units, samples of rows and the verdict are not told apart.

    Example:
        >>> form("model  83.3 %  4.2M  16.8 MB\\n12 rows tell little")
        ['model', '#', 'rows', 'tell', 'little']
    """
    words: list[str] = []
    for line in output.splitlines():
        plain = re.sub(r"row \d+: .* → .*", "row # → label", line.strip())
        begun = any(plain.lower().startswith(said.lower()) for said in _PLAIN.values())
        if begun or "cannot be told apart on so few rows" in plain:
            plain = "(verdict)"
        for word in re.sub(r"─+", "─", plain).split():
            word = "#" if re.search(r"\d", word) or word == "–" else word
            if word not in _UNITS and not (word == "#" and words[-1:] == ["#"]):
                words.append(word)
    return words


def given(text: str) -> list[str]:
    """The names of what lies in the folder before the first block."""
    prose = _FENCE.sub("", text)
    return [name for kind, names in _COMMENT.findall(prose) if kind == "given" for name in names.split()]
