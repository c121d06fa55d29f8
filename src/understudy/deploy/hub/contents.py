"""What of a folder goes to the hub, and what stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from understudy.adapters.facts import AdapterFacts
from understudy.checksums import CHECKSUMS, checksums_of, saved_files
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.exported.facts import BAG, GRAPH, MOBILE, SAMPLE, TOKENIZER, ExportedFacts
from understudy.models.files.names import EXPORTED, check_undamaged, kind_of, read_model_config

_OF_A_MODEL = re.compile(
    r"(config|adapter_config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|checksums|tfidf|model\.safetensors\.index)\.json"
    r"|.+\.safetensors|(vocab|merges)\.txt|.+\.(model|jinja|spm|codes)"
)
"""Of a model folder without a list of what was saved."""
_EXPORTED = (GRAPH, f"{GRAPH}.data", BAG, MOBILE, SAMPLE, TOKENIZER, "config.json")
CARD = "README.md"


class PushedFile(NamedTuple):
    """A file of a repository: its name there, and its content or where that lies."""

    name: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


def pushed_files(model: Path, *, run: Path | None, onnx: Path | None, card: str) -> list[PushedFile]:
    """What goes to the hub: the card, the model, the plots that the card shows and, where it is named, the graph.

    Files are taken because they belong to a model, never because they lie there: data, caches and checkpoints stay.

    Args:
        model: the model folder.
        run: the run folder that it belongs to.
        onnx: an exported folder of the same model; it goes into ``onnx/``.
        card: the text of the card.

    Raises:
        ModelError: if a file is damaged, or `onnx` is no exported folder, or that of another model.
    """
    found = [PushedFile(CARD, card.encode()), *_of(model)]
    if run is not None:
        plots = [path for path in sorted((run / "plots").glob("*.png")) if not path.is_symlink()]
        found += [PushedFile(f"plots/{path.name}", path) for path in plots]
    if onnx is not None:
        found += [one._replace(name=f"onnx/{one.name}") for one in _of(_export_of(model, onnx))]
    return found


def left_behind(folder: Path, files: list[PushedFile]) -> list[str]:
    """The names of the files and folders that lie in a folder, or beside a model in it, and do not go."""
    taken = {one.source for one in files if isinstance(one.source, Path)}
    kept = list[str]()
    for path in sorted(folder.iterdir()):
        inside = set(path.rglob("*")) if path.is_dir() else {path}
        if path.name not in (CARD, CHECKSUMS) and not inside & taken:
            kept.append(f"{path.name}/" if path.is_dir() else path.name)
    return kept


def _of(folder: Path) -> list[PushedFile]:
    """The files of a model folder, which must be as they were written."""
    for weights in (False, True):
        check_undamaged(folder, weights=weights)
    saved = saved_files(folder)
    if exported := kind_of(folder) == EXPORTED:
        ExportedFacts.read(folder)
    found = list[PushedFile]()
    for path in sorted(folder.iterdir()):
        ours = path.name in _EXPORTED if exported else path.name in saved if saved else _OF_A_MODEL.fullmatch(path.name)
        if ours and path.is_file() and not path.is_symlink():
            found.append(PushedFile(path.name, path))
    if exported and (sums := checksums_of(folder, (one.name for one in found))):  # of a page other files stay here
        found.append(PushedFile(CHECKSUMS, sums))
    return found


def _tasks_of(model: Path, kind: str) -> list[Task]:
    """What a model can answer for, as far as its folder says it."""
    if kind == "adapter":
        task = AdapterFacts.read(model).task
        return [] if task is None else [task]
    own = read_model_config(model).get("understudy")
    own = own if isinstance(own, dict) else {}
    told = [own, *(own.get("tasks") or [])]
    return [Task.from_dict(one["task"]) for one in told if isinstance(one, dict) and one.get("task")]


def _export_of(model: Path, onnx: Path) -> Path:
    """An exported folder, if it can have been made of a model: it answers with the same labels, and has its kind."""
    if kind_of(onnx) != EXPORTED:
        raise ModelError(f"{onnx}: is no exported model. Make one with understudy export {model} --output FOLDER.")
    facts, kind = ExportedFacts.read(onnx), kind_of(model)
    alike = kind in ("adapter", "multitask") or facts.of == kind  # of these a part was exported, of a kind of its own
    known = [(task.labels, task.kind) for task in _tasks_of(model, kind)]
    if not alike or (known and (facts.task.labels, facts.task.kind) not in known):
        labels = ", ".join(facts.task.labels) or "numbers"
        raise ModelError(
            f"{onnx}: was made of another model: its kind is {facts.of}, its labels are {labels:.80}. Make one of this with understudy export {model} --output FOLDER."
        )
    return onnx
