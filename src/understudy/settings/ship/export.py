"""Settings of ``understudy export``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from understudy.settings.data import ReadingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.ship.import_adapter import output_faults


@dataclass(kw_only=True)
class ExportSettings(ReadingSettings):
    """Write a trained model as a folder that answers without torch, checked against the model on real rows."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "export"
    positional: ClassVar[tuple[str, ...]] = ("model",)
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A run or a model folder, for --format web also an exported one; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    format: Literal["onnx", "ort", "web"] = "onnx"
    """onnx: a graph for ONNX Runtime, of a static model also arrays for NumPy; ort: that, and the graph for phones; web: a page that answers in the browser."""
    to: Annotated[Literal["int8", "fp32"] | None, Shown("TYPE")] = None
    """Of --format web, the type of the weights: int8 or fp32 (int8, where the validation rows of the run show that the score survives)."""
    max_drop: Annotated[float, Ge(0), Le(100), Shown("POINTS", rare=True)] = 0.5
    """Of --format web, the points by which the score may fall with int8 weights, as of `understudy quantize`."""
    npm_folder: Annotated[str | None, Shown("FOLDER", rare=True)] = None
    """Of --format web, a folder with onnxruntime-web and @huggingface/tokenizers, as `npm pack` or `npm install` leaves them (fetched by npm)."""
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
        faults += self.texts_faults(read=self.texts is not None, flags=("text",))
        faults += self._web_faults()
        read = [name for name in (self.model, self.texts, self.npm_folder) if name]
        return faults + output_faults(self.output, overwrite=self.overwrite, read=read)

    def _web_faults(self) -> list[str]:
        """What is wrong with the settings of a page."""
        if self.format == "web":
            if self.npm_folder is not None and not Path(self.npm_folder).expanduser().is_dir():
                return [f"{self.npm_folder}: there is no such folder. Check --npm_folder."]
            if self.to == "fp32" and self.max_drop != 0.5:
                return ["--max_drop is what int8 weights may cost, but --to is fp32. Leave one of them out."]
            return []
        given = {"to": self.to is not None, "max_drop": self.max_drop != 0.5, "npm_folder": self.npm_folder is not None}
        other = "For int8 weights there is understudy quantize."
        return [
            f"--{flag} belongs to --format web, but --format is {self.format}. {other if flag != 'npm_folder' else 'Leave it out.'}"
            for flag, is_given in given.items()
            if is_given
        ]
