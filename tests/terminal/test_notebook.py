"""What a notebook shows: short lines, tables in HTML, a bar in its cell; and silence."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from understudy.inference.answers import Prediction
from understudy.record import RunRecord
from understudy.terminal.lines import say, show, silence
from understudy.terminal.notebook import NotebookBar, Picture, ShownRows, html_table, in_notebook
from understudy.terminal.screen import draw, draw_or_return
from understudy.training.progress.display import Display

NASTY = "<script>alert('x')</script>"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class FakeIPython:
    """As much of IPython as is used; it keeps what is shown."""

    def __init__(self, *, kernel: bool) -> None:
        self.shown: list[str] = []
        self.get_ipython = lambda: SimpleNamespace(kernel=1) if kernel else SimpleNamespace()

    def HTML(self, text: str) -> str:
        return text

    def display(self, what: str, *, display_id: bool) -> Any:
        self.shown.append(what)
        return SimpleNamespace(update=self.shown.append)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeIPython:
    fake = FakeIPython(kernel=True)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    return fake


def _record() -> RunRecord:
    entry = {"name": NASTY, "parameters": 1200, "size_bytes": 4e6, "metrics": {"test": {"accuracy": 0.912345}}}
    return RunRecord(
        command="finetune",
        config={},
        finished=True,
        task={"kind": "single_label", "metrics": ["accuracy"]},
        models=[entry],
        mistakes=[
            {"row": 3, "texts": [NASTY], "label": "a", "answer": "b", "confidence": 0.9},
            {"row": 5, "texts": ["x"], "label": "b", "answer": "a", "confidence": 0.8},
        ],
    )


def test_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch, kernel: FakeIPython) -> None:
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", FakeIPython(kernel=False))
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_record_is_a_line_and_a_table() -> None:
    record = _record()
    assert repr(record) == f"<RunRecord finetune: finished; accuracy on test: {NASTY} 0.912>"
    shown = record._repr_html_()
    assert NASTY not in shown
    assert "&lt;script&gt;" in shown
    assert "0.9123" in shown
    assert "(test split)" in shown
    assert repr(RunRecord(command="pretrain", config={})) == "<RunRecord pretrain: not finished>"
    assert "<table>" in RunRecord(command="pretrain", config={})._repr_html_()


def test_the_most_confident_mistakes() -> None:
    found = _record().errors(1)
    assert found == [{"text": NASTY, "label": "a", "answer": "b", "confidence": 0.9}]
    assert NASTY not in found._repr_html_()
    assert len(_record().errors()) == 2
    pair = RunRecord(
        command="x", config={}, mistakes=[{"texts": ["a", "b"], "label": "", "answer": "", "confidence": 1}]
    )
    assert list(pair.errors()[0])[:2] == ["text_a", "text_b"]


def test_a_prediction_is_short() -> None:
    shares = {f"class {i}": 0.01 for i in range(76)} | {NASTY: 0.24}
    answer = Prediction(NASTY, shares)
    assert repr(answer) == f"Prediction({NASTY!r}, 0.240)"
    assert repr(Prediction(3.5, {})) == "Prediction(3.5)"
    assert repr(Prediction(["a"], {"a": 0.7})) == "Prediction(['a'])"
    shown = answer._repr_html_()
    assert NASTY not in shown
    assert "24.0 %" in shown
    assert "and 72 more" in shown
    assert Prediction(3.5, {})._repr_html_() == "Prediction(3.5)"


def test_pictures_and_a_sweep_show_inline(tmp_path: Path) -> None:
    (tmp_path / "lr_find.png").write_bytes(PNG)
    record = _record()
    assert record.plots == []
    record.folder = tmp_path
    assert [picture.path.name for picture in record.plots] == ["lr_find.png"]
    assert Picture(tmp_path / "lr_find.png")._repr_png_() == PNG
    assert "<img" not in record._repr_html_()
    record.training["sweep"] = {}
    assert base64.b64encode(PNG).decode() in record._repr_html_()


def test_a_bar_moves_in_its_cell(kernel: FakeIPython, capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        display.start("train <1>", 3)
        for step in range(1, 4):
            display.update(step, "loss 0.1")
    assert 'value="0" max="3"' in kernel.shown[0]
    assert 'value="3" max="3"' in kernel.shown[-1]
    assert "&lt;1&gt;" in kernel.shown[0]
    assert "loss 0.1" in kernel.shown[-1]
    bar = NotebookBar("x", 10_000)
    before = len(kernel.shown)
    for step in range(9_999):
        bar.update(step, "")
    assert len(kernel.shown) - before < 100  # not one picture a step
    assert "".join(capsys.readouterr()) == ""


def test_a_table_is_printed_or_returned(kernel: FakeIPython, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name")
    table.add_row(Text(NASTY))
    found = draw_or_return([{"a": 1}], table)
    assert found == [{"a": 1}]
    assert "".join(capsys.readouterr()) == ""
    shown = found._repr_html_()  # type: ignore[attr-defined]
    assert NASTY not in shown
    assert "&lt;script&gt;" in shown
    kernel.get_ipython = lambda: SimpleNamespace()
    assert draw_or_return([{"a": 1}], table) == [{"a": 1}]
    assert NASTY in capsys.readouterr().out


def test_silence(kernel: FakeIPython, capsys: pytest.CaptureFixture[str]) -> None:
    with silence(False):
        say("heard")
    with silence(), silence(False):
        say("a")
        show("b")
        draw("c")
        with Display() as display:
            display.start("d", 1)
            display.update(1)
    assert "".join(capsys.readouterr()) == "heard\n"
    assert kernel.shown == []


def test_cells_are_escaped_and_numbers_at_the_right() -> None:
    assert 'style="text-align:right">3<' in html_table(["n"], [[3]], caption="<")
    assert "<caption>&lt;</caption>" in html_table([], [], caption="<")
    assert ShownRows([{"a": 1}, {"b": 2}])._repr_html_().count("<td") == 4


def test_ipython_takes_these_forms(tmp_path: Path) -> None:
    formatters: Any = pytest.importorskip("IPython.core.formatters", reason="a notebook brings IPython")
    data, _ = formatters.DisplayFormatter().format(_record())
    assert "<table>" in data["text/html"]
    assert data["text/plain"].startswith("<RunRecord finetune")
    (tmp_path / "a.png").write_bytes(PNG)
    data, _ = formatters.DisplayFormatter().format(Picture(tmp_path / "a.png"))
    assert data["image/png"]
