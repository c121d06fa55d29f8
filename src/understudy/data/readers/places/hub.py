"""Data sets of the ``datasets`` library: on the hub, or in a folder that ``save_to_disk`` wrote."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.resources.abc import Traversable
from pathlib import Path

from understudy.data.readers.faults import Faults
from understudy.data.readers.places.source import Source, dataset_source
from understudy.data.readers.places.split_names import note_idle, one_each, splits_of
from understudy.errors import nearest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""What the name of a hub data set looks like."""


def is_saved(folder: Traversable) -> bool:
    """Whether ``save_to_disk`` of ``datasets`` wrote a folder."""
    alone = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return alone or (folder / "dataset_dict.json").is_file()


def saved_splits(
    folder: Traversable, origin: str, given: Collection[str], faults: Faults, notes: list[str]
) -> dict[str, Source] | None:
    """The splits of a folder that ``save_to_disk`` of ``datasets`` wrote, without those that are given otherwise; None if it
    is another folder.
    """
    if not is_saved(folder):
        return None
    several = (folder / "dataset_dict.json").is_file()
    if not isinstance(folder, Path):
        faults.add(f"{origin}: a data set that save_to_disk wrote, inside an archive. Unpack it, and name the folder.")
        return {}
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # `datasets` passes on whatever its parsers raise
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        faults.add(
            f"{origin}: looks like a data set that save_to_disk wrote, but cannot be loaded ({first.rstrip('.')})."
        )
        return {}
    if not several:
        return {} if "train" in given else {"train": dataset_source(found, origin)}
    chosen = one_each(origin, "splits", [str(split) for split in found], given, faults, notes)
    return {split: dataset_source(found[name], f"{origin}[{name}]") for split, name in chosen.items()}


def hub_splits(name: str, given: Collection[str], faults: Faults, notes: list[str]) -> dict[str, Source]:
    """The splits of a hub data set without those that are given otherwise; none, and a fault, if there is no such one."""
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
    note_idle(name, "splits", [str(split) for split in splits if str(split) not in chosen.values()], notes)
    return {split: dataset_source(splits[found], f"{name}[{found}]") for split, found in chosen.items()}
