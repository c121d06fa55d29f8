"""What a page is about: runs, families and comparisons, read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from understudy.errors import OutputError
from understudy.record import RunRecord
from understudy.report.scores import Record

RECORD = "record.json"
"""What makes a folder a run."""


@dataclass(frozen=True, kw_only=True)
class PageRun:
    """A run, or a family with its runs."""

    name: str
    """Unique among the runs of a page."""
    folder: Path
    record: Record
    children: dict[str, Record] = field(default_factory=dict)
    """The runs of a family, by the names of their folders; those that cannot be read are left out."""
    part_of: str = ""
    """The family that it is a run of, where that is not finished and so has nothing to show itself."""

    @property
    def is_comparison(self) -> bool:
        """Whether it compared several models, and a run of one is finished."""
        return bool(self.record.get("findings") and self.record.get("models")) and not self.is_search

    @property
    def is_search(self) -> bool:
        """Whether it looked for a student within a budget."""
        return bool(self.record.get("findings")) and self.record.get("command") == "search"

    @property
    def is_family(self) -> bool:
        """Whether it sums up several runs of one recipe."""
        return bool(self.record.get("aggregate")) and not self.record.get("findings")

    @property
    def kind(self) -> str:
        """The kind of its task; empty where the record has none."""
        return str((self.record.get("task") or {}).get("kind") or "")

    @property
    def labels(self) -> list[str]:
        """The names of its task's labels."""
        return [str(label) for label in (self.record.get("task") or {}).get("labels") or []]

    @property
    def metrics(self) -> list[str]:
        """The metrics of its task; the first one selects."""
        return [str(metric) for metric in (self.record.get("task") or {}).get("metrics") or []]

    @property
    def chosen_trial(self) -> str:
        """Of a search, the folder of the last run of the student that it chose; empty if there is none."""
        findings = self.record.get("findings") or {}
        name = (findings.get("chosen") or {}).get("name")
        rung = next((row.get("rung") for row in findings.get("trials") or [] if row["name"] == name), None)
        for folder, record in self.children.items():
            config = record.get("config") or {}
            if name is not None and (config.get("students"), config.get("rung")) == ([name], rung):
                return folder
        return ""

    def one(self) -> tuple[Path, Record]:
        """The folder and the record of the first run of a family, of a comparison one with the most rows; else its own."""
        if not (self.is_comparison or self.is_family):  # the runs of a search or of several tasks are not alike
            return self.folder, self.record
        runs = (self.record.get("findings") or {}).get("runs") or {}
        first = [name for names in runs.values() for name in names] or list(self.children)
        name = next((name for name in first if name in self.children), None)
        return (self.folder, self.record) if name is None else (self.folder / name, self.children[name])


def read_runs(folders: Sequence[Path]) -> list[PageRun]:
    """The runs in these folders, in their order; a family that scored nothing itself is shown as its runs.

    Raises:
        OutputError: with a sentence for every record that cannot be read.
    """
    found: list[tuple[Path, Record, dict[str, Record], str]] = []
    faults: list[str] = []
    for folder in folders:
        try:
            record = _record(folder)
        except OutputError as error:
            faults += error.faults
            continue
        children = _children(folder, record)
        if children and not record.get("models") and not record.get("aggregate"):  # as a demo leaves it
            part_of = "" if record.get("finished") else folder.resolve().name
            found += [(folder / name, child, {}, part_of) for name, child in children.items()]
        else:
            found.append((folder, record, children, ""))
    if faults:
        raise OutputError(*faults)
    names = unique_names([folder for folder, *_ in found])
    return [
        PageRun(name=name, folder=folder, record=record, children=children, part_of=part_of)
        for name, (folder, record, children, part_of) in zip(names, found, strict=True)
    ]


def _record(folder: Path) -> Record:
    try:
        return RunRecord.load(folder / RECORD).as_dict()
    except OutputError as error:
        reason = str(error).partition("not a record of a run ")[2].partition(")")[0].removeprefix("(")
        raise OutputError(
            f"{folder}: its {RECORD} is no record of a run ({reason}). Name the folder of a run."
        ) from None
    except OSError as error:
        raise OutputError(
            f"{folder}: its {RECORD} cannot be read ({error.strerror}). Check whose it is, or name another folder."
        ) from None


def _children(folder: Path, record: Record) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for child in record.get("children") or []:
        name = str(PurePosixPath(child).parent)
        try:
            found[name] = _record(folder / name)
        except OutputError:
            continue  # what is missing is said where it would be shown
    return found


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of paths by which folders are told apart.

    Example:
        >>> unique_names([Path("/runs/a/seed-0"), Path("/runs/b/seed-0"), Path("/runs/b/tfidf")])
        ['a/seed-0', 'b/seed-0', 'tfidf']
    """
    paths = [folder.resolve() for folder in folders]
    names = []
    for path in paths:
        length = 1
        while (
            length < len(path.parts) - 1
            and sum(other.parts[-length:] == path.parts[-length:] for other in dict.fromkeys(paths)) > 1
        ):
            length += 1
        names.append("/".join(path.parts[-length:]) or str(path))
    return names
