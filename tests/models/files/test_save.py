"""Model folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    PreTrainedTokenizerFast,
)

from understudy.data.tasks import Task
from understudy.errors import OutputError
from understudy.models.files.save import save_model
from understudy.models.files.trained import load_trained
from understudy.models.students.static import StaticBag

IDS = torch.tensor([[2, 7, 9, 6, 3]])
Words = PreTrainedTokenizerFast


def test_replaces_a_model_whole(student: Any, task: Task, words: Words, tmp_path: Path) -> None:
    save_model(tmp_path / "m", student("static", task, words), words, task=task, max_length=20)
    (tmp_path / "m" / "stale").touch()
    model = student("bilstm", task, words)
    save_model(tmp_path / "m", model, words, task=task, max_length=21)
    assert torch.equal(load_trained(str(tmp_path / "m")).model(IDS).logits, model(IDS).logits)
    assert not (tmp_path / "m" / "stale").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failure_leaves_the_old_one(
    student: Any, task: Task, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = student("static", task, words)
    save_model(tmp_path / "m", model, words, task=task, max_length=20)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StaticBag, "save_pretrained", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_model(tmp_path / "m", model, words, task=task, max_length=99)
    assert load_trained(str(tmp_path / "m")).max_length == 20
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_below_a_file(student: Any, task: Task, words: Words, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(tmp_path / "file" / "m", student("static", task, words), words, task=task, max_length=20)
