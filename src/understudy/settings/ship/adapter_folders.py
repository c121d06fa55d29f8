"""Settings of ``understudy adapter list``, ``info``, ``merge`` and ``average``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from understudy.settings.flags import Shown
from understudy.settings.ship.adapter_export import adapter_name_faults
from understudy.settings.ship.import_adapter import output_faults


@dataclass(kw_only=True)
class AdapterListSettings:
    """List the adapters in a folder and below: kind, parameters, bytes, score, base."""

    command: ClassVar[str] = "adapter list"
    positional: ClassVar[tuple[str, ...]] = ("folder",)
    folder: Annotated[str, Shown("FOLDER")] = "runs"
    """Where to look; also as a bare word."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        if not Path(self.folder).expanduser().is_dir():
            return [
                f"{self.folder}: there is no such folder. Name one that holds runs, as in: understudy adapter list runs."
            ]
        return []


@dataclass(kw_only=True)
class AdapterInfoSettings:
    """Say what an adapter is: kind, size, task, scores, and the base that it belongs to."""

    command: ClassVar[str] = "adapter info"
    positional: ClassVar[tuple[str, ...]] = ("adapter",)
    adapter: Annotated[str, Shown("FOLDER", required=True)] = ""
    """A run that trained an adapter, or its model folder; also as a bare word."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        return adapter_name_faults(self.adapter)


@dataclass(kw_only=True)
class AdapterMergeSettings:
    """Fold a lora, an ia3 or a parallel adapter into its base: a plain model."""

    command: ClassVar[str] = "adapter merge"
    positional: ClassVar[tuple[str, ...]] = ("adapter",)
    adapter: Annotated[str, Shown("FOLDER", required=True)] = ""
    """A run that trained a lora, an ia3, or a parallel adapter that is linear or has its base's function; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The model folder to make."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""
    force: Annotated[bool, Shown(rare=True)] = False
    """Accept a base with other weights than the adapter was trained on."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = adapter_name_faults(self.adapter)
        return faults + output_faults(self.output, overwrite=self.overwrite, read=[self.adapter])


@dataclass(kw_only=True)
class AdapterAverageSettings:
    """Make one adapter of several of one task and shape: the mean of their weights and of their heads'."""

    command: ClassVar[str] = "adapter average"
    adapters: Annotated[list[str], Shown("FOLDER", required=True)] = field(default_factory=list)
    """Runs that trained adapters, or their model folders."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""
    force: Annotated[bool, Shown(rare=True)] = False
    """Accept a base with other weights than the adapters were trained on."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = [fault for name in self.adapters for fault in adapter_name_faults(name)]
        if len(self.adapters) < 2:
            faults.append("--adapters must name two adapters or more, as in: --adapters runs/seed-0 runs/seed-1.")
        faults += [
            f"--adapters names {name} more than once. Leave one of them out."
            for name in dict.fromkeys(self.adapters)
            if self.adapters.count(name) > 1
        ]
        return faults + output_faults(self.output, overwrite=self.overwrite, read=self.adapters)
