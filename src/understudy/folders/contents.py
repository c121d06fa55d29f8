"""What is in a run folder: what a run wrote, what is somebody else's, what the command itself reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from understudy.atomic import is_temporary

MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "*.codes", "*.spm", "*.vocab", "*.tokenizer")
"""The names of the files that saving a model and its tokenizer writes."""
_FILES = ("record.json", "config.yaml", "README.md", "progress.csv", "lr_find*.csv", "lr_find*.png")
_FOLDERS: Mapping[str, Sequence[str] | None] = {
    "model": MODEL_FILES,
    "plots": ("*.png",),
    "checkpoints": ("*.pt",),
    "teacher_words": ("*.bin",),
    "tracking": None,
}
"""The folders of a run and the files in them; None for a tracker's, which has whatever it likes."""
GLUE_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
"""The folders of the tasks of ``understudy glue --task all``."""
_GLUE = {"submission": ("*.tsv",)}
_OF_ONE_TASK = ("best-", "finetuned-")
"""How the folders begin that hold the model of one of several tasks."""
_GLUE_FILES = ("eval_results.json", "eval_results_*.txt", "submission.zip")
_DEMO = {"data": ("train.csv", "validation.csv", "test.csv", "pool.txt")}


def strangers(folder: Path) -> list[Path]:
    """What lies in a run folder, or in those of its children, and was not written by a run; links are never ours."""
    about = _read(folder / "record.json")
    children, own = set(_children(about)), dict(_FOLDERS)
    if about.get("command") == "demo":
        own |= _DEMO
    files: tuple[str, ...] = _FILES
    if about.get("command") == "glue":
        own |= _GLUE
        files += _GLUE_FILES
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not (entry.is_dir() or is_temporary(entry) or _fits(entry, files)):
            found.append(entry)
        elif entry.is_dir() and not is_temporary(entry):
            if entry.name in children:
                found += strangers(entry)
            elif about.get("command") == "glue" and entry.name.startswith(_OF_ONE_TASK):
                found += _others(entry, MODEL_FILES)
            elif entry.name in own:
                found += _others(entry, own[entry.name])
            else:
                found.append(entry)
    return found


def is_a_model(folder: Path) -> bool:
    """Whether a folder holds a model that was saved here, and nothing else."""
    return "understudy" in _read(folder / "config.json") and not _others(folder, MODEL_FILES)


def links(folder: Path) -> Iterator[Path]:
    """The links in a run folder and below, through which a run would write elsewhere."""
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            yield entry
        elif entry.is_dir() and entry.name != "tracking":  # trackers link to their latest run
            yield from links(entry)


def clashes(output: Path, read: Iterable[str]) -> list[str]:
    """Why an output must not be replaced: it is, holds or lies in something that the command reads.

    Args:
        read: what the command reads; names of nothing on this disk, such as hub ids, are passed over.
    """
    place, faults = output.resolve(), []
    for name in read:
        if not Path(name).expanduser().exists():
            continue
        there = Path(name).expanduser().resolve()
        if there == place:
            faults.append(f"{output}: the command reads it, so --overwrite must not replace it. Name another --output.")
        elif place in there.parents:
            faults.append(
                f"{output}: holds {name}, which the command reads, so --overwrite must not replace it. Name another --output."
            )
        elif there in place.parents:
            faults.append(
                f"{output}: lies in {name}, which the command reads, so --overwrite must not replace it. Name another --output."
            )
    return list(dict.fromkeys(faults))


def _read(path: Path) -> dict[str, Any]:
    """A file of JSON as it stands; nothing where it cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _children(about: Mapping[str, Any]) -> Iterator[str]:
    """The names of the folders of a family's runs, those that have not begun included."""
    if about.get("command") == "demo":
        yield from ("teacher", "student")
    config, known = about.get("config"), about.get("children")
    if about.get("command") == "glue" and isinstance(config, dict):
        yield from _tasks(config)
    seeds = config.get("seeds") if isinstance(config, dict) else None
    yield from (f"seed-{seed}" for seed in (seeds if isinstance(seeds, list) else ()))
    yield from (str(path).partition("/")[0] for path in (known if isinstance(known, list) else ()))


def _tasks(config: Mapping[str, Any]) -> Iterator[str]:
    """The folders of the tasks of several, and of the stages of a sequence."""
    asked = config.get("tasks") or [config.get("task")]
    names = [str(name) for name in asked] if isinstance(asked, list) else []
    with suppress(OSError, ValueError, yaml.YAMLError, TypeError):
        names += map(str, yaml.safe_load(Path(config["tasks_file"]).read_bytes()) if config.get("tasks_file") else ())
    known = [*GLUE_TASKS, *names]
    for name in known:
        yield from (name, *(f"{stage}-{name}" for stage in range(1, len(names) + 1)))
        yield from (f"{name}-after-{other}" for other in known)
    yield "direct"


def _others(folder: Path, patterns: Sequence[str] | None) -> list[Path]:
    if patterns is None:
        return []
    entries = [entry for entry in sorted(folder.iterdir()) if not is_temporary(entry)]
    return [entry for entry in entries if entry.is_symlink() or entry.is_dir() or not _fits(entry, patterns)]


def _fits(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)
