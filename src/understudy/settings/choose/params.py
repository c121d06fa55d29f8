"""Settings of ``understudy params``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from understudy.errors import gathered
from understudy.models.files.names import resolve
from understudy.settings.flags import Shown


@dataclass(kw_only=True)
class ParamsSettings:
    """Parameters by component and bytes of any models, from their configurations: no weights are read or needed."""

    command: ClassVar[str] = "params"
    positional: ClassVar[tuple[str, ...]] = ("models",)
    models: Annotated[list[str], Shown("MODEL", required=True)] = field(default_factory=list)
    """Runs, model folders, config.json files or hub ids; also as bare words (`understudy params MODEL MODEL`).
    Several stand side by side, compared with the first."""
    json: bool = False
    """Print JSON instead of a table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading a configuration."""
        if not self.models:
            return ["no models: name runs, model folders or config.json files, as in: understudy params runs/student."]
        faults: list[str] = []
        for name in self.models:
            with gathered(faults):
                if not Path(name).expanduser().is_file():
                    resolve(name, weights=False)
        return faults
