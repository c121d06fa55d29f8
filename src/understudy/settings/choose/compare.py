"""Settings of ``understudy compare``."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from understudy.cores import MOST_THREADS
from understudy.settings.choose.contestants import Contestant, contestant, contestants_faults
from understudy.settings.choose.ranges import TUNABLE, Range, ranges_faults, read_range
from understudy.settings.data import DataSettings
from understudy.settings.engine import RAY, EngineSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.training import TrainSettings


@dataclass(kw_only=True)
class CompareSettings(DataSettings, TrainSettings, SeedsSettings, EngineSettings, RunSettings):
    """Train several models under one configuration, compare quality and cost, say which one to ship."""

    group: ClassVar[str] = "Model"
    command: ClassVar[str] = "compare"
    models: Annotated[list[str], Shown("MODEL", required=True)] = field(default_factory=list)
    """Model folders, hub ids, `bilstm`, `static`, `layers:N`, `tfidf`. MODEL+lora trains an adapter in it, layers:3+distilled learns from a teacher, NAME=MODEL gives it a name."""
    teacher: Annotated[str | None, Shown("MODEL")] = None
    """Who teaches the +distilled ones: a run or a model (the first encoder of --models, as trained here with the same rows and seed)."""
    encoder: Annotated[str | None, Shown("MODEL")] = None
    """What bilstm, static and layers:N have their tokenizer, embeddings and layers from, where they are not distilled (the first encoder of --models)."""
    unlabeled: Annotated[str | None, Shown("FILE", group="Data")] = None
    """A file of texts without labels: the teacher labels them for the +distilled ones."""
    limit_train: Annotated[list[Annotated[int, Gt(0)]], Shown("N", group="Data")] = field(default_factory=list)  # type: ignore[assignment]
    """Use only N training rows, drawn by the seed, balanced over the classes. Several numbers: quality against labels, and where models cross."""
    parallel: Annotated[int, Ge(1), Le(MOST_THREADS), Shown("N", group="Run")] = 1
    """Train N models at a time; the processor's threads are divided among them."""
    search: Annotated[int, Ge(1), Le(1000), Shown("N", group="Training")] | None = None
    """Tune every model with N trials over --ranges, chosen on the validation rows; then train it so with every seed (Optuna)."""
    ranges: Annotated[list[str], Shown("RANGE", group="Training")] = field(default_factory=list)
    """What --search tunes: learning_rate=1e-5..1e-3:log epochs=1..5 batch_size=16,32."""
    trial: Annotated[bool, Shown(group="Training", rare=True)] = False
    """Score the one model on the validation rows and leave the test rows alone: what --search does in its trials."""
    watts: Annotated[float, Gt(0), Shown("W", group="Run", rare=True)] = 10.0
    """What a busy thread is assumed to draw, for the estimate of energy."""

    def contestants(self) -> list[Contestant]:
        """The entries of ``--models``, in their order."""
        return [contestant(entry) for entry in self.models]

    def first_encoder(self) -> Contestant | None:
        """The first entry that is a pretrained model all of whose weights learn."""
        return next((one for one in self.contestants() if one.is_encoder), None)

    def is_family(self) -> bool:
        """Whether there are several runs: a single one is one model with one seed and one number of rows."""
        several = len(self.models) > 1 or bool(self.seeds) or len(self.limit_train) > 1
        return several or self.search is not None

    def tracked_group(self) -> str:
        """A model with all its seeds."""
        return self.contestants()[0].name

    def data_read(self) -> list[str]:
        """The names of the data that the command reads, the pool included."""
        return super().data_read() + ([] if self.unlabeled is None else [self.unlabeled])

    def models_read(self) -> Sequence[str]:
        """The names of what else decides the result: models, teacher, encoder."""
        named = [one.spec for one in self.contestants() if one.kind == "encoder"]
        return list(dict.fromkeys([*named, *(name for name in (self.teacher, self.encoder) if name)]))

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = (
            self.data_faults() + self.run_faults() + self.seeds_faults() + self.train_faults() + self.engine_faults()
        )
        if not self.models:
            return [
                *faults,
                "no models: name what is to be compared with --models, such as a model folder, bilstm and tfidf.",
            ]
        faults += contestants_faults(self.models, teacher=self.teacher, encoder=self.encoder)
        if self.teacher is not None:
            faults += model_faults(self.teacher, adapters=True)
            if not any(one.distilled for one in self.contestants()):
                faults.append("--teacher teaches the models named +distilled, and there is none. Leave it out.")
        if self.encoder is not None:
            faults += model_faults(self.encoder)
            if not any(one.kind == "student" and not one.distilled for one in self.contestants()):
                faults.append(
                    "--encoder is what students are made of that are not distilled, and there is none. Leave it out."
                )
        if self.unlabeled is not None and not any(one.distilled for one in self.contestants()):
            faults.append("--unlabeled is labelled for the models named +distilled, and there is none. Leave it out.")
        faults += [
            f"--limit_train names {rows} more than once."
            for rows in dict.fromkeys(self.limit_train)
            if self.limit_train.count(rows) > 1
        ]
        if self.engine == RAY and self.models and not self.is_family():
            faults.append("--engine ray spreads several runs, but there is one. Leave it out, or give --seeds.")
        if self.trial and self.is_family():
            faults.append("--trial scores one model with one seed, but there are several. Leave it out.")
        return faults + self._search_faults() + self._unequal()

    def tuned(self) -> list[Range]:
        """The entries of ``--ranges``, in their order."""
        return [read_range(entry) for entry in self.ranges]

    def _search_faults(self) -> list[str]:
        """What is wrong with the tuning."""
        if self.search is None:
            return ["--ranges says what --search tunes. Give --search N too."] if self.ranges else []
        if not self.ranges:
            return [
                "--search needs --ranges: say what is tuned, as in --ranges learning_rate=1e-5..1e-3:log epochs=1..5."
            ]
        faults = ranges_faults(self.ranges)
        plain = CompareSettings()
        named = [entry.partition("=")[0] for entry in self.ranges]
        faults += [
            f"--{name} and --ranges both say what {name} is. Leave one of them out."
            for name in dict.fromkeys(named)
            if name in TUNABLE and getattr(self, name) != getattr(plain, name)
        ]
        if importlib.util.find_spec("optuna") is None:
            faults.append("--search needs 'optuna', which is not installed. Run: pip install 'understudy[search]'")
        return faults

    def _unequal(self) -> list[str]:
        """Flags about the layers of one architecture, under which models could not be compared."""
        flags = [flag for flag in self.layer_flags() if flag != "--learning_rate auto"]
        if not flags:
            return []
        return [f"{', '.join(flags)}: this suits one kind of model, and several are compared. Leave it out."]
