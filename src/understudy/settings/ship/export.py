"""Settings of ``understudy export``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.ship.import_adapter import output_faults


@dataclass(kw_only=True)
class ExportSettings:
    """Write a trained model as a folder that answers without torch, checked against the model on real rows."""

    command: ClassVar[str] = "export"
    positional: ClassVar[tuple[str, ...]] = ("model",)
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A run or a model folder; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    format: Literal["onnx", "ort"] = "onnx"
    """onnx: a graph for ONNX Runtime, of a static model also arrays for NumPy; ort: that, and the graph for phones (onnx)."""
    task: Annotated[str | None, Shown("TASK")] = None
    """Of a model for several tasks, the one to export."""
    texts: Annotated[str | None, Shown("FILE")] = None
    """Texts on which both models must agree (the validation rows of the run, where they are still there)."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text columns of --texts (found by their usual names)."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists and holds a model of understudy."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        if not self.model:
            faults = ["no model: name a run or a model folder, as in: understudy export runs/student --output FOLDER."]
        else:
            faults = model_faults(self.model, adapters=True)
        if self.texts is not None and not Path(self.texts).expanduser().is_file():
            faults.append(f"{self.texts}: no such file. Check the path.")
        if self.text and self.texts is None:
            faults.append("--text names columns of --texts, but there is no --texts. Name a file, or leave it out.")
        read = [name for name in (self.model, self.texts) if name]
        return faults + output_faults(self.output, overwrite=self.overwrite, read=read)
