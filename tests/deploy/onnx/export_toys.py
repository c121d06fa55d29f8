"""Tiny networks with random weights, tasks of every kind, and texts for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from understudy.data.tasks import Task
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.inference.predictor import Predictor
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForSequenceClassification
from understudy.models.files.stored_task import set_task
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.static import StaticBag, StaticConfig

TASKS = {
    "single_label": Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good")),
    "multi_label": Task(text=(("text",),), label="label", kind="multi_label", labels=("funny", "sad", "naïve")),
    "regression": Task(text=(("text",),), label="score", kind="regression"),
    "pair": Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=("no", "yes")),
}
TEXTS = [
    "the film was good",
    "",
    "a dull book and a fine song and the film was bad the play",
    "nothing known here",
    "the",
    "song " * 30,
]
NETWORKS = {
    "bilstm": (BiLSTM, BiLSTMConfig, {"embedding_size": 8, "lstm_size": 6, "hidden_size": 5}),
    "bilstm without a hidden layer": (BiLSTM, BiLSTMConfig, {"embedding_size": 8, "lstm_size": 6, "hidden_size": 0}),
    "static": (StaticBag, StaticConfig, {"embedding_size": 8, "hidden_size": 5}),
    "static without a hidden layer": (StaticBag, StaticConfig, {"embedding_size": 8, "hidden_size": 0}),
    "static, wide head": (StaticBag, StaticConfig, {"embedding_size": 18, "hidden_size": 40}),
    "static, wide table": (StaticBag, StaticConfig, {"embedding_size": 28, "hidden_size": 20}),
    "awd_lstm": (AWDLSTMForSequenceClassification, AWDLSTMConfig, {"embedding_size": 8, "hidden_size": 12}),
    "awd_lstm backward": (
        AWDLSTMForSequenceClassification,
        AWDLSTMConfig,
        {"embedding_size": 8, "hidden_size": 12, "num_hidden_layers": 3, "backward": True, "bptt": 5},
    ),
}


def words() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with fewer than 50 tokens."""
    return train_tokenizer(["the film was good", "the play was bad", "a fine song and a dull book"], "words:40")


def network(name: str, task: Task) -> Any:
    """One of :data:`NETWORKS` for a task. Every parameter and every running statistic is random."""
    made, config, sizes = NETWORKS[name]
    torch.manual_seed(0)
    pair = {} if "awd" in name else {"pair": task.is_pair}
    model = made(config(vocab_size=50, num_labels=task.outputs, **sizes, **pair)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        for key, buffer in model.named_buffers():
            buffer.uniform_(0.5, 2.0) if "var" in key else buffer.normal_()
    set_task(model.config, task)
    return model


def predictor(model: Any, task: Task, tokenizer: Any = None, **options: Any) -> Predictor:
    """A network that answers for texts of up to 24 tokens."""
    return Predictor(model, tokenizer or words(), task, options.pop("max_length", 24), **options)


def texts_for(task: Task) -> list[Any]:
    """:data:`TEXTS`, or pairs of them."""
    return list(zip(TEXTS, reversed(TEXTS))) if task.is_pair else list(TEXTS)


def ragged(rows: int, longest: int, seed: int, *, pair: bool = False) -> dict[str, np.ndarray]:
    """Random ids padded on the right with their mask and, of pairs, segments; row 0 is the longest."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1 + pair, longest + 1, rows)
    lengths[0] = longest
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    inputs = {"input_ids": rng.integers(1, 50, (rows, longest)) * mask, "attention_mask": mask}
    if pair:
        second = np.arange(longest) >= rng.integers(1, lengths)[:, None]
        inputs["token_type_ids"] = (second & (mask == 1)).astype(np.int64)
    return inputs
