"""Where the files of a task are: in its folder below a root, or on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.data.glue.roots import diagnostic_files, task_folder, task_folders
from understudy.data.glue.tasks import GLUE, HUB, ONE_FILE, WITH_LABELS, GlueTask, simple_name
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.files import format_of, stem_of
from understudy.data.readers.places.hub import HUB_ID
from understudy.data.readers.places.source import How, Source, dataset_source, file_source, joined_source
from understudy.data.readers.places.split_names import numbered, splits_of

_LOOKED_FOR = {"train": "train", "validation": "dev or validation", "test": "test"}
_OF_MNLI = {
    "validation": "dev_matched or validation_matched",
    "validation_mismatched": "dev_mismatched or validation_mismatched",
    "test": "test_matched",
    "test_mismatched": "test_mismatched",
}
_NO_ROWS = "devids"
"""What GLUE's ``dev_ids.tsv`` for MRPC ends with: it says which rows are those of the development set, and holds none."""


def to_be_had(task: GlueTask) -> str:
    """Where a task's data is to be had today, as the end of a message."""
    return f"It is on the hub (--data {HUB}), and the official files are at {task.source}.{task.how}"


def is_on_hub(root: str) -> bool:
    """Whether a root is the name of a data set on the hub, with its owner, and no folder."""
    return not Path(root).expanduser().exists() and HUB_ID.fullmatch(root) is not None and "/" in root


def glue_sources(root: str, task: GlueTask, faults: Faults) -> dict[str, Source]:
    """The sources of a task's splits: ``train``, ``validation`` and ``test``; of MNLI ``validation_mismatched`` too.

    Whether the needed ones are there is for the caller to say; empty, with a fault, if there is nothing.
    """
    folders = task_folders(root, task)
    if len(folders) > 1:
        names = " and ".join(f"{folder.name}/" for folder in folders)
        faults.add(f"{root}: {names} are all folders of {task.folder}. Keep one of them, or rename the others.")
    folder = next(iter(folders), None)
    if folder is None and task.name == "ax" and has_diagnostic(root):
        folder = Path(root).expanduser()
    if folder is not None:
        return _in_folder(root, folder, task, faults)
    if is_on_hub(root):
        return _on_hub(root, task, faults)
    if not Path(root).expanduser().exists():
        faults.add(
            f"{root}: there is no such folder. Name the one that holds {task.folder}/ with --data. {to_be_had(task)}"
        )
        return {}
    there = ", ".join(f"{entry.name}/" for entry in sorted(Path(root).expanduser().iterdir()) if entry.is_dir())
    faults.add(
        f"{root}: no folder for {task.folder}. Looked for {task.folder}/ or {task.name}/ (case and signs do not matter), but found {there or 'no folder'}. {to_be_had(task)}"
    )
    return {}


def missing_split(origin: str, split: str, task: GlueTask) -> str:
    """The message for a split that is needed and not there."""
    if task.name == "ax":
        return f"{origin}: no diagnostic set. Looked for diagnostic.tsv or AX.tsv, here or in a folder diagnostic/ or ax/. {to_be_had(task)}"
    names = (_OF_MNLI if task.name == "mnli" else _LOOKED_FOR).get(split) or _LOOKED_FOR[split]
    return f"{origin}: no {split} split of {task.folder}. Looked for {names} as .tsv, .csv, .jsonl or .parquet, also with .gz. {to_be_had(task)}"


def place_of(root: str, task: GlueTask) -> str:
    """Where a task's files are, for messages: its folder below a root as the user wrote that, or the root."""
    folder = task_folder(root, task)
    within = folder is not None and folder != Path(root).expanduser()
    return f"{root.rstrip('/')}/{folder.name}" if folder is not None and within else root.rstrip("/")


def has_diagnostic(root: str) -> bool:
    """Whether there are files of the diagnostic set: in a folder of its own, or in the root itself, as its source gives them."""
    if any(_tables(folder) for folder in task_folders(root, GLUE["ax"])):
        return True
    return any(format_of(file)[0] not in (None, "txt") for file in diagnostic_files(root))


def _tables(folder: Path) -> dict[str, str]:
    """The tables in a folder and their names without what says the format."""
    return {
        entry.name: stem_of(entry)
        for entry in sorted(folder.iterdir())
        if entry.is_file() and format_of(entry)[0] not in (None, "txt")
    }


def _in_folder(root: str, folder: Path, task: GlueTask, faults: Faults) -> dict[str, Source]:
    base, stems = place_of(root, task), _tables(folder)
    if task.name == "ax":  # its file is called diagnostic or AX; with labels diagnostic-full
        tests = {name: "test" for name, stem in stems.items() if simple_name(stem) in (*ONE_FILE, "test")}
        full = {name: "validation" for name, stem in stems.items() if simple_name(stem) == WITH_LABELS}
        stems = {**tests, **full} if tests else dict.fromkeys(full or stems, "test")
    stems = {name: stem for name, stem in stems.items() if not simple_name(stem).endswith(_NO_ROWS)}
    other = {name: stem.lower().replace("mismatched", "") for name, stem in stems.items() if "mismatched" in stem}
    found = splits_of({name: stem.replace("_matched", "") for name, stem in stems.items() if name not in other})
    found |= {f"{split}_mismatched": names for split, names in splits_of(other).items()}
    sources = {}
    for split, names in found.items():
        parts = numbered(names)
        if len(names) > 1 and (parts is None or parts.missing):
            faults.add(f"{base}: {' and '.join(names)} are all the {split} split of {task.folder}. Keep one of them.")
            continue
        whole = parts.files if parts is not None and len(names) > 1 else names[:1]
        made = [file_source(folder / name, f"{base}/{name}", faults, How(table=True)) for name in whole]
        found_parts = [source for source in made if source is not None]
        if len(found_parts) == len(whole):
            joined = parts is not None and len(names) > 1
            sources[split] = joined_source(found_parts, f"{base}/{parts.name}") if joined and parts else found_parts[0]
    if not sources and not faults:
        faults.add(missing_split(base, "test" if task.name == "ax" else "train", task))
    return sources


def _on_hub(name: str, task: GlueTask, faults: Faults) -> dict[str, Source]:
    import datasets

    try:
        splits: Any = datasets.load_dataset(name, task.name)
    except Exception as error:  # `datasets` passes on whatever its network, its parsers and its cache raise
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        faults.add(
            f"'{name}': no folder here, and the hub gives no '{task.name}' of it ({first.rstrip('.')}). Check the name and the network. {to_be_had(task)}"
        )
        return {}
    return {
        split.removesuffix("_matched"): dataset_source(splits[split], f"{name}/{task.name}[{split}]")
        for split in map(str, _known(splits))
    }


def _known(splits: Any) -> Sequence[str]:
    wanted = ("train", "validation", "test")
    return [split for split in splits if str(split).removesuffix("_mismatched").removesuffix("_matched") in wanted]
