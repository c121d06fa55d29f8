"""Settings of ``understudy import adapter``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from understudy.folders.contents import clashes
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.ship.import_fastai import is_replaceable


@dataclass(kw_only=True)
class ImportAdapterSettings:
    """Make an adapter of AdapterHub or PEFT one of ours. No code in these files is executed."""

    command: ClassVar[str] = "import adapter"
    positional: ClassVar[tuple[str, ...]] = ("adapter",)
    adapter: Annotated[str, Shown("FOLDER", required=True)] = ""
    """A folder of AdapterHub or PEFT, its hub id, or an identifier such as sentiment/sst-2@ukp; also as a bare word."""
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """The base: the encoder that the adapter was trained in."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    kind: Annotated[Literal["pfeiffer", "houlsby"], Shown(rare=True)] = "pfeiffer"
    """Of an identifier: which of the two adapters that AdapterHub has for it."""
    labels: Annotated[list[str], Shown("NAME")] = field(default_factory=list)
    """The names of the head's outputs, in their order (those that the files say)."""
    pair: bool = False
    """Its head reads two texts, as for paraphrases or inference: the files do not say."""
    multi_label: bool = False
    """A text may have several of the labels: PEFT's files do not say."""
    force: Annotated[bool, Shown(rare=True)] = False
    """Accept a base of another name than the files say."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = []
        if not self.adapter:
            faults.append(
                "no adapter: name its folder, as in: understudy import adapter FOLDER --model BASE --output runs/adapter."
            )
        if not self.model:
            faults.append("no model: name the encoder that the adapter was trained in with --model.")
        else:
            faults += model_faults(self.model)
        if len(set(self.labels)) < len(self.labels):
            faults.append("--labels names a label twice. Each output needs a name of its own.")
        return faults + output_faults(self.output, overwrite=self.overwrite, read=[self.adapter, self.model])


def output_faults(output: str, *, overwrite: bool, read: list[str]) -> list[str]:
    """What is wrong with the folder that a model or an adapter is to be written to.

    Args:
        read: the names of what the command reads.
    """
    path = Path(output).expanduser()
    if not output:
        return ["no output: name the folder to make with --output."]
    if path.is_file():
        return [f"{output}: is a file. Name another --output."]
    if path.exists() and not overwrite:
        return [f"{output}: exists already. Name another --output, or give --overwrite."]
    if not is_replaceable(path):
        return [
            f"{output}: the folder is not empty and holds no model of understudy, or more than that. Name another --output."
        ]
    return clashes(path, read) if overwrite else []
