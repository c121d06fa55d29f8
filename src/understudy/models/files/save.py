"""Models onto disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.tasks import Task
from understudy.errors import OutputError
from understudy.models.files.names import kind_of_type
from understudy.models.files.quiet import quiet
from understudy.models.files.stored_task import set_task


def save_model(
    folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase, *, task: Task | None, max_length: int
) -> None:
    """Write a model folder: config.json, model.safetensors, tokenizer and checksums. It appears whole or not at all.

    transformers alone can load the folder if the model's class is one of its own.

    Args:
        task: the task of a trained classifier; None for a language model.
        max_length: how many tokens of a text the model reads.

    Raises:
        OutputError: if it cannot be written.
    """
    if task is None:
        model.config.understudy = {"kind": "language_model", "max_length": max_length}
    else:
        set_task(model.config, task)
        model.config.understudy = {
            "kind": kind_of_type(model.config.model_type),
            "task": task.as_dict(),
            "max_length": max_length,
        }
    folder = Path(folder)
    try:
        with new_folder(folder, remedy=OUTPUT, replace=True) as temporary, quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            list_checksums(temporary, without="config.json")
    except SafetensorError as error:  # what safetensors raises when the disk is full
        raise OutputError(f"{folder}: the model cannot be written: {error}. Make room there, or {OUTPUT}.") from error
