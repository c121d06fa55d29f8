"""What of a folder goes to the hub, and what stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from understudy.checksums import saved_files
from understudy.errors import ModelError
from understudy.inference.exported.facts import BAG, GRAPH, MOBILE, SAMPLE, TOKENIZER
from understudy.models.files.names import EXPORTED, kind_of

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
        ModelError: if `onnx` is no exported folder.
    """
    found = [PushedFile(CARD, card.encode())]
    found += [PushedFile(path.name, path) for path in _of(model)]
    if run is not None:
        plots = [path for path in sorted((run / "plots").glob("*.png")) if not path.is_symlink()]
        found += [PushedFile(f"plots/{path.name}", path) for path in plots]
    if onnx is not None:
        if kind_of(onnx) != EXPORTED:
            raise ModelError(f"{onnx}: is no exported model. Make one with understudy export {model} --output FOLDER.")
        found += [PushedFile(f"onnx/{path.name}", path) for path in _of(onnx)]
    return found


def left_behind(folder: Path, files: list[PushedFile]) -> list[str]:
    """The names of the files and folders that lie in a folder, or beside a model in it, and do not go."""
    taken = {one.source for one in files if isinstance(one.source, Path)}
    kept = list[str]()
    for path in sorted(folder.iterdir()):
        inside = set(path.rglob("*")) if path.is_dir() else {path}
        if path.name != CARD and not inside & taken:
            kept.append(f"{path.name}/" if path.is_dir() else path.name)
    return kept


def _of(folder: Path) -> Iterator[Path]:
    """The files of a model folder."""
    saved = saved_files(folder)
    exported = kind_of(folder) == EXPORTED
    for path in sorted(folder.iterdir()):
        ours = path.name in _EXPORTED if exported else path.name in saved if saved else _OF_A_MODEL.fullmatch(path.name)
        if ours and path.is_file() and not path.is_symlink():
            yield path
