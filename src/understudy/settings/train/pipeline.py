"""Settings of ``understudy run``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from understudy.errors import gathered
from understudy.settings.documents import read_documents
from understudy.settings.flags import Shown


@dataclass(kw_only=True)
class PipelineSettings:
    """Run the commands of a YAML file one after the other: documents between lines of ---, each with its command, its output, and settings as --config takes them. All are read before the first one starts."""

    command: ClassVar[str] = "run"
    positional: ClassVar[tuple[str, ...]] = ("file",)
    file: Annotated[str, Shown("FILE", required=True)] = ""
    """The YAML file; also as a bare word (`understudy run recipes/ulmfit.yaml`)."""
    resume: Annotated[bool, Shown(group="Run")] = False
    """Skip the steps that are finished and go on with the one that was stopped."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace what earlier runs left in the outputs."""

    def faults(self) -> list[str]:
        """What is wrong with these settings and their file, as far as it shows without its commands."""
        if not self.file:
            return ["no file: name the YAML file that holds the steps, as in: understudy run recipes/ulmfit.yaml"]
        faults: list[str] = []
        with gathered(faults):
            read_documents(self.file)
        return faults
