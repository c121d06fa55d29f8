"""The number of threads that training uses, as the plan says it and as it stands on the record."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.cores import how_threads_wait

TRAINING_THREADS = "training_threads"
BECAUSE = f"{TRAINING_THREADS}_because"
SIDE_BY_SIDE = "side_by_side"
WAIT = "threads_wait"
"""Their names in the record's ``hardware``, beside the ``threads`` of everything else."""


@dataclass(frozen=True)
class Threads:
    """How many threads training uses in each process, and why."""

    training: int
    because: str
    side_by_side: bool = False
    """Whether the student and the same student without teacher train at the same time, in a process each."""
    wait: str = field(default_factory=how_threads_wait)
    """How they wait for each other."""

    @property
    def line(self) -> str:
        """All of it, for the plan.

        Example:
            >>> Threads(2, "as --threads says", wait="by OMP_WAIT_POLICY=passive").line
            '2, as --threads says; threads wait by OMP_WAIT_POLICY=passive'
        """
        twice = "; with the teacher and without it side by side, in a process each" * self.side_by_side
        return f"{self.training}, {self.because}{twice}; threads wait {self.wait}"

    def on_record(self) -> dict[str, int | str | bool]:
        """All of it, for the record."""
        twice = {SIDE_BY_SIDE: True} if self.side_by_side else {}
        return {TRAINING_THREADS: self.training, BECAUSE: self.because, WAIT: self.wait, **twice}
