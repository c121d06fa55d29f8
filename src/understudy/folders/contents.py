"""What is in a run folder: what a run wrote, what is somebody else's, what the command itself reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.atomic import is_temporary
from understudy.checksums import saved_files

TEACHER_WORDS = re.compile(r"[0-9a-f]{32}\.bin")
_PHASES = ("train", "contrast", "student", "student without teacher", "joint")
_SWEEP = r"lr_find(-student(-without-teacher)?)?"
_PLOTS = re.compile(rf"(learning-curves|quality-latency|quality-size|confusion|reliability|transfer|{_SWEEP})\.png")
LEARNT_ROWS = "learnt_rows.bin"
"""Hashes of the labelled rows that a run's model learnt from."""
_FILES = re.compile(rf"record\.json|config\.yaml|README\.md|progress\.csv|{re.escape(LEARNT_ROWS)}|{_SWEEP}\.(csv|png)")
_MODEL = re.compile(r".+\.(json|safetensors|txt|jinja|model|codes|spm|vocab|tokenizer)")
"""What saving a model and its tokenizer writes, for folders without a list of it."""
ANSWERS = "answers.npz"
"""What a model that is compared with others answers for the rows that report, and their labels."""
_COMPARED = r"(run-time|curves-steps|curves-seconds|convergence|scores|front-latency|front-size|labels)\.(png|svg)"
_DEMO = {"data": re.compile(r"(train|validation|test)\.csv|pool\.txt")}
_GLUE = {"submission": re.compile(r"(AX|CoLA|MNLI-mm?|MRPC|QNLI|QQP|RTE|SST-2|STS-B|WNLI)\.tsv")}


def strangers(folder: Path) -> list[Path]:
    """What lies in a run folder, or in those of its children, and was not written by a run; links are never ours."""
    about = _read(folder / "record.json")
    task, command = _mapping(about.get("task")), about.get("command")
    children, models, files = set(_children(about)), model_folders(task), _FILES
    own = {"plots": _PLOTS, "checkpoints": checkpoints(task), "teacher_words": TEACHER_WORDS}
    if command == "demo":
        own |= _DEMO
    elif command == "compare":
        own |= {"plots": re.compile(f"{_PLOTS.pattern}|{_COMPARED}")}
        files = re.compile(rf"{_FILES.pattern}|{re.escape(ANSWERS)}")
    elif command == "glue":
        own |= _GLUE
        results = rf"eval_results\.json|eval_results_{re.escape(str(task.get('name')))}(-mm)?\.txt|submission\.zip"
        files = re.compile(f"{_FILES.pattern}|{results}")
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or not (entry.is_dir() or is_temporary(entry) or files.fullmatch(entry.name)):
            found.append(entry)
        elif entry.is_dir() and not is_temporary(entry):
            if entry.name in children:
                found += strangers(entry)
            elif entry.name in models:
                found += _beside_a_model(entry)
            elif entry.name in own:
                found += _others(entry, own[entry.name].fullmatch)
            elif entry.name != "tracking":  # a tracker's, which has whatever it likes
                found.append(entry)
    return found


def checkpoints(task: Mapping[str, Any]) -> re.Pattern[str]:
    """The names of a run's checkpoints.

    Args:
        task: as the record has it; one that stands for several names them.

    Example:
        >>> bool(checkpoints({"tasks": {"rte": {}}}).fullmatch("finetune rte-best-20.pt"))
        True
        >>> bool(checkpoints({}).fullmatch("finetune rte-best-20.pt"))
        False
    """
    phases = "|".join(re.escape(name) for name in (*_PHASES, *(f"finetune {name}" for name in _tasks(task))))
    return re.compile(rf"({phases})((-done|-best-\d+|-own\d+-\d+|-rank\d+-\d+)?\.pt|\.csv)")


def model_folders(task: Mapping[str, Any]) -> set[str]:
    """The names of the folders that hold a run's models, and nothing else.

    Args:
        task: as the record has it; one that stands for several names them.

    Example:
        >>> sorted(model_folders({"tasks": {"rte": {}}}))
        ['best-rte', 'finetuned-rte', 'model']
    """
    return {"model", *(f"{kind}-{name}" for kind in ("best", "finetuned") for name in _tasks(task))}


def is_a_model(folder: Path) -> bool:
    """Whether a folder holds a model that was saved here, and nothing else."""
    told = {**_read(folder / "config.json"), **_read(folder / "adapter_config.json")}
    return "understudy" in told and not _beside_a_model(folder)


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


def _tasks(task: Mapping[str, Any]) -> Iterable[str]:
    """The names of the tasks that a task of several stands for."""
    return _mapping(task.get("tasks"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _children(about: Mapping[str, Any]) -> Iterator[str]:
    """The names of the folders of a family's runs, those that have not begun included."""
    if about.get("command") == "demo":
        yield from ("teacher", "student")
    config, known = about.get("config"), about.get("children")
    seeds = config.get("seeds") if isinstance(config, dict) else None
    yield from (f"seed-{seed}" for seed in (seeds if isinstance(seeds, list) else ()))
    yield from (str(path).partition("/")[0] for path in (known if isinstance(known, list) else ()))


def _beside_a_model(folder: Path) -> list[Path]:
    """What lies in a model folder and was not saved there."""
    saved = saved_files(folder)
    return _others(folder, saved.__contains__ if saved else _MODEL.fullmatch)


def _others(folder: Path, ours: Callable[[str], Any]) -> list[Path]:
    entries = [entry for entry in sorted(folder.iterdir()) if not is_temporary(entry)]
    return [entry for entry in entries if entry.is_symlink() or entry.is_dir() or not ours(entry.name)]
