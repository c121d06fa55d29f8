"""Settings of ``understudy adapter export``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from understudy.models.files.names import adapter_folder
from understudy.settings.flags import Shown
from understudy.settings.ship.import_adapter import output_faults


@dataclass(kw_only=True)
class AdapterExportSettings:
    """Write an adapter as the libraries AdapterHub or PEFT load it."""

    command: ClassVar[str] = "adapter export"
    positional: ClassVar[tuple[str, ...]] = ("adapter",)
    adapter: Annotated[str, Shown("FOLDER", required=True)] = ""
    """A run that trained an adapter, or its model folder; also as a bare word."""
    output: Annotated[str, Shown("FOLDER", group="Run", required=True)] = ""
    """The folder to make."""
    format: Literal["adapterhub", "peft"] | None = None
    """adapterhub or peft (peft for lora and ia3, otherwise adapterhub)."""
    name: Annotated[str, Shown("NAME", rare=True)] = "task"
    """What the adapter is called in AdapterHub's files."""
    overwrite: Annotated[bool, Shown(group="Run")] = False
    """Replace --output if it exists and holds a model of understudy."""
    force: Annotated[bool, Shown(rare=True)] = False
    """Accept a base with other weights than the adapter was trained on."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = adapter_name_faults(self.adapter)
        if not self.name or "." in self.name:
            faults.append(f"--name must not be empty or have a dot, but is '{self.name}'.")
        return faults + output_faults(self.output, overwrite=self.overwrite, read=[self.adapter])


def adapter_name_faults(name: str) -> list[str]:
    """What is wrong with the name of an adapter's folder."""
    if not name:
        return ["no adapter: name a run that trained one, or its model folder."]
    if adapter_folder(name) is None:
        return [f"{name}: is no adapter: there is no such folder, or it holds no adapter_config.json. Check the path."]
    return []
