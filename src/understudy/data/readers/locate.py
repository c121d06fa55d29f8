"""Where the splits are: in a file, a folder of splits or a hub data set, or in files named one by one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.readers.delimited import FORMAT_ENDINGS, format_of
from understudy.data.readers.faults import Faults
from understudy.errors import nearest

_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Source:
    """One split: a file, or a split of a hub data set."""

    origin: str
    path: Path | None = None
    dataset: Any = None


def locate(data: str | None, named: dict[str, str | None], faults: Faults) -> dict[str, Source]:
    """The sources of the splits. A file in `named` replaces that split of `data`.

    Returns:
        The splits that were found. ``train`` is among them unless there are faults.
    """
    found = locate_data(data, faults) if data is not None else {}
    for split, name in named.items():
        if name is not None:
            found.pop(split, None)
            source = locate_file(name, faults)
            if source is not None:
                found[split] = source
    if "train" not in found and not faults:
        if data is None:
            faults.add(
                "no training data. Name a file, a folder of splits or a hub data set with --data, or a file with --train."
            )
        else:
            faults.add(f"{data}: no training split, only {', '.join(sorted(found))}. Name a file with --train.")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def locate_file(name: str, faults: Faults) -> Source | None:
    """An existing file; None, and a fault, if it does not exist."""
    path = Path(name).expanduser()
    if path.exists():
        return Source(name, path)
    guess = (
        nearest(path.name, [entry.name for entry in path.parent.iterdir()])
        if path.parent.is_dir()
        else f" There is no folder '{path.parent}' either."
    )
    faults.add(f"{name}: no such file.{guess or ' Check the path.'}")
    return None


def locate_data(data: str, faults: Faults) -> dict[str, Source]:
    """The splits of a file (all training rows), a folder or a hub data set."""
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(data, path, faults)
    if path.exists():
        return {"train": Source(data, path)}
    in_folder = path.parent != Path() and path.parent.is_dir()
    if format_of(path)[0] is not None or in_folder:
        locate_file(data, faults)
        return {}
    if not _HUB_ID.fullmatch(data):
        faults.add(
            f"'{data}' is neither a file or folder here nor the name of a hub data set (such as 'imdb' or 'owner/name'). Check the path."
        )
        return {}
    return _hub(data, faults)


def _folder(data: str, folder: Path, faults: Faults) -> dict[str, Source]:
    found: dict[str, list[str]] = {}
    entries = sorted(folder.iterdir())
    for entry in entries:
        kind, _ = format_of(entry)
        stem = entry.name.lower().removesuffix(".gz").removesuffix(f".{kind}")
        if kind is not None and stem in _SPLITS and entry.is_file():
            found.setdefault(_SPLITS[stem], []).append(entry.name)
    base = data.rstrip("/") or "/"
    if not found:
        there = ", ".join(entry.name + "/" * entry.is_dir() for entry in entries[:10]) or "nothing"
        faults.add(
            f"{data}: a folder without a split. Looked for train, validation (or valid, dev) and test, each ending in {FORMAT_ENDINGS}, but found {there}. Rename the files, or name them with --train, --validation and --test."
        )
    for split, names in found.items():
        if len(names) > 1:
            faults.add(
                f"{data}: {' and '.join(names)} are both the {split} split. Remove one, or name the right one with --{split}."
            )
    return {split: Source(f"{base}/{names[0]}", folder / names[0]) for split, names in found.items()}


def _hub(name: str, faults: Faults) -> dict[str, Source]:
    import datasets

    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # `datasets` passes on whatever its network, its parsers and its cache raise
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        guess = nearest(name, [entry.name for entry in Path().iterdir()])
        faults.add(
            f"'{name}': no file or folder here, and the hub has no data set of that name ({first.rstrip('.')}). Check the name and the network.{guess}"
        )
        return {}
    found: dict[str, Source] = {}
    for split, dataset in splits.items():
        known = _SPLITS.get(str(split).lower())
        if known is not None and known not in found:
            found[known] = Source(f"{name}[{split}]", dataset=dataset)
    if not found:
        faults.add(
            f"'{name}': the hub data set has no train, validation or test split, only {', '.join(map(str, splits))}. Download it and name files with --train."
        )
    return found
