"""Settings of ``understudy report``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from understudy.settings.flags import Shown

PAGE = "report.html"
"""The name of a page without ``--output``."""
_NAMED = 5
"""So many runs below a folder are named where the folder itself holds none."""


@dataclass(kw_only=True)
class ReportSettings:
    """Write one page of HTML about any runs, families and comparisons: it holds everything and loads nothing."""

    command: ClassVar[str] = "report"
    positional: ClassVar[tuple[str, ...]] = ("folders",)
    folders: Annotated[list[str], Shown("FOLDER", required=True)] = field(default_factory=list)
    """The folders of runs, families or comparisons; also as bare words. Several are shown side by side."""
    rows: Annotated[int, Ge(0)] = 100
    """Rows of each list of rows to look at: where models disagree, confident mistakes, labels that look wrong."""
    output: Annotated[str | None, Shown("FILE", group="Run")] = None
    """The file to write (report.html in the folder; of several folders, in the current one)."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""

    def page(self) -> Path:
        """The file to write."""
        if self.output is not None:
            return Path(self.output).expanduser()
        return Path(self.folders[0]).expanduser() / PAGE if len(self.folders) == 1 else Path(PAGE)

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading a record."""
        if not self.folders:
            return ["no folder: name that of a run, a family or a comparison, as in: understudy report runs/compare."]
        faults = [fault for name in dict.fromkeys(self.folders) if (fault := _no_run(name)) is not None]
        return faults + _named_twice(self.folders) + ([] if faults else self._output_faults())

    def _output_faults(self) -> list[str]:
        page = self.page()
        shown = str(page) if self.output is None else self.output
        if page.is_dir():
            return [f"{shown}: is a folder. Name a file with --output, such as {shown.rstrip('/')}/{PAGE}."]
        if page.exists() and not self.overwrite:
            return [f"{shown}: exists already. Name another --output, or give --overwrite."]
        if page.name in ("record.json", "config.yaml", "progress.csv") and page.exists():
            return [f"{shown}: belongs to a run, so it must not be replaced. Name another --output."]
        there = page.parent
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            return [f"{shown}: cannot be written, because {there} is a file. Name another --output."]
        if not os.access(there, os.W_OK):
            return [f"{shown}: cannot be written, because {there} is read-only. Name another --output."]
        return []


def _no_run(name: str) -> str | None:
    """Why a folder cannot be shown; None if it holds a run."""
    folder = Path(name).expanduser()
    if folder.is_file():
        return f"{name}: is a file. Name the folder of a run."
    if not folder.is_dir():
        return f"{name}: no such folder. Check the path."
    if (folder / "record.json").is_file():
        return None
    below = sorted(path.parent for path in folder.glob("*/record.json"))
    if below:
        more = f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""
        listed = ", ".join(str(path) for path in below[:_NAMED])
        return f"{name}: holds no run itself (no record.json). Name the runs below it: {listed}{more}."
    if (folder.parent / "record.json").is_file():
        return f"{name}: holds no run (no record.json), but is a part of one. Name {folder.parent}."
    return f"{name}: holds no run (no record.json). Name the --output of a command that trains, such as runs/compare."


def _named_twice(names: list[str]) -> list[str]:
    """Folders that are named twice, or lie in another one that is named: a run is shown once."""
    faults, seen = [], dict[Path, str]()
    for name in names:
        place = Path(name).expanduser().resolve()
        if place in seen:
            same = "" if seen[place] == name else f" (it is {seen[place]})"
            faults.append(f"{name}: is named twice{same}. Leave one out.")
        seen.setdefault(place, name)
    for place, name in seen.items():
        faults += [
            f"{name}: is a run of {seen[outer]}, which is named too. Leave one out."
            for outer in place.parents
            if outer in seen and place.relative_to(outer).parts[0] in _children(outer)
        ]
    return faults


def _children(folder: Path) -> set[str]:
    """The folders of a family's runs."""
    try:
        record = json.loads((folder / "record.json").read_bytes())
        return {str(child).partition("/")[0] for child in record.get("children") or []}
    except (OSError, ValueError, AttributeError, TypeError):
        return set()
