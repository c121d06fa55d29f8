"""Settings of ``understudy predict``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.cores import MOST_THREADS
from understudy.folders.contents import clashes
from understudy.models.files.names import adapter_folder
from understudy.settings.data import ReadingSettings
from understudy.settings.engine import RAY, EngineSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults

_OTHERS = (".tsv", ".parquet", ".json", ".xlsx")
"""Endings that promise a format other than those written here."""


@dataclass(kw_only=True)
class PredictSettings(ReadingSettings, EngineSettings):
    """Label texts: files or standard input in, CSV or JSON lines out, in the same order, a block at a time."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "predict"
    model: Annotated[list[str], Shown("MODEL", required=True)] = field(default_factory=list)
    """A run or a model folder. If you name several, such as a forward and a backward AWD-LSTM, their probabilities are averaged."""
    adapters: Annotated[list[str], Shown("FOLDER")] = field(default_factory=list)
    """Runs that trained adapters in the one base that --model names: all of them answer for each text."""
    force: Annotated[bool, Shown(rare=True)] = False
    """With --adapters: accept a base with other weights than they were trained on."""
    task: Annotated[str | None, Shown("TASK")] = None
    """Of a model for several tasks, the one that answers."""
    top_k: Annotated[int, Gt(0), Shown("N")] | None = None
    """Write only the N likeliest labels of each text, with their probabilities (all)."""
    input: Annotated[list[str], Shown("FILE")] = field(default_factory=list)
    """Files of texts, in any format that is trained on (standard input, one text a line; pipes are read the same way)."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text columns of --input (found by their usual names)."""
    output: Annotated[str | None, Shown("FILE", group="Run")] = None
    """The file to write; .gz is compressed (standard output)."""
    format: Literal["csv", "jsonl"] | None = None
    """Format of the output (by the name of --output, otherwise csv)."""
    batch_size: Annotated[int, Gt(0)] = 256
    """Texts that are read, labelled and written together."""
    threads: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N", group="Run")] | None = None
    """Processor threads (as torch chooses)."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        faults = [fault for name in self.models() for fault in model_faults(name, adapters=True)]
        files = [name for name in self.input if not is_special(Path(name).expanduser())]
        faults += self.texts_faults(read=bool(files), flags=("text",), files="--input") + self.engine_faults()
        if self.engine == RAY and not (self.input and self.output):
            faults.append("--engine ray labels files and writes a file. Name them with --input and --output.")
        if not self.models():
            faults.append("no model: name a run or a model folder with --model.")
        if self.adapters and len(self.models()) > 1:
            faults.append(
                f"--adapters belong to one base, but --model names {len(self.models())} models. Name their base with --model."
            )
        if self.force and not self.adapters:
            faults.append("--force is for the base of --adapters. Leave it out.")
        if self.adapters and self.task is not None:
            faults.append(
                "--task names one head of a model for several tasks, but --adapters bring their own heads. Leave one of them out."
            )
        faults += [
            f"{name}: is no adapter: it holds no adapter_config.json. Name a run that trained one with --adapters."
            for name in self.adapters
            if Path(name).expanduser().exists() and adapter_folder(name) is None
        ]
        faults += [
            f"--adapters names {name} more than once. Leave one of them out."
            for name in dict.fromkeys(self.adapters)
            if self.adapters.count(name) > 1
        ]
        if self.adapters and self.top_k is not None:
            faults.append("--top_k is for one model, but --adapters answer side by side. Leave one of them out.")
        paths = {name: Path(name).expanduser() for name in self.input}
        faults += [f"{name}: no such file. Check the path." for name, path in paths.items() if not path.exists()]
        if self.engine == RAY:
            faults += [
                f"{name}: is a pipe or a device, which can be read only once. Save the texts, or leave out --engine ray."
                for name, path in paths.items()
                if is_special(path)
            ]
        folders = [Path(name).expanduser() for name in [*self.models(), *self.adapters]]
        inside = [
            path.resolve()
            for folder in folders
            for path in (folder, folder / "model")
            if (path / "config.json").is_file()
        ]
        if self.output and Path(self.output).expanduser().is_dir():
            faults.append(f"{self.output}: is a folder, but the output is one file. Name a file with --output.")
        elif self.output and any(Path(self.output).expanduser().resolve().is_relative_to(own) for own in inside):
            faults.append(f"{self.output}: lies inside a model. Name another --output.")
        elif self.output and Path(self.output).expanduser().exists() and not self.overwrite:
            faults.append(f"{self.output}: exists already. Name another --output, or give --overwrite.")
        elif self.output and self.overwrite:
            faults += clashes(Path(self.output).expanduser(), [*self.models(), *self.adapters, *self.input])
        if self.output and self.format is None and (other := Path(self.output.removesuffix(".gz")).suffix) in _OTHERS:
            faults.append(
                f"{self.output}: {other} is not written here. Name a .csv or .jsonl file with --output, or give --format."
            )
        return faults

    def models(self) -> list[str]:
        """The models' names; Python callers may give a bare one."""
        return [self.model] if isinstance(self.model, str) else self.model


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, such as the shell's ``<(...)``, or a device."""
    return path.exists() and not (path.is_file() or path.is_dir())
