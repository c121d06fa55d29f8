"""Where AdapterHub's adapters are: identifiers of before, and the repositories of today's hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from understudy.errors import ModelError
from understudy.models.files.names import adapter_folder, run_name

_IDENTIFIER = re.compile(r"(?P<task>[\w-]+)/(?P<subtask>[\w.-]+)@(?P<who>[\w.-]+)")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")
_LANGUAGES = "wiki"
"""The subtask of the adapters for languages, most of which are called in another way."""
_EXCEPTIONS = {("roberta-base", "sentiment", "sst-2", "pfeiffer"): "roberta-base-sst_pfeiffer"}
"""Repositories that are not called as the rule says, by base, task, subtask and kind."""


def repositories(identifier: str, *, base: str, kind: str) -> list[str]:
    """The hub repositories where an adapter may be by its identifier of before, the likeliest first.

    Each task has one; of the adapters for languages the earlier ones are called in another way than the later ones.

    Args:
        identifier: ``task/subtask@author``.
        base: the base's name on the hub.
        kind: ``pfeiffer`` or ``houlsby``.

    Raises:
        ModelError: if it is no identifier.

    Example:
        >>> repositories("sentiment/sst-2@ukp", base="google-bert/bert-base-uncased", kind="pfeiffer")
        ['AdapterHub/bert-base-uncased_sentiment_sst-2_pfeiffer']
        >>> repositories("en/wiki@ukp", base="xlm-roberta-base", kind="pfeiffer")
        ['AdapterHub/xlm-roberta-base-en-wiki_pfeiffer', 'AdapterHub/xlm-roberta-base_en_wiki_pfeiffer']
    """
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None:
        raise ModelError(
            f"{identifier}: is no identifier of AdapterHub. Give a folder, a hub id, or task/subtask@author, such as sentiment/sst-2@ukp."
        )
    model = base.rpartition("/")[2]
    task, subtask = match["task"], match["subtask"]
    known = _EXCEPTIONS.get((model, task, subtask, kind))
    found = [known or f"{model}_{task}_{subtask}_{kind}"]
    if subtask == _LANGUAGES:
        found.insert(0, f"{model}-{task}-{subtask}_{kind}")
    return [f"AdapterHub/{name}" for name in found]


def fetched(name: str, *, base: str, kind: str = "pfeiffer") -> Path:
    """The folder that a name stands for: itself, or what the hub has under that id or identifier.

    Args:
        base, kind: as in :func:`repositories`.

    Raises:
        ModelError: if there is no such folder or repository.
    """
    path = Path(name).expanduser()
    if path.exists():
        folder = adapter_folder(path)
        if folder is None:
            raise ModelError(f"{name}: holds no adapter_config.json, so it is no adapter. Name the folder of one.")
        return folder
    if "@" in name:
        found = repositories(name, base=base, kind=kind)
    elif _REPOSITORY.fullmatch(name) and not path.parent.is_dir():
        found = [name]
    else:
        raise ModelError(f"{name}: there is no such folder. Name the folder of an adapter, or a hub id.")
    fault: Exception | None = None
    for repository in found:
        try:
            return Path(snapshot_download(repository, allow_patterns=["*.json", "*.bin", "*.safetensors"]))
        except Exception as error:  # the hub's client raises many classes
            fault = error
    reason = " ".join(str(fault).split())[:200].rstrip(".")
    raise ModelError(
        f"{name}: is not a folder here, and {' and '.join(found)} could not be loaded from the hub: {reason}. Check the name and the network; an adapter that is called otherwise can be given by its hub id."
    ) from fault


def name_of(name: str, folder: Path) -> str:
    """What an adapter is called if nobody says: as its run, or as the end of its hub id or identifier, without dots.

    Args:
        name: as it was asked for.
        folder: where its files are, see :func:`fetched`.

    Example:
        >>> name_of("sentiment/sst-2@ukp", Path("cache/snapshots/0a1b")), name_of("someone/v1.2", Path("cache/0a1b"))
        ('sst-2', 'v1_2')
    """
    if Path(name).expanduser().exists():
        return run_name(folder)
    return name.rpartition("@")[0 if "@" in name else 2].rpartition("/")[2].replace(".", "_")
