"""The run folder: opened by one process at a time, replaced only when the new run can be written."""

from __future__ import annotations

import datetime
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from understudy import atomic
from understudy.errors import OutputError, gathered
from understudy.folders.contents import checkpoints, links, model_folders, strangers
from understudy.folders.lock import Lock
from understudy.record import RunRecord, flat, to_yaml
from understudy.terminal.lines import say, visible

_OF_THE_CALL = ("overwrite", "resume", "dry_run")
_FREE_TO_CHANGE = {"output", "time_budget", "track", "quiet", "engine", *_OF_THE_CALL}
"""Settings that a resumed run may change: they do not touch what is computed."""


class Run:
    """An open run folder. Only the main process of several writes into it; no other command does before it is closed."""

    def __init__(self, folder: Path, record: RunRecord, *, writes: bool = True, lock: Lock | None = None) -> None:
        self.folder = folder
        self.record = record
        record.folder = folder
        self.writes = writes
        self._lock = lock

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write into the folder."""
        if self._lock is not None:
            self._lock.release()

    def say(self, note: str) -> None:
        """Put a sentence on the record (once) and on the terminal."""
        note = visible(note)
        if note not in self.record.notes:
            self.record.notes.append(note)
        if self.writes:
            say(f"  {note}")

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
        self.record.folder = self.folder  # it may be another record by now
        self.save()
        if self.writes:
            atomic.remove_files(self.folder / "checkpoints", checkpoints(self.record.task))
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
    it is replaced, once the new record is on the disk. Without either, nothing in it is touched.

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
    if faults := _place_faults(folder):
        raise OutputError(*faults)
    content, settings = fresh.as_bytes(), to_yaml(command, config).encode()
    with atomic.said_plainly(folder, remedy=atomic.OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder)
    try:
        if faults := _content_faults(folder, command, config, given=given, overwrite=overwrite, resume=resume):
            raise OutputError(*faults)
        run = Run(folder, RunRecord.load(record_path) if resume and record_path.exists() else fresh, lock=lock)
        if run.record.finished:
            atomic.remove_files(
                folder / "checkpoints", checkpoints(run.record.task)
            )  # it may have been killed just before
            return run
        # a run folder has one writer, so what is half-written in it was left by a killed one
        for place in (folder, folder / "checkpoints"):
            atomic.remove_abandoned(place, untouched_s=0)
        if run.record is fresh:
            # what was there goes when all of the new record is on disk and only its name is missing
            with atomic.new_file(record_path, remedy=atomic.OUTPUT, before_rename=partial(_clear, folder)) as file:
                file.write(content)
        else:
            kept = {name: run.record.config[name] for name in _OF_THE_CALL if name in run.record.config}
            run.record.config, run.record.given = {**config, **kept}, dict(given)
            settings = to_yaml(command, run.record.config).encode()
            run.save()
        atomic.write_bytes(folder / "config.yaml", settings)
    except BaseException:
        lock.release()
        raise
    return run


def _clear(folder: Path) -> None:
    """Remove an earlier run. Its record goes last, and does not call it finished: this may be cut short."""
    path = folder / "record.json"
    if path.exists():
        old = RunRecord.load(path)
        old.finished = False
        old.save(path)
    with atomic.said_plainly(folder, remedy=atomic.OUTPUT):
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name != "checkpoints"):
            if entry != path and not atomic.is_temporary(entry):
                atomic.remove(entry)


def default_folder(command: str) -> Path:
    """The folder of a run without an output: one that is not there yet, should two begin in one second."""
    first = Path("runs") / f"{command.replace(' ', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    others = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([first], others) if not folder.exists())


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
    if output is None:  # a new folder in `runs`
        return _place_faults(default_folder(command).parent)
    folder = Path(output).expanduser()
    if (faults := _place_faults(folder)) or not folder.is_dir():
        return faults
    with gathered(faults):
        Lock(folder, shared=True).release()
    return faults or _content_faults(folder, command, config, given=given, overwrite=overwrite, resume=resume)


def _place_faults(folder: Path) -> list[str]:
    """Why nothing can be written to a folder, whatever is in it."""
    if folder.is_dir():
        writable = os.access(folder, os.W_OK)
        return [] if writable else [f"{folder}: cannot be written (no permission). Name another --output."]
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if there == folder:
        return [f"{folder}: a file is there, but --output must be a folder. Name another --output."]
    if not there.is_dir():
        return [f"{folder}: cannot be written, because {there} is a file. Name another --output."]
    writable = os.access(there, os.W_OK)
    return [] if writable else [f"{folder}: cannot be written (no permission in {there}). Name another --output."]


def _content_faults(
    folder: Path,
    command: str,
    config: Mapping[str, Any],
    *,
    given: Mapping[str, Any],
    overwrite: bool,
    resume: bool,
) -> list[str]:
    """Why a run cannot go to a folder that has something in it."""
    if all(map(atomic.is_temporary, folder.iterdir())):
        return []
    if not (folder / "record.json").exists():
        return [f"{folder}: the folder is not empty and holds no run. Name another --output."]
    try:
        old = RunRecord.load(folder / "record.json")
    except OutputError as error:
        return list(error.faults)
    if resume:
        linked = [] if old.finished else links(folder)
        models = [folder / name for name in model_folders(old.task)]
        beside = [] if old.finished else [other for other in strangers(folder) if other.parent in models]
        return [
            *_other_settings(folder, old, command, config, given),
            *(
                f"{link}: is a link, and a run writes to its own folder only. Put what it points to in its place, or name another --output."
                for link in linked
            ),
            *(
                f"{other}: was not written by this run, which replaces the folder. Move it."
                for other in beside
                if other not in linked
            ),
        ]
    if overwrite:
        return [
            f"{other}: was not written by this run, so --overwrite does not remove it. Move it, or name another --output."
            for other in strangers(folder)
        ]
    state = "a finished run is there already" if old.finished else "an unfinished run is there"
    remedy = "or give --overwrite" if old.finished else "give --resume to go on with it, or --overwrite"
    return [f"{folder}: {state}. Name another --output, {remedy}."]


def _other_settings(
    folder: Path, old: RunRecord, command: str, config: Mapping[str, Any], given: Mapping[str, Any]
) -> list[str]:
    """How a resumed run differs from the run that was begun. A setting that was added since counts at its default."""
    if old.command != command:
        return [f"{folder}: holds a run of '{old.command}', not of '{command}'. Name another --output."]
    before, now = flat(old.config), flat(config)
    return [
        f"{folder}: was begun with {key} = {before.get(key)!r}, but is resumed with {now.get(key)!r}. Use the same value, name another --output, or give --overwrite instead of --resume to start again."
        for key in {**before, **now}
        if key.partition(".")[0] not in _FREE_TO_CHANGE
        and before.get(key) != now.get(key)
        and _from_beside(old.config, before.get(key)) != _from_beside(config, now.get(key))
        and (key in before or key in given)
    ]


def _from_beside(config: Mapping[str, Any], value: Any) -> Any:
    """A setting; a path beside the run's own folder as it is from there: a family may have been moved, or named otherwise."""
    if isinstance(value, list):
        return [_from_beside(config, part) for part in value]
    if not isinstance(value, str) or not config.get("output"):
        return value
    beside = Path(config["output"]).parent
    return Path(value).relative_to(beside) if Path(value).is_relative_to(beside) else value
