"""What files hold reaches the terminal with its control characters shown, never raw."""

from __future__ import annotations

import io
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from understudy import cli
from understudy.folders.run import Run
from understudy.record import RunRecord
from understudy.terminal.lines import give, say, show, visible
from understudy.terminal.screen import Screen, draw

HOSTILE = "\x1b]0;PWNED\x07\x1b[31mred\r\x9b2J\x7f\u202e"


class Terminal(io.StringIO):
    """A terminal that remembers what it got."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def controls(text: str) -> set[str]:
    """The control characters of a text, but line feeds and tabs."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cs"} or c == "\u202e"} - set("\n\t")


@settings(deadline=None, derandomize=True)
@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "L", "S", "P", "Z"])))
def test_no_control_character_stays_and_nothing_else_changes(text: str) -> None:
    shown = visible(text)
    assert not controls(shown)
    assert visible(shown) == shown
    if not controls(text) and not any(c in text for c in "\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069"):
        assert shown == text


def test_messages_are_shown_and_data_is_raw_in_a_pipe_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say(HOSTILE)
    show(HOSTILE)
    out, err = capsys.readouterr()
    assert out == err == visible(HOSTILE) + "\n"
    give(HOSTILE)
    assert capsys.readouterr().out == f"{HOSTILE}\n"
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    give(HOSTILE)
    assert terminal.getvalue() == f"{visible(HOSTILE)}\n"


def test_a_stream_that_cannot_write_a_character_gets_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    show("rot – blau, caf\udce9.csv")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"rot \\u2013 blau, caf\\udce9.csv\n"  # type: ignore[attr-defined]


def test_tables_and_bars_show_control_characters_and_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(title=Text(HOSTILE))
    table.add_column(Text(HOSTILE))
    table.add_row(Text(HOSTILE), style="bold")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    draw(table)
    screen = Screen(file=terminal, force_terminal=True, color_system="standard", width=60)
    screen.print(Text("own", style="bold red"), Text(HOSTILE))
    with Progress(TextColumn("{task.description}", markup=False), console=screen) as progress:
        progress.add_task(HOSTILE, total=1)
    got = terminal.getvalue()
    assert "\x1b[1;31mown\x1b[0m" in got
    assert got.count("PWNED") >= 5
    own = re.sub(r"\x1b\[[?\d;]*[mhlAK]|\r", "", got.replace("\x1b[31mred", "raw"))
    assert not controls(own)
    assert "raw" not in own


def test_faults_and_notes_of_data_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "train.csv"
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    table.write_text(f"text,label\n{rows}other,{HOSTILE!s}\n".replace("\r", ""), encoding="utf-8")
    test = tmp_path / "test.csv"
    test.write_text('text,la"bel\x1b[1m\nalpha,a\n', encoding="utf-8")
    output = str(tmp_path / "run\x1b[5m")
    assert (
        cli.main(["finetune", "--model", "tfidf", "--train", str(table), "--test", str(test), "--output", output]) == 2
    )
    out, err = capsys.readouterr()
    assert not controls(out + err)
    assert "\\x1b[1m" in err
    run = Run(tmp_path, RunRecord(command="finetune", config={}))
    run.say(f"train: label '{HOSTILE}'")
    assert not controls(run.record.notes[0] + capsys.readouterr().err)
