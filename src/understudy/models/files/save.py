"""Models onto disk, whole or not at all, and what names their weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from understudy.atomic import OUTPUT, new_folder
from understudy.data.tasks import Task
from understudy.errors import OutputError

PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def save_model(
    folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase, *, task: Task | None, max_length: int
) -> None:
    """Write a model folder: config.json, model.safetensors and the tokenizer. It appears whole or not at all.

    What is plain transformers' loads with transformers alone.

    Args:
        task: of a trained classifier; None for a language model.
        max_length: tokens that it reads of a text.

    Raises:
        OutputError: if it cannot be written.
    """
    model_type = model.config.model_type
    kind = model_type.removeprefix("understudy_") if model_type.startswith("understudy_") else "transformer"
    if task is None:
        model.config.understudy = {"kind": "language_model", "max_length": max_length}
    else:
        set_task(model.config, task)
        model.config.understudy = {"kind": kind, "task": task.as_dict(), "max_length": max_length}
    folder = Path(folder)
    try:
        with new_folder(folder, remedy=OUTPUT, replace=True) as temporary, quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    except SafetensorError as error:  # what its writer makes of a full disk
        raise OutputError(f"{folder}: the model cannot be written: {error}. Make room there, or {OUTPUT}.") from error


_NO_ANSWER_DEPENDS_ON = {
    "_name_or_path",
    "architectures",
    "dtype",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
}


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights and buffers that are saved."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_fingerprint(model: Any) -> str:
    """SHA-256 of all that a model's answers depend on: its class, its configuration and its weights.

    Names of labels, paths and versions in the configuration are left out.
    """
    known = model.config.to_dict() if hasattr(model, "config") else {}
    told = {key: value for key, value in known.items() if key not in _NO_ANSWER_DEPENDS_ON}
    described = json.dumps([type(model).__name__, told], sort_keys=True, default=str)
    return hashlib.sha256(f"{described} {weights_fingerprint(model)}".encode()).hexdigest()


def set_task(config: Any, task: Task) -> None:
    """Write a task's labels and kind into a configuration, as transformers knows them."""
    labels = task.labels or (task.label,)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = PROBLEMS[task.kind]


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and its reports of fresh heads, which are checked here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_verbosity = hub_logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)  # it reports every retry
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()
