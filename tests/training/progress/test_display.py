"""The progress bar, as a terminal shows it."""

from __future__ import annotations

import io

import pytest

from understudy.terminal.screen import Screen
from understudy.training.progress.display import Display


@pytest.mark.parametrize("width", [80, 160])
def test_nothing_of_the_bar_is_cut(width: int) -> None:
    out = io.StringIO()
    with Display(visible=True) as display:
        display._console = Screen(file=out, width=width, force_terminal=True, color_system=None)
        display._terminal = True
        display.start("student without teacher", 1234)
        display.update(1233, "loss 0.7420  1,177 rows/s  best accuracy 0.4667")
    last = out.getvalue().replace("\r", "\n").split("\n")
    shown = "\n".join(last)
    assert "…" not in shown
    for words in ("student without teacher", "1233/1234", "loss 0.7420  1,177 rows/s  best accuracy 0.4667"):
        assert words in shown
    bar = [line for line in last if "1233/1234" in line][-1]
    assert ("best accuracy" in bar) is (width == 160)


def test_without_a_terminal_the_end_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(visible=True) as display:
        for _ in range(2):
            display.start("student", 3)
            for done in (1, 3, 3):
                display.update(done)
    assert capsys.readouterr().err.count("student: 3 of 3") == 2
