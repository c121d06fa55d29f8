"""Settings of ``understudy bench``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from understudy.cores import MOST_THREADS
from understudy.data.readers.formats.reading import reading_faults
from understudy.settings.data import ReadingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults


@dataclass(kw_only=True)
class BenchSettings(ReadingSettings):
    """Parameters, size, latency and throughput of trained models, tokenisation included."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "bench"
    models: Annotated[list[str], Shown("MODEL", required=True)] = field(default_factory=list)
    """Runs or model folders."""
    texts: Annotated[str | None, Shown("FILE")] = None
    """Texts to measure with (English filler of about 40 words)."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text columns of --texts (found by their usual names)."""
    threads: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N")] | None = None
    """Processor threads (as torch chooses)."""
    json: bool = False
    """Print JSON instead of a table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        if not self.models:
            return ["no models: name runs or model folders with --models."]
        return [
            *(fault for name in self.models for fault in model_faults(name, adapters=True)),
            *reading_faults(self.reading),
        ]
