"""Where work is done that can be spread: on this machine, or on the machines of a Ray cluster."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from understudy.settings.flags import Shown

LOCAL: Literal["local"] = "local"
RAY: Literal["ray"] = "ray"


@dataclass(kw_only=True)
class EngineSettings:
    """Where the work is done."""

    group: ClassVar[str] = "Run"
    engine: Annotated[Literal["local", "ray"], Shown(rare=True)] = "local"
    """ray: spread the work over a Ray cluster."""

    def engine_faults(self) -> list[str]:
        """What is wrong with these settings by themselves.

        Example:
            >>> EngineSettings().engine_faults()
            []
        """
        if self.engine == RAY and importlib.util.find_spec("ray") is None:
            return ["--engine ray needs 'ray', which is not installed. Run: pip install 'understudy[cluster]'"]
        return []
