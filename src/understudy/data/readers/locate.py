"""Where the splits are: in a file, a folder of splits or a hub data set, or in files named one by one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.readers.delimited import FORMAT_ENDINGS, format_of
from understudy.data.readers.faults import Faults
from understudy.data.readers.split_names import numbered, splits_of
from understudy.errors import nearest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""What the name of a hub data set looks like."""
_NO_DATA = re.compile(r"\..*|(readme|licen[cs]e|citation|notice|changelog)\b.*|.*\.md", re.IGNORECASE)
"""Names of files that nobody takes for data."""


@dataclass(frozen=True)
class Source:
    """One split: a file, several that are parts of it, or a split of a hub data set."""

    origin: str
    path: Path | None = None
    shards: tuple[Path, ...] = ()
    dataset: Any = None


def locate(
    data: str | None, named: dict[str, str | None], faults: Faults, notes: list[str], *, pool: str | None = None
) -> dict[str, Source]:
    """The sources of the splits. A file in `named` replaces that split of `data`.

    Args:
        notes: files and splits of `data` that are not used are added.
        pool: a file that is used as well.

    Returns:
        The splits that were found. ``train`` is among them unless there are faults.
    """
    given = {split: name for split, name in named.items() if name is not None}
    used = [Path(name).expanduser() for name in (*given.values(), *([] if pool is None else [pool]))]
    found = {} if data is None else _locate_data(data, given, used, faults, notes)
    for split, name in given.items():
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


def _locate_data(
    data: str, given: Collection[str], used: Sequence[Path], faults: Faults, notes: list[str]
) -> dict[str, Source]:
    """The splits of a file (all training rows), a folder or a hub data set, without those that are `given` otherwise."""
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(data, path, given, used, faults, notes)
    if path.exists():
        if "train" not in given:
            return {"train": Source(data, path)}
        notes.append(f"{data}: not read, because --train names the training split.")
        return {}
    in_folder = path.parent != Path() and path.parent.is_dir()
    if format_of(path)[0] is not None or in_folder:
        locate_file(data, faults)
        return {}
    if not HUB_ID.fullmatch(data):
        faults.add(
            f"'{data}' is neither a file or folder here nor the name of a hub data set (such as 'imdb' or 'owner/name'). Check the path."
        )
        return {}
    return _hub(data, given, faults, notes)


def _folder(
    data: str, folder: Path, given: Collection[str], used: Sequence[Path], faults: Faults, notes: list[str]
) -> dict[str, Source]:
    entries = sorted(folder.iterdir())
    files = {entry.name: _stem(entry) for entry in entries if entry.is_file() and format_of(entry)[0] is not None}
    found = splits_of(files)
    if not found and "train" not in given:
        there = ", ".join(entry.name + "/" * entry.is_dir() for entry in entries[:10]) or "nothing"
        faults.add(
            f"{data}: a folder without a split. Looked for train, validation (or valid, val, dev, eval) and test in the names of files that end in {FORMAT_ENDINGS}, but found {there}. Rename the files, or name them with --train, --validation and --test."
        )
    base = data.rstrip("/") or "/"
    sources: dict[str, Source] = {}
    for split, names in found.items():
        if split in given:
            continue
        parts = numbered(names)
        if parts is None and len(names) > 1:
            faults.add(
                f"{data}: {' and '.join(names)} are both the {split} split. Remove one, or name the right one with --{split}."
            )
        elif parts is not None and parts.missing:
            faults.add(
                f"{data}: the {split} split has {parts.total} files, but number {' and '.join(map(str, parts.missing))} is missing. Copy the missing ones, or name a single file with --{split}."
            )
        if len(names) == 1 or parts is None:
            sources[split] = Source(f"{base}/{names[0]}", folder / names[0])
        else:
            sources[split] = Source(f"{base}/{parts.name}", shards=tuple(folder / name for name in parts.files))
    read = {path.resolve() for path in used} | {
        path.resolve() for source in sources.values() for path in (source.path, *source.shards) if path is not None
    }
    idle = [entry.name for entry in entries if entry.is_file() and entry.resolve() not in read]
    _note_idle(data, "files", [name for name in idle if not _NO_DATA.fullmatch(name)], notes)
    folders = {entry.name: entry.name for entry in entries if entry.is_dir() and any(entry.iterdir())}
    named = [f"{name}/" for names in splits_of(folders).values() for name in names]
    _note_idle(data, "folders", named, notes)
    return sources


def _stem(path: Path) -> str:
    """The name of a file without the ending of its format."""
    kind, zipped = format_of(path)
    return path.name[: len(path.name) - len(f".{kind}") - len(".gz") * zipped]


def _note_idle(data: str, what: str, names: Sequence[str], notes: list[str]) -> None:
    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        notes.append(f"{data}: {what} that are not read as a split: {', '.join(names[:10])}{more}.")


def _hub(name: str, given: Collection[str], faults: Faults, notes: list[str]) -> dict[str, Source]:
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
    known = splits_of({str(split): str(split) for split in splits})
    if not known:
        faults.add(
            f"'{name}': the hub data set has no train, validation or test split, only {', '.join(map(str, splits))}. Download it and name files with --train."
        )
    chosen = {split: names[0] for split, names in known.items() if split not in given}
    _note_idle(name, "splits", [str(split) for split in splits if str(split) not in chosen.values()], notes)
    return {split: Source(f"{name}[{found}]", dataset=splits[found]) for split, found in chosen.items()}
