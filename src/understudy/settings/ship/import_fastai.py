"""Settings of ``understudy import fastai``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from understudy.folders.contents import clashes, is_a_model
from understudy.settings.flags import Shown


@dataclass(kw_only=True)
class ImportFastaiSettings:
    """Make a model folder of a fast.ai language model: its weights and its vocabulary. No code in these files is executed."""

    command: ClassVar[str] = "import fastai"
    positional: ClassVar[tuple[str, ...]] = ("weights", "vocabulary")
    weights: Annotated[str, Shown("FILE", required=True)] = ""
    """The weights: .pth or .h5 of fast.ai 0.7, 1 or 2, or .safetensors; also as a bare word
    (`understudy import fastai weights.pth itos.pkl`)."""
    vocabulary: Annotated[str, Shown("FILE", required=True)] = ""
    """The vocabulary: itos.pkl, a pickled list of words, or the same as .json; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    backward: bool = False
    """The model was trained on reversed text, as fast.ai's `bwd` models were."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = []
        for name, what in (("weights", "a .pth file"), ("vocabulary", "fast.ai's itos.pkl")):
            value = getattr(self, name)
            if not value:
                faults.append(
                    f"no {name}: name {what}, as in: understudy import fastai weights.pth itos.pkl --output runs/wt103."
                )
            elif not Path(value).expanduser().is_file():
                faults.append(f"{value}: no such file. Check the path.")
        if not self.output:
            faults.append("no output: name the folder to make with --output.")
        elif Path(self.output).expanduser().is_file():
            faults.append(f"{self.output}: is a file. Name another --output.")
        elif Path(self.output).expanduser().exists() and not self.overwrite:
            faults.append(f"{self.output}: exists already. Name another --output, or give --overwrite.")
        elif not is_replaceable(Path(self.output).expanduser()):
            faults.append(
                f"{self.output}: the folder is not empty and holds no model of understudy, or more than that. Name another --output."
            )
        if self.output and self.overwrite:
            faults += clashes(Path(self.output).expanduser(), [self.weights, self.vocabulary])
        return faults


def is_replaceable(folder: Path) -> bool:
    """Whether a folder may be replaced by a model: it is not there, is empty, or holds a model of ours and nothing else."""
    return not folder.exists() or is_a_model(folder) or not any(folder.iterdir())
