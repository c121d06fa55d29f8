"""``understudy params``: where a model's parameters are, and how large it is; several models side by side."""

from __future__ import annotations

import json
from typing import Any

from understudy.errors import ConfigError, UnderstudyError
from understudy.models.structure.shapes import BYTES_PER_PARAMETER, components, meta_model
from understudy.report.tables.parameters import parameters_table
from understudy.settings.choose.params import ParamsSettings
from understudy.settings.configuration import check
from understudy.terminal.lines import give
from understudy.terminal.screen import draw_or_return


class Params(ParamsSettings):
    """Parameters by component and bytes of any models, from their configurations: no weights are read or needed."""

    def run(self) -> list[dict[str, Any]]:
        """Count; one entry a model.

        Raises:
            UnderstudyError: with one sentence for each model that cannot be counted.
        """
        check(self)
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
            give(json.dumps(entries, indent=1))
            return entries
        return draw_or_return(entries, parameters_table(entries))
