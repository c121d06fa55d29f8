"""The folder of a model for several tasks: written whole or not at all, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from understudy.atomic import OUTPUT, new_folder, write_bytes
from understudy.checksums import list_checksums
from understudy.data.tasks import Task
from understudy.errors import ModelError, OutputError
from understudy.models.files.names import MULTITASK, check_undamaged, kind_of, read_model_config, resolve
from understudy.models.files.pretrained import build_from_config, first_names
from understudy.models.files.quiet import explained
from understudy.models.files.save import write_tokenizer
from understudy.models.files.stored_task import checked_temperature, set_task
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.multitask import MultiTaskModel

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class TrainedTasks:
    """A model for several tasks with what is needed to use it."""

    model: MultiTaskModel
    """In eval mode."""
    tokenizer: PreTrainedTokenizerBase
    tasks: Mapping[str, Task]
    max_length: int
    """How many tokens of a text the model reads, special tokens included."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Divide the logits of a task before they become probabilities; 1 for a task that has none."""


def check_has_tasks(names: Sequence[str], task: str | None) -> None:
    """Refuse the name of a task where all of several models are of one task each, so that none has it.

    Raises:
        ModelError: if so, or if a model is not there.
    """
    if task is not None and not any(is_multitask(Path(resolve(name, adapters=True))) for name in names):
        said = f"{names[0]}: was trained" if len(names) == 1 else f"{', '.join(names)}: each was trained"
        raise ModelError(f"{said} for one task only, so none can be named. Leave out --task {task}.")


def save_tasks(folder: Path, trained: TrainedTasks, *, check: Callable[[Path], None] = lambda written: None) -> None:
    """Write the folder: config.json with every task, one file of weights, the tokenizer, checksums.

    Args:
        check: called with the complete folder before it gets its name; what it raises leaves the old folder there.

    Raises:
        ModelError: if the tokenizer cannot be written.
        OutputError: if the folder cannot be written.
    """
    model, entries = trained.model, []
    for name, task in trained.tasks.items():
        config = model.task(name).config
        set_task(config, task)
        entry: dict[str, Any] = {"name": name, "task": task.as_dict(), "config": plain_config(config)}
        if task.kind != "regression":
            entry["temperature"] = trained.temperatures.get(name, 1.0)
        entries.append(entry)
    content = {
        "model_type": "understudy_multitask",
        "understudy": {"kind": MULTITASK, "max_length": trained.max_length, "shared": model.shared, "tasks": entries},
    }
    folder = Path(folder)
    try:
        with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
            write_bytes(temporary / "config.json", (json.dumps(content, indent=1) + "\n").encode())
            save_file(model.saved_state(), temporary / _WEIGHTS, metadata={"format": "pt"})
            write_tokenizer(trained.tokenizer, temporary, name=str(folder))
            list_checksums(temporary, without="config.json")
            check(temporary)
    except SafetensorError as error:  # what safetensors raises when the disk is full
        raise OutputError(f"{folder}: the model cannot be written: {error}. Make room there, or {OUTPUT}.") from error


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as JSON has it, without what it says of a task's folder."""
    told: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in told.items() if key != "understudy"}


def is_multitask(path: str | Path) -> bool:
    """Whether a model folder holds a model for several tasks; a hub id does not."""
    return Path(path).is_dir() and kind_of(path) == MULTITASK


def load_tasks(name: str | Path) -> TrainedTasks:
    """A model for several tasks, as :func:`save_tasks` wrote it.

    Raises:
        ModelError: if it cannot be loaded, or is damaged.
    """
    path = resolve(str(name))
    own = read_model_config(path).get("understudy")
    own = own if isinstance(own, dict) else {}
    with explained(path):
        entries = [(str(entry["name"]), Task.from_dict(entry["task"]), entry["config"]) for entry in own["tasks"]]
        temperatures = {
            str(entry["name"]): checked_temperature(entry.get("temperature", 1.0)) for entry in own["tasks"]
        }
        shared, length = own["shared"] is True, own["max_length"]
        if type(length) is not int or length < 1 or len({key for key, *_ in entries}) != len(entries) or not entries:
            raise ValueError("what its config.json holds under 'understudy' is damaged")
    check_undamaged(path, weights=False)
    check_undamaged(path, weights=True)
    model = MultiTaskModel({key: build_from_config(path, config) for key, _, config in entries}, shared=shared)
    with explained(path):
        found, wanted = load_file(Path(path) / _WEIGHTS), model.saved_state()
        if odd := sorted(set(found) ^ set(wanted)):
            raise ModelError(
                f"{path}: its weights do not fit its config.json: {first_names(odd)}. Copy the folder again."
            )
        model.load_state_dict(found, strict=False)
    tokenizer = load_tokenizer(path)
    return TrainedTasks(model.eval(), tokenizer, {key: task for key, task, _ in entries}, length, temperatures)
