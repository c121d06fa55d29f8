"""Where the splits are: in a file, a folder of splits or a hub data set, or in files named one by one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.excel import sheet_names
from understudy.data.readers.formats.files import FORMAT_ENDINGS, DataFile, format_of, stem_of
from understudy.data.readers.formats.json_files import json_tables
from understudy.data.readers.formats.parsed import Parsed, Unreadable
from understudy.data.readers.formats.streams import special
from understudy.data.readers.places.archives import entries, is_archive, unpacked
from understudy.data.readers.places.hub import HUB_ID, hub_splits, saved_splits
from understudy.data.readers.places.in_python import held_sources
from understudy.data.readers.places.names import is_held
from understudy.data.readers.places.source import (
    AS_IT_IS,
    How,
    Source,
    file_source,
    joined_source,
)
from understudy.data.readers.places.split_names import note_idle, numbered, one_each, splits_of
from understudy.data.readers.places.text_files import (
    class_folders,
    class_source,
    folder_splits,
    paired_source,
    text_and_label_files,
    text_files,
    texts_source,
)
from understudy.errors import nearest

_NO_DATA = re.compile(r"\..*|(readme|licen[cs]e|citation|notice|changelog)\b.*|.*\.md", re.IGNORECASE)
"""Names of files that nobody takes for data."""


def locate(
    data: str | None,
    named: dict[str, str | None],
    faults: Faults,
    notes: list[str],
    *,
    pool: str | None = None,
    how: How = AS_IT_IS,
) -> dict[str, Source]:
    """The sources of the splits. A file in `named` replaces that split of `data`.

    Args:
        notes: files and splits of `data` that are not used are added.
        pool: a file that is used as well.
        how: how files are read.

    Returns:
        The splits that were found. ``train`` is among them unless there are faults.
    """
    given = {split: name for split, name in named.items() if name is not None}
    used = [Path(name).expanduser() for name in (*given.values(), *([] if pool is None else [pool]))]
    before = faults.count
    found = {} if data is None else _locate_data(data, _Roles(given, used, how), faults, notes)
    for split, name in given.items():
        source = locate_file(name, faults, how, notes, role=split)
        if source is not None:
            found[split] = source
    if "train" not in found and faults.count == before:
        if data is None:
            faults.add(
                "no training data. Name a file, a folder of splits or a hub data set with --data, or a file with --train."
            )
        else:
            faults.add(f"{data}: no training split, only {', '.join(sorted(found))}. Name a file with --train.")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


class _Roles(NamedTuple):
    """What the user named beside ``--data``."""

    given: Collection[str]
    """Splits that other files are."""
    used: Sequence[Path]
    how: How


def locate_file(
    name: str, faults: Faults, how: How = AS_IT_IS, notes: list[str] | None = None, *, role: str = ""
) -> Source | None:
    """What a single name stands for: a file, an archive with one, a folder of texts, rows in Python.

    Args:
        role: the split that it is, for what has no name of its own.

    Returns:
        None, with a fault, if there is no such thing or it holds more than one split.
    """
    if is_held(name):
        held = held_sources(name, faults, [] if notes is None else notes, role=role)
        if len(held) > 1:
            faults.add(
                f"{name}: holds the splits {', '.join(held)}, but one is needed. Give {role or 'the'} rows alone."
            )
        return next(iter(held.values())) if len(held) == 1 else None
    path: Traversable = Path(name).expanduser()
    if not path.is_dir() and not Path(name).expanduser().exists():
        _missing(name, Path(name).expanduser(), faults)
        return None
    origin = name
    if path.is_file() and is_archive(path):  # type: ignore[arg-type]
        inside = unpacked(path, name, faults)  # type: ignore[arg-type]
        if inside is None:
            return None
        path, origin = inside
    if not path.is_dir():
        return file_source(path, origin, faults, how)
    base = origin.rstrip("/") or "/"
    if class_folders(path):
        return class_source(path, base, how, [] if notes is None else notes)
    if text_files(path):
        return texts_source(path, base, how)
    disk = saved_splits(path, name, (), faults, [] if notes is None else notes)
    if disk is not None:
        if len(disk) > 1:
            faults.add(
                f"{name}: holds the splits {', '.join(disk)}, but one is needed. Name the folder of one of them."
            )
        return next(iter(disk.values())) if len(disk) == 1 else None
    return file_source(path, origin, faults, how)


def _missing(name: str, path: Path, faults: Faults) -> None:
    guess = (
        nearest(path.name, [entry.name for entry in path.parent.iterdir()])
        if path.parent.is_dir()
        else f" There is no folder '{path.parent}' either."
    )
    faults.add(f"{name}: no such file.{guess or ' Check the path.'}")


def _locate_data(data: str, roles: _Roles, faults: Faults, notes: list[str]) -> dict[str, Source]:
    """The splits of a file, a folder, an archive, a hub data set or rows in Python, without those that are given otherwise."""
    if is_held(data):
        held = held_sources(data, faults, notes)
        return {split: source for split, source in held.items() if split not in roles.given}
    path = Path(data).expanduser()
    if path.is_dir():
        return _folder(data, path, roles, faults, notes)
    if path.exists():
        return _file(data, path, roles, faults, notes)
    in_folder = path.parent != Path() and path.parent.is_dir()
    if format_of(path)[0] is not None or in_folder:
        _missing(data, path, faults)
        return {}
    if not HUB_ID.fullmatch(data):
        faults.add(
            f"'{data}' is neither a file or folder here nor the name of a hub data set (such as 'imdb' or 'owner/name'). Check the path."
        )
        return {}
    return hub_splits(data, roles.given, faults, notes)


def _file(data: str, path: Path, roles: _Roles, faults: Faults, notes: list[str]) -> dict[str, Source]:
    """The splits of a file: all training rows, unless it is one of several splits."""
    place: Traversable = path
    origin = data
    if is_archive(path):
        inside = unpacked(path, data, faults)
        if inside is None:
            return {}
        place, origin = inside
        if place.is_dir():
            return _folder(origin, place, roles, faults, notes)
    parts = _parts(place, origin, roles.how, faults)
    if parts is None:
        return {}
    if splits_of({part: part for part in parts}):
        what = "sheets" if format_of(place)[0] == "xlsx" else "tables"
        chosen = one_each(origin, what, parts, roles.given, faults, notes)
        made = {s: file_source(place, f"{origin}[{part}]", faults, roles.how, part=part) for s, part in chosen.items()}
        return {split: source for split, source in made.items() if source is not None}
    if "train" in roles.given:
        notes.append(f"{data}: not read, because --train names the training split.")
        return {}
    source = file_source(place, origin, faults, roles.how)
    return {} if source is None else {"train": source}


def _parts(place: Traversable, origin: str, how: How, faults: Faults) -> list[str] | None:
    """The names of the tables that a single file holds; empty if it is one table. None, and a fault, if it cannot be read."""
    kind, zipped = format_of(place)
    if kind not in ("json", "xlsx") or special(place):
        return []
    file = DataFile(place, origin, kind, zipped, how.reading)
    try:
        if kind == "json":
            return json_tables(file.text(Parsed(origin, Faults())), origin)
        with file.seekable() as source:
            return sheet_names(source, origin)
    except Unreadable as error:
        faults.add(str(error))
    except OSError as error:
        faults.add(f"{origin}: cannot be read ({error.strerror or error}). Check the path and its permissions.")
    return None


def _folder(data: str, folder: Traversable, roles: _Roles, faults: Faults, notes: list[str]) -> dict[str, Source]:
    disk = saved_splits(folder, data, roles.given, faults, notes)
    if disk is not None:
        return disk
    base = data.rstrip("/") or "/"
    inside = entries(folder)
    data_files = {entry.name: entry for entry in inside if entry.is_file() and format_of(entry)[0] is not None}
    paired = text_and_label_files({entry.name: entry for entry in inside if entry.is_file()})
    beside = {name for pair in paired.values() for name in pair}
    found = splits_of({name: stem_of(entry) for name, entry in data_files.items() if name not in beside})
    sources = {
        split: paired_source(folder / text, folder / label, base, roles.how)
        for split, (text, label) in paired.items()
        if split not in {*roles.given, *found}
    }
    for split, names in found.items():
        source = _of_split(data, folder, split, names, roles, faults) if split not in roles.given else None
        if source is not None:
            sources[split] = source
    if not found and not paired:
        sources = _class_folders(base, folder, roles, notes)
    if not sources and not found and "train" not in roles.given:
        there = ", ".join(entry.name + "/" * entry.is_dir() for entry in inside[:10]) or "nothing"
        faults.add(
            f"{data}: a folder without a split. Looked for train, validation (or valid, val, dev, eval) and test in the names of files that end in {FORMAT_ENDINGS}, and for a folder of texts for each class, but found {there}. Rename the files, or name them with --train, --validation and --test."
        )
    read = {name for split, pair in paired.items() if split in sources for name in pair}
    read |= {part.path.name for source in sources.values() for part in (source, *source.parts) if part.path is not None}
    used = {path.resolve() for path in roles.used}
    idle = [
        e for e in inside if e.is_file() and e.name not in read and not (isinstance(e, Path) and e.resolve() in used)
    ]
    note_idle(data, "files", [entry.name for entry in idle if not _NO_DATA.fullmatch(entry.name)], notes)
    if found or paired or not sources:
        folders = {entry.name: entry.name for entry in inside if entry.is_dir() and any(entry.iterdir())}
        named = [f"{name}/" for names in splits_of(folders).values() for name in names]
        note_idle(data, "folders", named, notes)
    return sources


def _of_split(
    data: str, folder: Traversable, split: str, names: list[str], roles: _Roles, faults: Faults
) -> Source | None:
    """One split of a folder: a file, or several that are its parts."""
    base = data.rstrip("/") or "/"
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
        return file_source(folder / names[0], f"{base}/{names[0]}", faults, roles.how)
    made = [file_source(folder / name, f"{base}/{name}", faults, roles.how) for name in parts.files]
    whole = [source for source in made if source is not None]
    return joined_source(whole, f"{base}/{parts.name}") if len(whole) == len(made) else None


def _class_folders(base: str, folder: Traversable, roles: _Roles, notes: list[str]) -> dict[str, Source]:
    """The splits of a folder with a folder for each class, in folders of splits or all for training."""
    places = folder_splits(folder)
    if not places and class_folders(folder) and "train" not in roles.given:
        return {"train": class_source(folder, base, roles.how, notes)}
    return {
        split: class_source(place, f"{base}/{place.name}", roles.how, notes)
        for split, place in places.items()
        if split not in roles.given
    }
