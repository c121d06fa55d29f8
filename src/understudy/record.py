"""The record of a run: what was run, on what, and what came out."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from understudy import atomic
from understudy.errors import OutputError
from understudy.version import VERSION

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "datasets", "scikit-learn", "numpy")


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
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rows and fingerprints of each part: of its texts, and of its labels."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the files that the run was begun with: models, teachers, tokenizers, vectors; a family's data too."""
    models: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    """For each two models the paired difference of the selecting metric, ``model`` less ``other``, with its interval."""
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    """The wrong answers that the model that the run was for is most certain of, on the rows that report."""
    timings: dict[str, float] = field(default_factory=dict)
    teacher_forward_texts: int = 0
    """Distinct texts that a teacher read for this run; for a teacher that reads during training, the rows that it read."""
    answered_before: dict[str, int] = field(default_factory=dict)
    """For each teacher, the texts whose answers were cached when the run began."""
    notes: list[str] = field(default_factory=list)
    training: dict[str, dict[str, Any]] = field(default_factory=dict)
    pruned: dict[str, Any] = field(default_factory=dict)
    """Of a pruning: heads and neurons of each layer before and after, what each round has left, and how many words."""
    children: list[str] = field(default_factory=list)
    """The records of a family's runs, relative to this one."""
    split: str = ""
    """The split that ``aggregate`` sums up."""
    aggregate: dict[str, Any] = field(default_factory=dict)
    """Of a family, by model and metric: ``{"mean": 0.91, "sd": 0.01, "n": 3}``."""
    verdicts: dict[str, int] = field(default_factory=dict)
    """Of a family: in how many runs each verdict was reached, see :mod:`understudy.report.verdict`."""
    findings: dict[str, Any] = field(default_factory=dict)
    """Of a comparison of several models: what they cost, what they are worth, and which one to ship."""
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

    def as_bytes(self) -> bytes:
        """The content of the file."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        return text.encode(errors="backslashreplace")  # a file's name may be no UTF-8; JSON reads the escape back

    def save(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all."""
        atomic.write_bytes(path, self.as_bytes())

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read a record back; a file that holds none raises an OutputError."""
        try:
            from pydantic import TypeAdapter

            TypeAdapter(cls).validate_json(content := Path(path).read_bytes(), strict=True)
            record = cls(**json.loads(content))
            record.as_bytes()  # or a number without end would be found when the run is over
            return record
        except (ValueError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).partition(" [type=")[0].partition("\n")[2].split()) or error
            raise OutputError(f"{path}: not a record of a run ({reason}). Name another --output.") from None
        return record


def versions() -> dict[str, str]:
    """Versions of Python, of understudy and of what its numbers depend on, read without importing any of it."""
    return {"understudy": VERSION, "python": platform.python_version(), **_installed()}


@cache
def _installed() -> dict[str, str]:
    found = {}
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
