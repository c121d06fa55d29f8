"""Where a run goes, how it ends, and whether it is one of several seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from understudy.cores import MOST_THREADS
from understudy.errors import shortened
from understudy.folders.contents import clashes
from understudy.folders.run import output_faults
from understudy.settings.configuration import as_dict, given
from understudy.settings.flags import Shown
from understudy.settings.values import seconds


@dataclass(kw_only=True)
class RunSettings:
    """Where a run goes and how it ends."""

    group: ClassVar[str] = "Run"
    command: ClassVar[str]
    """The command's name on the command line."""
    output: Annotated[str | None, Shown("FOLDER")] = None
    """The run folder (runs/<command>-<time>)."""
    overwrite: bool = False
    """Replace an earlier run in --output."""
    resume: bool = False
    """Go on with the unfinished run in --output."""
    dry_run: bool = False
    """Print the plan (rows, tokens, steps, time, memory) and stop."""
    time_budget: Annotated[str | None, Shown("90s|30m|2h")] = None
    """End cleanly after this long, with the best weights so far."""
    seed: Annotated[int, Ge(0)] = 0
    """Fixes data order, initialisation and dropout."""
    threads: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N")] | None = None
    """Processor threads (OMP_NUM_THREADS, or measured)."""

    quiet: Annotated[bool, Shown(rare=True)] = False
    """Print nothing: no plan, no progress, no table."""

    def data_read(self) -> Sequence[str]:
        """The names of the data that the command reads."""
        return ()

    def models_read(self) -> Sequence[str]:
        """The names of what else decides its result: models, teachers, files of answers, tokenizers, word vectors."""
        return ()

    def tracked_group(self) -> str | None:
        """What a tracker shows together with this run; None for a run by itself."""
        return None

    def run_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        faults = []
        if self.overwrite and self.resume:
            faults.append("--overwrite and --resume contradict each other: give one of them.")
        if self.time_budget is not None and seconds(self.time_budget) is None:
            faults.append(
                f"time_budget must be a number with s, m or h, such as 90s, 30m or 1.5h, but is {shortened(self.time_budget)}."
            )
        if self.overwrite and self.output is not None:
            faults += clashes(Path(self.output).expanduser(), [*self.data_read(), *self.models_read()])
        if os.environ.get("RANK", "0") == "0":  # the other processes may find what the first has just begun
            faults += output_faults(
                self.command,
                as_dict(self),
                given=given(self),
                output=self.output,
                overwrite=self.overwrite,
                resume=self.resume,
            )
        return faults


@dataclass(kw_only=True)
class SeedsSettings:
    """One run for each seed."""

    group: ClassVar[str] = "Run"
    seeds: Annotated[list[Annotated[int, Ge(0)]], Shown("N")] = field(default_factory=list)
    """Train once with each seed, in folders below --output; the table shows mean and deviation."""

    def seeds_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        faults = [
            f"--seeds names {seed} more than once." for seed in dict.fromkeys(self.seeds) if self.seeds.count(seed) > 1
        ]
        if self.seeds and getattr(self, "seed", 0) != RunSettings.seed:
            faults.append("--seed and --seeds both say what the seed is. Leave one of them out.")
        return faults
