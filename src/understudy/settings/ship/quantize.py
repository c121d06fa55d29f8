"""Settings of ``understudy quantize``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from understudy.settings.data import ReadingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.ship.import_adapter import output_faults

ROWS = "rows"
"""``--calibrate`` with the training rows of the model's run."""


@dataclass(kw_only=True)
class QuantizeSettings(ReadingSettings):
    """Write a trained model as an exported folder with smaller weights, if its score on labelled rows survives."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "quantize"
    positional: ClassVar[tuple[str, ...]] = ("model",)
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A run, a model folder or an exported one; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    to: Literal["int8", "int4-weight", "fp16"] = "int8"
    """The type of the weights: int8, tables by row; int4-weight, tables and products in blocks of 32; fp16."""
    calibrate: Annotated[str | None, Shown("FILE|rows")] = None
    """With int8: read the ranges of what products read off these texts, or off training rows of the run (as it computes)."""
    max_drop: Annotated[float, Ge(0), Le(100), Shown("POINTS")] = 0.5
    """The points by which the score may fall, by the upper end of the 95 % interval."""
    texts: Annotated[str | None, Shown("FILE")] = None
    """Labelled rows to measure the score on (the validation rows of the run, where they are still there)."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text columns of --texts and --calibrate FILE (found by their usual names)."""
    label: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The label column of --texts, or the column of each label (found by its usual name)."""
    task: Annotated[str | None, Shown("TASK")] = None
    """Of a model for several tasks, the one to take."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists and holds a model of understudy."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        if not self.model:
            faults = [
                "no model: name a run or a model folder, as in: understudy quantize runs/student --output FOLDER."
            ]
        else:
            faults = model_faults(self.model, adapters=True)
        if self.texts is not None and not Path(self.texts).expanduser().is_file():
            faults.append(f"{self.texts}: no such file. Check the path.")
        if self.calibrate is not None and self.calibrate != ROWS and not Path(self.calibrate).expanduser().is_file():
            faults.append(f"{self.calibrate}: no such file. Check the path, or give --calibrate rows.")
        if self.calibrate is not None and self.to != "int8":
            faults.append(
                f"--calibrate is for --to int8: {self.to} rounds weights alone, and what they are multiplied with stays as it is. Leave it out."
            )
        if self.label and self.texts is None:
            faults.append("--label names columns of --texts, but there is no --texts. Name a file, or leave it out.")
        calibrated = None if self.calibrate == ROWS else self.calibrate
        read_some = self.texts is not None or calibrated is not None
        faults += self.texts_faults(read=read_some, flags=("text",), files="--texts or --calibrate FILE")
        read = [name for name in (self.model, self.texts, calibrated) if name]
        return faults + output_faults(self.output, overwrite=self.overwrite, read=read)
