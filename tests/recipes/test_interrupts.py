"""Ctrl-C ends a fit of TF-IDF and the reading of files where they are, and leaves nothing half written."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.cli import main
from understudy.data.cache import cache_dir
from understudy.data.readers.formats import parsed
from understudy.models import logistic


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with SIGINT ignored
    yield
    signal.signal(signal.SIGINT, before)


def test_a_fit_of_tfidf_ends_and_is_begun_again(
    reviews: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tmp_path / "run")]
    fit, fitted = logistic._logistic, []

    def interrupted(*given: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        fitted.append(fit(*given, **more))
        return fitted[-1]

    with monkeypatch.context() as patch:
        patch.setattr(logistic, "_logistic", interrupted)
        assert main(command) == 128 + signal.SIGINT
    assert not fitted
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))
    assert record["finished"]


def test_reading_ends(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, seen = parsed.Lines._numbered, []

    def interrupted(lines: Any) -> Any:
        for number, raw in read(lines):
            if number == 30 and len(seen) < 100:
                os.kill(os.getpid(), signal.SIGINT)
            seen.append(number)
            yield number, raw

    with monkeypatch.context() as patch:
        patch.setattr(parsed.Lines, "_numbered", interrupted)
        assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tmp_path / "run")]) == 130
    assert max(seen) < 30
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert not [*cache_dir().rglob("*.tmp")]
