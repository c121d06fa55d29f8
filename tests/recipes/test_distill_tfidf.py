"""TF-IDF as the teacher of a small network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.cli import main
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick_throughout")


def run(*arguments: Any) -> int:
    """The command line in this process."""
    return main([str(argument) for argument in arguments])


def test_tfidf_can_be_the_teacher(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("finetune", "--data", reviews, "--model", "tfidf", "--output", tmp_path / "tfidf") == 0
    options = [
        "--teacher",
        tmp_path / "tfidf",
        "--unlabeled",
        reviews / "pool.txt",
        "--epochs",
        "12",
        "--learning_rate",
        "0.03",
    ]
    options += ["--student", "static", "--static.embedding", "16", "--static.hidden", "8", "--tokenizer", "words:60"]
    counts = []
    capsys.readouterr()
    for name in ("one", "two"):
        assert run("distill", "--data", reviews, *options, "--output", tmp_path / name) == 0
        record = RunRecord.load(tmp_path / name / "record.json")
        assert "mend the teacher" not in capsys.readouterr().err  # it is not held against itself
        counts.append(record.teacher_forward_texts)
        models = {model["name"]: model for model in record.models}
        assert list(models) == ["teacher", "student", "student without teacher", "tfidf"]
        assert models["student"]["metrics"]["test"]["accuracy"] > 0.7
        # the same rows gave the same TF-IDF, which answers as itself
        for key in ("metrics", "parameters", "size_bytes"):
            assert models["teacher"][key] == models["tfidf"][key]
    assert counts == [270, 0]
