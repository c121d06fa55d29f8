"""``understudy export`` of adapters of every kind, fused ones included, and of students with fewer layers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from understudy.cli import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.filterwarnings("ignore")]
TEXTS = ["a good film", "the bad book, quite", "lovely", "", "the " * 40]
SHORT = ["--batch_size", "8", "--max_length", "24", "--learning_rate", "0.02"]
PEFT = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")


@pytest.fixture(scope="module", autouse=True)
def _quick(quick_throughout: None) -> None:
    """No plots in the fixtures, either."""


def finetuned(reviews: Path, base: Path, folder: Path, *more: str) -> Path:
    """A short run."""
    command = ["finetune", "--data", str(reviews), "--model", str(base), "--epochs", "1", "--no_baseline", *SHORT]
    assert main([*command, *more, "--output", str(folder)]) == 0
    return folder


def same(run: Path, folder: Path, *more: str) -> None:
    """Export a run and compare logits and labels with the model's own; and that the adapter matters at all."""
    assert main(["export", str(run), "--output", str(folder), *more]) == 0
    mine: Any = understudy.load(run)
    theirs: Any = understudy.load(folder)
    np.testing.assert_allclose(theirs.logits(TEXTS), mine.logits(TEXTS), atol=1e-5)
    assert [one.label for one in theirs.predict(TEXTS)] == [one.label for one in mine.predict(TEXTS)]


@PEFT
@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_lora_and_ia3_as_they_are_and_merged(
    kind: str, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finetuned(reviews, tiny_bert, tmp_path / "run", "--adapter", kind, "--pooling", "head", "--start", "head")
    same(run, tmp_path / "as it is")
    assert main(["adapter", "merge", str(run), "--output", str(tmp_path / "merged")]) == 0
    same(tmp_path / "merged", tmp_path / "folded")
    apart: Any = understudy.load(tmp_path / "as it is")
    folded: Any = understudy.load(tmp_path / "folded")
    np.testing.assert_allclose(apart.logits(TEXTS), folded.logits(TEXTS), atol=1e-4)
    capsys.readouterr()


@pytest.fixture(scope="module")
def bottlenecks(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs with an adapter of each kind."""
    folder = tmp_path_factory.mktemp("bottlenecks")
    kinds = {"one": ["pfeiffer"], "two": ["pfeiffer", "--seed", "1"], "houlsby": ["houlsby"], "parallel": ["parallel"]}
    return {
        name: finetuned(reviews, tiny_bert, folder / name, "--adapter", *more, "--start", "head")
        for name, more in kinds.items()
    }


@pytest.mark.parametrize("name", ["one", "houlsby", "parallel"])
def test_bottlenecks(name: str, bottlenecks: dict[str, Path], tmp_path: Path) -> None:
    same(bottlenecks[name], tmp_path / "out")


def test_fused_adapters(bottlenecks: dict[str, Path], reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    names = [str(bottlenecks[name]) for name in ("one", "two")]
    run = finetuned(reviews, tiny_bert, tmp_path / "run", "--fuse", *names, "--start", "head")
    same(run, tmp_path / "out")


def test_students_with_fewer_layers(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    teacher = finetuned(reviews, tiny_bert, tmp_path / "teacher")
    command = ["distill", "--data", str(reviews), "--teacher", str(teacher), "--student", "layers:2", "--epochs", "1"]
    assert main([*command, "--no_baseline", "--max_length", "24", "--output", str(tmp_path / "student")]) == 0
    same(tmp_path / "student", tmp_path / "out")
