"""Models onto disk, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.tasks import Task
from understudy.errors import ModelError, OutputError
from understudy.models.files.names import kind_of_type
from understudy.models.files.quiet import quiet
from understudy.models.files.stored_task import set_task


def save_model(
    folder: Path,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    task: Task | None,
    max_length: int,
    temperature: float = 1.0,
    check: Callable[[Path], None] = lambda written: None,
) -> None:
    """Write a model folder: config.json, model.safetensors, tokenizer and checksums. It appears whole or not at all.

    transformers alone can load the folder if the model's class is one of its own.

    Args:
        task: the task of a trained classifier; None for a language model.
        max_length: how many tokens of a text the model reads.
        temperature: of a classifier's probabilities; it is written beside the task.
        check: called with the complete folder before it gets its name; what it raises leaves the old folder there.

    Raises:
        ModelError: if the tokenizer cannot be written.
        OutputError: if the folder cannot be written.
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
        if task.kind != "regression":
            model.config.understudy["temperature"] = temperature
    folder = Path(folder)
    try:
        with new_folder(folder, remedy=OUTPUT, replace=True) as temporary, quiet():
            model.save_pretrained(temporary)
            write_tokenizer(tokenizer, temporary, name=str(folder))
            list_checksums(temporary, without="config.json")
            check(temporary)
    except SafetensorError as error:  # what safetensors raises when the disk is full
        raise OutputError(f"{folder}: the model cannot be written: {error}. Make room there, or {OUTPUT}.") from error


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, *, name: str) -> None:
    """A tokenizer's files. Without tokenizer.json they are those that it read: BERTweet's cannot read what it writes.

    Raises:
        ModelError: if it has parts that cannot be written.
    """
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:  # `tokenizers` raises exactly this class for parts written in Python
        if type(error) is not Exception:
            raise
        raise ModelError(
            f"{name}: is not written, because its tokenizer cannot be saved ({error}). Give a model whose tokenizer has no parts written in Python."
        ) from error
    if isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        return
    for key, file in tokenizer.vocab_files_names.items():
        source = getattr(tokenizer, key, None) or tokenizer.init_kwargs.get(key)
        if isinstance(source, str) and Path(source).is_file():
            shutil.copyfile(source, folder / file)
