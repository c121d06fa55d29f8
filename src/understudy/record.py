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

from understudy.errors import OutputError

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "datasets", "scikit-learn", "numpy")
_FREE_TO_CHANGE = {"output", "overwrite", "resume", "dry_run", "time_budget", "track"}
"""Settings that a resumed run may give anew: they do not touch what is computed."""


@dataclass(kw_only=True)
class RunRecord:
    """What ``record.json`` holds. Scores are full-precision numbers, durations seconds, sizes bytes."""

    command: str
    config: dict[str, Any]
    seed: int = 0
    finished: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    teacher_forward_texts: int = 0
    notes: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
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
        write_atomic(path, json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode())

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read a record back."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it: at any moment the old or the new one is there, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def versions() -> dict[str, str]:
    """Versions of Python, of understudy and of what its numbers depend on, read without importing any of it."""
    from understudy import __version__

    found = {"understudy": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware(*, threads: int, accelerator: str | None) -> dict[str, Any]:
    """The processor's name, the threads used and the accelerator, if any."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {"cpu": name, "cores": os.cpu_count(), "threads": threads, "accelerator": accelerator}


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
        """Mark the run as finished; what it needed to go on is no longer kept."""
        self.record.finished = True
        self.save()
        if self.writes:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        return self.record


def open_run(
    command: str,
    config: Mapping[str, Any],
    *,
    output: str | None,
    overwrite: bool = False,
    resume: bool = False,
    seed: int = 0,
    writes: bool = True,
) -> Run:
    """Create a run folder, or open an unfinished one again.

    A folder with a finished run is given back as it is under `resume` (its record says ``finished``) and replaced under
    `overwrite`; without either, nothing in it is touched.

    Raises:
        OutputError: if the folder is in use, was made with other settings, or cannot be written.
    """
    folder = Path(output or f"runs/{command}-{datetime.datetime.now():%Y%m%d-%H%M%S}").expanduser()
    record_path = folder / "record.json"
    fresh = RunRecord(command=command, config=dict(config), seed=seed, created=f"{datetime.datetime.now():%Y-%m-%dT%H:%M:%S}")
    if not writes:
        return Run(folder, RunRecord.load(record_path) if resume and record_path.exists() else fresh, writes=False)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file is there, but --output must be a folder. Name another --output.")
    if folder.exists() and any(folder.iterdir()):
        if not record_path.exists():
            raise OutputError(f"{folder}: the folder is not empty and holds no run. Name another --output.")
        old = _load_record(record_path)
        if resume:
            _same_settings(folder, old, fresh)
            return Run(folder, old)
        if not overwrite:
            state = "a finished run is there already" if old.finished else "an unfinished run is there"
            remedy = "or give --overwrite" if old.finished else "give --resume to go on with it, or --overwrite"
            raise OutputError(f"{folder}: {state}. Name another --output, {remedy}.")
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "config.yaml", to_yaml(command, config).encode())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}). Name another --output.") from None
    run = Run(folder, fresh)
    run.save()
    return run


def to_yaml(command: str, config: Mapping[str, Any]) -> str:
    """The YAML that re-runs a command."""
    return yaml.safe_dump({"command": command, **config}, sort_keys=False, allow_unicode=True)


def _load_record(path: Path) -> RunRecord:
    try:
        return RunRecord.load(path)
    except (ValueError, TypeError):
        raise OutputError(f"{path}: not a record of a run. Name another --output.") from None


def _same_settings(folder: Path, old: RunRecord, new: RunRecord) -> None:
    """A resumed run must be the run that was begun."""
    if old.command != new.command:
        raise OutputError(f"{folder}: holds a run of '{old.command}', not of '{new.command}'. Name another --output.")
    changed = [
        f"{folder}: was begun with {key} = {old.config.get(key)!r}, but is resumed with {new.config.get(key)!r}. Give the same, or another --output."
        for key in {**old.config, **new.config}
        if key not in _FREE_TO_CHANGE and old.config.get(key) != new.config.get(key)
    ]
    if changed:
        raise OutputError(*changed)
