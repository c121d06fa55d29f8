"""The record of a run: what was run, on what, and what came out."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from understudy import atomic
from understudy.errors import OutputError
from understudy.terminal.notebook import Picture, Pictures, ShownRows, html_table
from understudy.version import VERSION

_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "datasets", "scikit-learn", "numpy")

_COSTS = (("parameters", 1), ("size_bytes", 1e6), ("texts_per_second", 1))
"""What a table in a notebook shows of a model's cost, and in which unit."""


@dataclass(kw_only=True, repr=False)
class RunRecord:
    """What ``record.json`` holds. Scores are full-precision numbers, durations seconds, sizes bytes.

    Its ``repr`` is one line; a notebook shows it as a table of its models, a sweep with its curve.
    """

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

    def __post_init__(self) -> None:
        self.folder: Path | None = None
        """The run folder, once there is one. It is not part of the record: folders are moved."""

    def __repr__(self) -> str:
        split, metric = self._shown()
        scores = [f"{name} {value:.3g}" for name, value in self._scores(split, metric)]
        said = f"; {metric} on {split}: {', '.join(scores)}" if scores else ""
        where = f", {str(self.folder)!r}" if self.folder is not None else ""
        return f"<RunRecord {self.command}{where}: {'finished' if self.finished else 'not finished'}{said}>"

    def _repr_html_(self) -> str:
        split, _ = self._shown()
        metrics = [str(name) for name in self.task.get("metrics", ())] if split else []
        heads = ["model", *metrics, "parameters", "MB", "texts/s"]
        rows = [
            [
                entry.get("name", ""),
                *(_rounded(((entry.get("metrics") or {}).get(split) or {}).get(metric)) for metric in metrics),
                *(_whole(entry.get(key), unit) for key, unit in _COSTS),
            ]
            for entry in self.models
        ]
        where = "" if self.folder is None else f", {self.folder}"
        state = f"{split} split" if self.finished and split else "finished" if self.finished else "not finished"
        table = html_table(heads, rows, caption=f"understudy {self.command}{where} ({state})")
        return table + self.plots._repr_html_() if "sweep" in self.training else table

    def errors(self, n: int = 10) -> ShownRows:
        """The wrong answers that the model is most certain of, on the rows that report: at most the 25 that are kept.

        Each has ``text`` (of pairs ``text_a`` and ``text_b``), ``label``, ``answer`` and ``confidence``.

        Example:
            ``pandas.DataFrame(record.errors(20))``
        """
        made = ShownRows()
        for entry in self.mistakes[:n]:
            texts = entry["texts"]
            names = ("text",) if len(texts) == 1 else ("text_a", "text_b")
            told = {name: entry[name] for name in ("label", "answer", "confidence")}
            made.append({**dict(zip(names, texts)), **told})
        return made

    @property
    def plots(self) -> Pictures:
        """The plots of the run folder, which a notebook shows."""
        places = () if self.folder is None else (self.folder / "plots", self.folder)
        return Pictures(Picture(path) for place in places for path in sorted(place.glob("*.png")))

    def _shown(self) -> tuple[str, str]:
        """The split whose scores are shown, and the metric that selects; empty where there are no scores."""
        splits = {split for entry in self.models for split in entry.get("metrics") or {}}
        split = "test" if "test" in splits else min(splits, default="")
        return split, str(next(iter(self.task.get("metrics", ())), "")) if split else ""

    def _scores(self, split: str, metric: str) -> Iterator[tuple[str, float]]:
        for entry in self.models:
            value = ((entry.get("metrics") or {}).get(split) or {}).get(metric)
            if isinstance(value, int | float):
                yield str(entry["name"]), float(value)

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
        # not as_dict, whose copies take most of the time: a run writes its record dozens of times
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False, default=asdict)
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
            record.folder = Path(path).parent
            record.as_bytes()  # or a number without end would be found when the run is over
            return record
        except (ValueError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).partition(" [type=")[0].partition("\n")[2].split()) or error
            raise OutputError(f"{path}: not a record of a run ({reason}). Name another --output.") from None
        return record


def _rounded(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _whole(value: object, unit: float) -> object:
    return f"{value / unit:,.4g}" if unit > 1 and isinstance(value, int | float) else _counted(value)


def _counted(value: object) -> object:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


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
