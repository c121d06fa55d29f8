"""Settings of ``understudy search``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.cores import MOST_THREADS
from understudy.settings.choose.candidates import Candidate, candidate, candidates_faults
from understudy.settings.data import DataSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings
from understudy.settings.train.distill import is_outputs_file
from understudy.settings.training import TrainSettings

STUDENTS = (
    *("tfidf", "static:32", "static:128", "static:300", "static:128+bpe:8000"),
    *("bilstm:64", "bilstm:128", "bilstm:128+bpe:8000", "layers:1", "layers:2", "layers:3", "layers:6"),
)
"""What is tried where nothing is named."""
Format = Literal["pytorch", "onnx", "int8"]
FORMATS: tuple[Format, ...] = ("pytorch", "onnx", "int8")
MEGABYTE = 1e6


@dataclass(kw_only=True)
class SearchSettings(DataSettings, TrainSettings, RunSettings):
    """Find the best small student that fits a budget of latency and size; what cannot fit is not trained."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "search"
    seeds: ClassVar[tuple[int, ...]] = ()
    """A search has one seed: families of searches are not made."""
    teacher: Annotated[str | None, Shown("MODEL", group="Teacher", required=True)] = None
    """Who teaches: a run (TF-IDF too), a model folder or a hub id."""
    max_latency_ms: Annotated[float, Gt(0), Shown("MS")] | None = None
    """Median time for one text on this machine, tokenisation included."""
    max_size_mb: Annotated[float, Gt(0), Shown("MB")] | None = None
    """Size of the weights, in millions of bytes."""
    min_share: Annotated[float, Gt(0), Le(2), Shown("X")] | None = None
    """Share of the teacher's validation score that is enough: 0.98."""
    students: Annotated[list[str], Shown("STUDENT", group="Student")] = field(default_factory=lambda: list(STUDENTS))
    """What to try: tfidf, static:WIDTH, bilstm:WIDTH, layers:N[:WIDTH]; static:128+bpe:8000 has a tokenizer of its own."""
    formats: Annotated[list[Format], Shown("FORMAT", group="Student")] = field(default_factory=list)
    """How a trained student may be shipped: pytorch, onnx, int8 (all that is installed)."""
    unlabeled: Annotated[str | None, Shown("FILE", group="Data")] = None
    """The pool: texts without labels, a file or a folder."""
    rungs: Annotated[int, Ge(1), Le(10), Shown("N")] = 3
    """Rounds of training: in each, the best go on to the next with more texts and epochs. 1 trains all in full."""
    eta: Annotated[int, Ge(2), Le(100), Shown("N")] = 3
    """Of each rung, one in N goes on, and is trained N times as long."""
    rung: Annotated[int, Ge(1), Shown("N", rare=True)] | None = None
    """Train the one student of --students as on this rung, and end there: what a search does for each of its trials."""
    epochs: Annotated[Annotated[int, Gt(0)] | Literal["auto"], Shown("N|auto", group="Training")] = "auto"  # type: ignore[assignment]
    """Passes over all texts on the last rung; auto for as many as `distill` would choose."""
    batch_size: Annotated[int, Gt(0), Shown(group="Training")] | None = None  # type: ignore[assignment]
    """Rows of an optimizer step (32, or 64)."""
    parallel: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N", group="Run")] = 1
    """Train N students at a time; the processor's threads are divided among them."""

    def candidates(self) -> list[Candidate]:
        """The entries of ``--students``, in their order."""
        return [candidate(entry) for entry in self.students]

    def limits(self) -> dict[str, float]:
        """The budget, by what is measured of a model."""
        size = None if self.max_size_mb is None else self.max_size_mb * MEGABYTE
        given = {"latency_ms": self.max_latency_ms, "size_bytes": size}
        return {name: limit for name, limit in given.items() if limit is not None}

    def data_read(self) -> list[str]:
        """The names of the data that the command reads, the pool included."""
        return super().data_read() + ([] if self.unlabeled is None else [self.unlabeled])

    def models_read(self) -> Sequence[str]:
        """The name of the teacher."""
        return [] if self.teacher is None else [self.teacher]

    def tracked_group(self) -> str:
        """A student with all its rungs."""
        return self.students[0]

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.train_faults()
        if self.teacher is None:
            faults.append("no teacher: name a run, a model folder or a hub id with --teacher.")
        elif is_outputs_file(self.teacher):
            faults.append(
                f"--teacher must be a model, but {self.teacher} is a file of outputs, which cannot answer for the validation rows. Name a model, or use distill."
            )
        else:
            faults += model_faults(self.teacher, adapters=True)
        if not self.limits() and self.rung is None:
            faults.append("no budget: say what the model may cost, with --max_latency_ms, --max_size_mb or both.")
        if not self.students:
            faults.append("no students: name what is to be tried with --students, or leave the flag out.")
        faults += candidates_faults(self.students)
        faults += [
            f"--formats names {name} more than once. Name it once."
            for name in dict.fromkeys(self.formats)
            if self.formats.count(name) > 1
        ]
        if self.rung is not None and (self.rung > self.rungs or len(self.students) != 1):
            faults.append(
                f"--rung says how long one student is trained: it must be at most --rungs ({self.rungs}), with one entry in --students. It is {self.rung}, with {len(self.students)}."
            )
        if flags := self.layer_flags():
            faults.append(
                f"{', '.join(flags)}: this suits one kind of student, and several are tried. Leave it out, and distill the winner with it."
            )
        return faults
