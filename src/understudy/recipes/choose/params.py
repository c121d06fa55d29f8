"""``understudy params``: where a model's parameters are, and how large it is; several models side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from understudy.settings.configuration import check


@dataclass(kw_only=True)
class Params:
    """Parameters by component and bytes of any models, from their configurations: no weights are read or needed."""

    positional: ClassVar[tuple[str, ...]] = ("models",)
    models: list[str] = field(default_factory=list)
    """Runs, model folders, config.json files or hub ids; also as bare words (`understudy params MODEL MODEL`).
    Several stand side by side, compared with the first."""
    json: bool = False
    """Print JSON instead of a table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading a configuration."""
        if not self.models:
            return ["no models: name runs, model folders or config.json files, as in: understudy params runs/student."]
        return []

    def run(self) -> list[dict[str, Any]]:
        """Count; one entry a model.

        Raises:
            UnderstudyError: with one sentence for each model that cannot be counted.
        """
        check(self)
        from understudy.errors import ConfigError, UnderstudyError
        from understudy.models.structure.shapes import BYTES_PER_PARAMETER, components, meta_model

        entries: list[dict[str, Any]] = []
        faults: list[str] = []
        for name in self.models:
            try:
                parts = components(meta_model(name))
            except UnderstudyError as error:
                faults += error.faults
                continue
            total = sum(part.parameters for part in parts)
            entry = {"name": name, "parameters": total, "components": [part._asdict() for part in parts]}
            entry["bytes"] = {kind: size * total for kind, size in BYTES_PER_PARAMETER.items()}
            entries.append(entry)
        if faults:
            raise ConfigError(*dict.fromkeys(faults))
        for entry in entries:
            entry["ratio"] = entry["parameters"] / entries[0]["parameters"]
        if self.json:
            print(json.dumps(entries, indent=1))
        else:
            from rich.console import Console

            from understudy.report.tables import parameters_table

            Console().print(parameters_table(entries))
        return entries
