"""``understudy demo`` on two small libraries and a tiny teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.cli import main
from understudy.data import pydocs
from understudy.record import RunRecord


@pytest.mark.usefixtures("quick")
def test_the_demo_ends_with_four_models_and_goes_on_where_it_was(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {
        name: folder
        for name, folder in pydocs.installed_libraries().items()
        if name in ("numpy", pydocs.STANDARD_LIBRARY)
    }
    monkeypatch.setattr(pydocs, "installed_libraries", lambda: few)
    command = [
        "demo",
        "--output",
        str(tmp_path / "demo"),
        "--teacher",
        str(tiny_bert),
        "--labelled",
        "60",
        "--pool",
        "80",
    ]
    command += ["--test", "40", "--teacher_epochs", "1", "--epochs", "1", "--max_length", "64"]
    assert main(command) == 0
    record = RunRecord.load(tmp_path / "demo" / "record.json")
    assert record.command == "demo"
    assert [model["name"] for model in record.models] == [
        "teacher",
        "student",
        "student without teacher",
        "probe",
        "tfidf",
    ]
    assert (tmp_path / "demo" / record.children[1]).exists()
    assert "your data" in capsys.readouterr().out
    weights = (tmp_path / "demo" / "student" / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "demo" / "student" / "model" / "model.safetensors").stat().st_mtime_ns == weights
