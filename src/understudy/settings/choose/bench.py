"""Settings of ``understudy bench``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from understudy.cores import MOST_THREADS
from understudy.settings.data import ReadingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults

MOST_WORDS, MOST_ROWS = 100_000, 100_000
"""More than anyone measures: above them, a number is a mistake."""


@dataclass(kw_only=True)
class BenchSettings(ReadingSettings):
    """Parameters, size, latency and throughput of trained models in several formats, tokenisation included."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "bench"
    models: Annotated[list[str], Shown("MODEL", required=True)] = field(default_factory=list)
    """Runs, model folders or exported models."""
    formats: Annotated[list[Literal["pytorch", "onnx", "int8"]], Shown("FORMAT")] = field(default_factory=list)
    """Formats in which each model is measured: pytorch, onnx, int8. What is not exported or quantised is, for the measurement alone (as it is)."""
    texts: Annotated[str | None, Shown("FILE")] = None
    """Texts to measure with (English filler of about 40 words)."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text columns of --texts (found by their usual names)."""
    lengths: Annotated[list[Annotated[int, Ge(1), Le(MOST_WORDS)]], Shown("WORDS")] = field(default_factory=list)
    """Numbers of words: the texts are cut, or repeated, to each of them (as they are)."""
    batch_sizes: Annotated[list[Annotated[int, Ge(1), Le(MOST_ROWS)]], Shown("N")] = field(default_factory=list)
    """Texts that are given together, beside all of them (all of them only)."""
    threads: Annotated[list[Annotated[int, Ge(1), Le(MOST_THREADS)]], Shown("N")] = field(default_factory=list)
    """Processor threads; with several numbers each model is measured on each (as torch chooses)."""
    rounds: Annotated[int, Ge(1), Le(1000)] = 5
    """How often each model has its turn; the spread is that of the rounds."""
    cold_start: bool = False
    """Measure the time from the start of a process to its first answer, and the peak of memory."""
    json: bool = False
    """Print JSON instead of a table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        if not self.models:
            return ["no models: name runs or model folders with --models."]
        faults = [fault for name in self.models for fault in model_faults(name, adapters=True)]
        for flag in ("formats", "lengths", "batch_sizes", "threads"):
            if len(set(given := getattr(self, flag))) < len(given):
                faults.append(f"--{flag} names {given} with one of them twice. Name each once.")
        return faults + self.texts_faults(read=self.texts is not None, flags=("text",))
