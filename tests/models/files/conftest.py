"""Checkpoints and students of random weights, as the tests of files need them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from understudy.data.tasks import Task
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.static import StaticBag, StaticConfig


@pytest.fixture
def pretrained() -> Callable[..., str]:
    """Saves the encoder of a model without its head, as checkpoints on the hub are; returns the folder."""

    def save(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> str:
        model.base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture
def student() -> Callable[..., Any]:
    """Builds a student, ``bilstm`` or ``static``, for a task."""

    def build(kind: str, task: Task, words: PreTrainedTokenizerFast) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": len(words), "embedding_size": 6, "hidden_size": 5, "pair": task.is_pair}
        if kind == "bilstm":
            return BiLSTM(BiLSTMConfig(**sizes, lstm_size=4, num_labels=task.outputs)).eval()
        return StaticBag(StaticConfig(**sizes, num_labels=task.outputs)).eval()

    return build


@pytest.fixture
def change_config() -> Callable[..., None]:
    """Changes settings in the config.json of a folder."""

    def change(folder: str, **settings: Any) -> None:
        path = Path(folder, "config.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change
