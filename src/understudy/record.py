"""The run folder and the record in it: what was run, on what, and what came out."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from understudy import atomic
from understudy.errors import OutputError
from understudy.version import VERSION

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "datasets", "scikit-learn", "numpy")
_FREE_TO_CHANGE = {"output", "overwrite", "resume", "dry_run", "time_budget", "track"}
"""Settings that a resumed run may change: they do not touch what is computed."""


@dataclass(kw_only=True)
class RunRecord:
    """What ``record.json`` holds. Scores are full-precision numbers, durations seconds, sizes bytes."""

    command: str
    config: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)
    """The settings that differ from their defaults, flat: ``{"epochs": 5, "bilstm.hidden": 64}``."""
    seed: int = 0
    finished: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    teacher_forward_texts: int = 0
    """Distinct texts that a teacher read for this run; for a teacher that reads during training, the rows that it read."""
    answered_before: dict[str, int] = field(default_factory=dict)
    """For each teacher, the texts whose answers were cached when the run began."""
    notes: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    """The records of a family's runs, relative to this one."""
    split: str = ""
    """The split that ``aggregate`` sums up."""
    aggregate: dict[str, Any] = field(default_factory=dict)
    """Of a family, by model and metric: ``{"mean": 0.91, "sd": 0.01, "n": 3}``."""
    created: str = ""

    def model(self, name: str) -> dict[str, Any]:
        """The entry of one model.

        Raises:
            KeyError: if there is none of that name.
        """
        for entry in self.models:
            if entry["name"] == name:
                return entry
        raise KeyError(f"no model '{name}' in this record, only {', '.join(repr(m['name']) for m in self.models)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, as in the file."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all."""
        atomic.write_bytes(path, json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read a record back."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def versions() -> dict[str, str]:
    """Versions of Python, of understudy and of what its numbers depend on, read without importing any of it."""
    found = {"understudy": VERSION, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware(*, threads: int, accelerator: str | None, processes: int = 1) -> dict[str, Any]:
    """The processor's name, the threads of a process, how many of those there are, and the accelerator, if any."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": threads,
        "processes": processes,
        "accelerator": accelerator,
    }


class Run:
    """An open run folder. Only the main process of several writes into it."""

    def __init__(self, folder: Path, record: RunRecord, *, writes: bool = True) -> None:
        self.folder = folder
        self.record = record
        self.writes = writes

    def say(self, note: str) -> None:
        """Put a sentence on the record (once) and on the terminal."""
        if note not in self.record.notes:
            self.record.notes.append(note)
        if self.writes:
            print(f"  {note}", file=sys.stderr)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time spent inside to ``timings[name]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.record.timings[name] = self.record.timings.get(name, 0.0) + time.perf_counter() - start
            self.save()

    def save(self) -> None:
        """Write ``record.json`` as it stands."""
        if self.writes:
            self.record.save(self.folder / "record.json")

    def finish(self) -> RunRecord:
        """Mark the run as finished, and delete its checkpoints."""
        self.record.finished = True
        self.save()
        if self.writes:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return self.record


def open_run(
    command: str,
    config: Mapping[str, Any],
    *,
    given: Mapping[str, Any],
    output: str | None,
    overwrite: bool = False,
    resume: bool = False,
    seed: int = 0,
    writes: bool = True,
) -> Run:
    """Create a run folder, or open an unfinished one again.

    With `resume`, a folder with a finished run is returned unchanged (its record says ``finished``). With `overwrite`
    it is replaced. Without either, nothing in it is touched.

    Args:
        config: all settings.
        given: those that differ from their defaults, flat.

    Raises:
        OutputError: if the folder is in use, was made with other settings, or cannot be written.
    """
    folder = Path(output).expanduser() if output else default_folder(command)
    record_path = folder / "record.json"
    fresh = RunRecord(
        command=command,
        config=dict(config),
        given=dict(given),
        seed=seed,
        created=f"{datetime.datetime.now():%Y-%m-%dT%H:%M:%S}",
    )
    if not writes:
        return Run(folder, RunRecord.load(record_path) if resume and record_path.exists() else fresh, writes=False)
    if faults := output_faults(command, config, given=given, output=str(folder), overwrite=overwrite, resume=resume):
        raise OutputError(*faults)
    run = Run(folder, RunRecord.load(record_path) if resume and record_path.exists() else fresh)
    if run.record.finished:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # it may have been killed just before
        return run
    with atomic.said_plainly(folder, remedy=atomic.OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        # a run folder has one writer, so what is half-written in it was left by a killed one
        for place in (folder, folder / "checkpoints"):
            atomic.remove_abandoned(place, untouched_s=0)
        if run.record is fresh:
            # the record is removed last and written first: a folder that was begun can always be told from a stranger's
            for entry in sorted(folder.iterdir(), key=lambda entry: entry == record_path):
                atomic.remove(entry)
    run.save()
    if not (folder / "config.yaml").exists():
        atomic.write_bytes(folder / "config.yaml", to_yaml(command, config).encode())
    return run


def default_folder(command: str) -> Path:
    """The folder of a run without an output."""
    return Path("runs") / f"{command.replace(' ', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def output_faults(
    command: str,
    config: Mapping[str, Any],
    *,
    given: Mapping[str, Any],
    output: str | None,
    overwrite: bool,
    resume: bool,
) -> list[str]:
    """Why a run cannot go to a folder; nothing is touched."""
    if output is None:
        return []
    folder = Path(output).expanduser()
    if not folder.is_dir():
        there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if there == folder:
            return [f"{folder}: a file is there, but --output must be a folder. Name another --output."]
        if not there.is_dir():
            return [f"{folder}: cannot be written, because {there} is a file. Name another --output."]
        return (
            []
            if os.access(there, os.W_OK)
            else [f"{folder}: cannot be written (no permission in {there}). Name another --output."]
        )
    if not os.access(folder, os.W_OK):
        return [f"{folder}: cannot be written (no permission). Name another --output."]
    if all(map(atomic.is_temporary, folder.iterdir())):
        return []
    if not (folder / "record.json").exists():
        return [f"{folder}: the folder is not empty and holds no run. Name another --output."]
    try:
        old = RunRecord.load(folder / "record.json")
    except (ValueError, TypeError):
        return [f"{folder / 'record.json'}: not a record of a run. Name another --output."]
    if resume:
        return _other_settings(folder, old, command, config, given)
    if overwrite:
        return []
    state = "a finished run is there already" if old.finished else "an unfinished run is there"
    remedy = "or give --overwrite" if old.finished else "give --resume to go on with it, or --overwrite"
    return [f"{folder}: {state}. Name another --output, {remedy}."]


def to_yaml(command: str, config: Mapping[str, Any]) -> str:
    """The YAML that re-runs a command."""
    return yaml.safe_dump({"command": command, **config}, sort_keys=False, allow_unicode=True)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names.

    Example:
        >>> flat({"epochs": 3, "bilstm": {"hidden": 256}})
        {'epochs': 3, 'bilstm.hidden': 256}
    """
    rows: dict[str, Any] = {}
    for key, value in config.items():
        rows |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


def _other_settings(
    folder: Path, old: RunRecord, command: str, config: Mapping[str, Any], given: Mapping[str, Any]
) -> list[str]:
    """How a resumed run differs from the run that was begun. A setting that was added since counts at its default."""
    if old.command != command:
        return [f"{folder}: holds a run of '{old.command}', not of '{command}'. Name another --output."]
    before, now = flat(old.config), flat(config)
    return [
        f"{folder}: was begun with {key} = {before.get(key)!r}, but is resumed with {now.get(key)!r}. Give the same, another --output, or --overwrite instead of --resume to begin again."
        for key in {**before, **now}
        if key.partition(".")[0] not in _FREE_TO_CHANGE
        and before.get(key) != now.get(key)
        and (key in before or key in given)
    ]
