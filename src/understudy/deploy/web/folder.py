"""An exported model as a folder that any static server can host: the model, the page, and what it needs of npm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.tasks import Text
from understudy.deploy.web.agreement import Agreement, agreement, check_agreement
from understudy.deploy.web.packages import ONNXRUNTIME, TOKENIZERS, package_files
from understudy.deploy.web.reading import reading_of
from understudy.errors import ModelError
from understudy.inference.exported.facts import BAG, GRAPH, TOKENIZER
from understudy.inference.exported.predictor import ExportedPredictor

_PAGE = Path(__file__).parent / "page"
_LICENCE = "LICENSE-onnxruntime.txt"
"""The archive of onnxruntime-web has no licence file, so its text is kept with the page."""


def write_web(
    folder: Path,
    source: ExportedPredictor,
    texts: Sequence[Text],
    *,
    title: str,
    tolerance: float,
    npm_folder: str | None = None,
) -> tuple[dict[str, int], Agreement | None]:
    """Write the folder of a page. It appears whole or not at all, and is an exported folder, too.

    Args:
        source: an exported model, with weights of any type.
        texts: on which the page's code, run by Node, and the model must agree.
        title: what the page calls the model.
        tolerance: see :func:`understudy.deploy.web.agreement.check_agreement`.
        npm_folder: where the packages of npm are, instead of its registry.

    Returns:
        The bytes that a visitor loads, by name; and what was compared, None where Node is not installed.

    Raises:
        ModelError: if the packages cannot be had, or the page cannot answer as the model does.
        OutputError: if the folder cannot be written.
    """
    if (source.folder / f"{GRAPH}.data").is_file():
        raise ModelError(
            f"{source.folder}: its weights are above 1.5 GB, which is too much for a page. Distil it into a smaller model, such as bilstm or static."
        )
    bag = (source.folder / BAG).is_file()
    packages = (TOKENIZERS,) if bag else (TOKENIZERS, ONNXRUNTIME)
    vendored = {name: content for one in packages for name, content in package_files(one, folder=npm_folder).items()}
    with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
        for path in sorted(_PAGE.iterdir()):
            if path.is_file() and not (bag and path.name == _LICENCE):
                shutil.copyfile(path, temporary / path.name)
        for name, content in vendored.items():
            (temporary / name).write_bytes(content)
        for name in (TOKENIZER, BAG if bag else GRAPH):
            shutil.copyfile(source.folder / name, temporary / name)
        about = {
            "title": title,
            "graph": not bag,
            "reading": reading_of(source.encoder.content, pair=source.task.is_pair),
            "packages": {one.name: one.version for one in packages},
            "checked": None,
        }
        loaded = _write_facts(temporary, source, about)
        found = agreement(temporary, source, texts)
        if found is not None:
            check_agreement(folder, found, source, texts, tolerance=tolerance)
            loaded = _write_facts(temporary, source, about | {"checked": asdict(found)})
        list_checksums(temporary, without="config.json")
    return loaded, found


def _write_facts(folder: Path, source: ExportedPredictor, about: dict[str, Any]) -> dict[str, int]:
    """Write config.json, with what only the page needs under ``web``, and package.json; the bytes that are loaded."""
    needed = {"name": "understudy-page", "private": True, "type": "module", "dependencies": about["packages"]}
    (folder / "package.json").write_text(json.dumps(needed, indent=1) + "\n", encoding="utf-8")
    unloaded = {"config.json", "package.json", "checksums.json", "_headers"}
    loaded = {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.name not in unloaded and not path.name.startswith("LICENSE")
    }
    told = json.loads(source.facts.as_config())
    told["understudy"]["web"] = about | {"files": loaded}
    (folder / "config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return loaded
