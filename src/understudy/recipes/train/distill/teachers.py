"""The teachers of a distillation: models and files of outputs, loaded, checked and asked for their answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from understudy.data.readers.columns import said_of_columns
from understudy.data.readers.formats.reading import Reading
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encoder import Text
from understudy.errors import gathered
from understudy.inference.answering import Answering
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.files.multitask import check_has_tasks
from understudy.models.structure.layers import base_model, has_encoder
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.file import FileTeacher
from understudy.objectives.teachers.load import LoadedTeacher, load_teacher
from understudy.objectives.teachers.teacher import AveragedTeacher, Teacher
from understudy.recipes.train.distill.texts import answered
from understudy.runs.cluster.teaching import SameTeacher, taught_on_ray
from understudy.runs.devices import a_batch_a_core
from understudy.runs.session import Session
from understudy.settings.engine import LOCAL, RAY
from understudy.settings.train.distill import is_outputs_file

_MOST_KEPT = 50_000_000
"""Numbers in the vectors of a set of texts: 200 MB, twice on disk. Of more texts they are not kept; the probe reads again."""


class Teachers:
    """All teachers of a run, in the order in which they were named.

    Args:
        names: models (runs, folders, hub ids) and files of outputs.
        weights: in the average, one a teacher; empty for equal ones.
        task: what they must have been trained for.
        max_length: of the models' texts; their own by default.
        of_several: of models for several tasks, the one that teaches.
        engine: where the models label texts, see :class:`understudy.settings.engine.EngineSettings`.
        faults: what is wrong with them is added to it.
    """

    def __init__(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        task: Task,
        *,
        max_length: int | None,
        of_several: str | None = None,
        engine: str = LOCAL,
        faults: list[str],
    ) -> None:
        self.names, self.task, self._of_several = names, task, of_several
        self._max_length, self._engine = max_length, engine
        self._weights = dict(zip(names, weights or [1.0] * len(names), strict=True))
        self.models: dict[str, LoadedTeacher] = {}
        """By name: whatever answers for texts, and its outputs in the task's order."""
        self.files: dict[str, FileTeacher] = {}
        self._labelled_here: dict[str, int] = {}
        for name in self.model_names:
            with gathered(faults):
                self.models[name] = load_teacher(name, task, max_length=max_length, of_several=of_several)
        if not faults:
            with gathered(faults):
                check_has_tasks(self.model_names, of_several)

    @property
    def model_names(self) -> list[str]:
        """The teachers that are models."""
        return [name for name in self.names if not is_outputs_file(name)]

    @property
    def forward_texts(self) -> int:
        """The texts that the models have read for this run, before it was resumed too."""
        return sum(self._labelled_here.values())

    @property
    def source(self) -> str | None:
        """The model that a student may take its tokenizer, embeddings or layers from: the first one that is a network.

        A model that could not be loaded counts as a network.
        """
        return next((name for name in self.model_names if self._has_layers(name)), None)

    @property
    def temperature(self) -> float:
        """That of the probabilities of the one model that answers; 1 of an average. Students learn from logits as they are."""
        models = [model for model, *_ in self.models.values()]
        return models[0].temperature if len(models) == 1 else 1.0

    @property
    def encoder(self) -> Predictor | None:
        """The first model that is built on an encoder of transformers."""
        networks = (model for model, *_ in self.models.values() if isinstance(model, Predictor))
        return next((model for model in networks if has_encoder(model.model)), None)

    @cached_property
    def _encoder_gives_means(self) -> bool:
        """Whether the pass of :attr:`encoder` over texts for their answers gives the means of its states too."""
        return self.encoder is not None and self.encoder.gives_means()

    @property
    def are_tfidf(self) -> bool:
        """Whether all models among them are TF-IDF."""
        return all(isinstance(model, LinearPredictor) for model, *_ in self.models.values())

    @property
    def mask_token(self) -> str:
        """The mask token of the first teacher that has one."""
        tokenizers = [model.tokenizer for model, *_ in self.models.values() if isinstance(model, Predictor)]
        return next((tokenizer.mask_token for tokenizer in tokenizers if tokenizer.mask_token), "[MASK]")

    @property
    def notes(self) -> list[str]:
        """Which models read other columns than they were trained on or another length than asked, and what is in the files."""
        read = self.task.text
        other = [said_of_columns(name, known.trained or read, read) for name, known in self.models.items()]
        other += [self._said_of_length(name, known.model) for name, known in self.models.items()]
        return [note for notes in (*other, *(file.notes for file in self.files.values())) for note in notes]

    def read_files(self, texts: Texts, reading: Reading, faults: list[str]) -> None:
        """Read the files of outputs, for the texts that they are to answer; with `reading`, where they cannot be read as they are."""
        for name in self.names:
            if name not in self.model_names:
                with gathered(faults):
                    self.files[name] = FileTeacher(name, texts, self.task, reading=reading)

    def will_answer(self, texts: int) -> np.ndarray:
        """Whether each of the texts that the files were read for will have an answer: models answer all, bool ``(texts,)``."""
        known = np.full(texts, bool(self.models))
        for file in self.files.values():
            known |= answered(file, texts)
        return known

    def note_known(self, session: Session, texts: Texts, *, vectors_of: Texts | None = None) -> None:
        """Put on the record how many texts have answers in the cache when the run begins: a resumed run finds its own there."""
        before = session.run.record.answered_before
        new = [name for name in self.models if self._noted(name) not in before]
        if new and session.accelerator.is_main_process:
            before |= {self._noted(name): self._known(name, texts, vectors_of) for name in new}
            session.run.save()

    def _noted(self, name: str) -> str:
        return name if self._of_several is None else f"{name}, {self._of_several}"

    def _known(self, name: str, texts: Texts, vectors_of: Texts | None) -> int:
        means_of = vectors_of if vectors_of is not None and self._gives_vectors(name, vectors_of) else None
        return CachedTeacher.known(self.models[name].model, texts, means_of=means_of)

    def label(self, session: Session, texts: Texts, *, vectors_of: Texts | None = None) -> Teacher:
        """Send each distinct text through each teacher once, or read its answer from the cache.

        Args:
            vectors_of: those of the texts whose :meth:`vectors` will be wanted: they come out of the same pass.
        """
        with session.run.timed("label_pool_s"):
            found = [
                self.files[name] if name in self.files else self._cached(session, name, texts, vectors_of)
                for name in self.names
            ]
        return self._average(found, self.names)

    def answers(self, session: Session, texts: Texts, *, vectors: bool = False) -> np.ndarray | None:
        """The averaged outputs of the models among the teachers, ``(texts, outputs)``; None where there are none.

        Args:
            vectors: whether the texts' :meth:`vectors` will be wanted: they come out of the same pass.
        """
        if not self.models:
            return None
        known = [
            self._read(session, name, texts, columns=columns, means=vectors and self._gives_vectors(name, texts))
            for name, (_, columns, _) in self.models.items()
        ]
        return self._average(known, list(self.models))(np.arange(len(texts))).numpy()

    def vectors(self, session: Session, texts: Texts) -> np.ndarray | None:
        """The means of the last states of :attr:`encoder` over texts, float32 ``(texts, width)``.

        None where its pass over texts for their answers does not give them, or they are too many to keep.
        """
        name = next((name for name in self.models if self._gives_vectors(name, texts)), None)
        if name is None:
            return None
        known = self._read(session, name, texts, means=True)
        return known(np.arange(len(texts)))[:, self.models[name].model.outputs :].numpy()

    def _gives_vectors(self, name: str, texts: Texts) -> bool:
        if (encoder := self.encoder) is None or self.models[name].model is not encoder or not self._encoder_gives_means:
            return False
        return len(texts) * base_model(encoder.model).config.hidden_size <= _MOST_KEPT

    def _read(self, session: Session, name: str, texts: Texts, **options: Any) -> CachedTeacher:
        stop = session.stop_if_asked
        return _label(session.device, self.models[name].model, texts, on_texts=lambda done, total: stop(), **options)

    def as_one(self) -> Ensemble:
        """The models among the teachers as one, for what they cost."""
        return Ensemble([model for model, *_ in self.models.values()])

    def ordered(self) -> Answering:
        """The one model among the teachers, with its outputs in the task's order."""
        ((model, columns, _),) = self.models.values()
        return model if (columns == np.arange(len(columns))).all() else _Ordered(model, columns)

    def _said_of_length(self, name: str, model: Answering) -> list[str]:
        asked = self._max_length
        if not isinstance(model, ExportedPredictor) or asked in (None, model.facts.max_length):
            return []
        return [
            f"{name}: was exported to read {model.facts.max_length:,} tokens of a text, and does so whatever --max_length ({asked:,}) is."
        ]

    def _has_layers(self, name: str) -> bool:
        return name not in self.models or isinstance(self.models[name].model, Predictor)

    def _average(self, teachers: Sequence[Teacher], names: Sequence[str]) -> Teacher:
        if len(teachers) == 1:
            return teachers[0]
        return AveragedTeacher(teachers, [self._weights[name] for name in names])

    def _cached(self, session: Session, name: str, texts: Texts, vectors_of: Texts | None) -> CachedTeacher:
        model, columns, _ = self.models[name]
        budget, record = session.stop.remaining(), session.run.record
        self.note_known(session, texts, vectors_of=vectors_of)

        def stops() -> bool:
            # half of a time budget is left for the student
            return session.stop.signal_number is not None or (
                budget is not None and session.stop.out_of_time(budget / 2)
            )

        def label(texts: Texts, *, means: bool) -> bool:
            elsewhere = None
            if self._engine == RAY:
                same = SameTeacher(name, self.task, self._max_length, self._of_several, model.fingerprint(), means)
                elsewhere = partial(taught_on_ray, same)
            told: dict[str, Any] = {"on_texts": lambda done, total: session.display.update(done), "should_stop": stops}
            return _label(session.device, model, texts, means=means, elsewhere=elsewhere, **told).complete

        if session.accelerator.is_main_process:
            session.display.start(f"{name} labels", len(texts))
            known = vectors_of is None or not self._gives_vectors(name, vectors_of) or label(vectors_of, means=True)
            if known:  # else it was stopped, and the other texts must wait: some of these would be among them
                label(texts, means=False)
            session.display.close()
            self._labelled_here[name] = self._known(name, texts, vectors_of) - record.answered_before[self._noted(name)]
            record.teacher_forward_texts = self.forward_texts
        session.accelerator.wait_for_everyone()
        session.stop_if_asked()
        teacher = CachedTeacher.gathered(model, texts, columns=columns)
        if not teacher.complete:
            session.run.say(
                f"{name}: half of the time budget went into labelling; the student learns from the texts labelled by then."
            )
        return teacher


class _Ordered(Answering):
    """A model whose outputs are taken in another order."""

    def __init__(self, model: Answering, columns: np.ndarray) -> None:
        self.model, self.columns, self.task, self.temperature = model, columns, model.task, model.temperature

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """The model's outputs in this order."""
        return self.model.logits(texts)[:, self.columns]

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """The model's vectors, which have no order of labels."""
        return self.model.encode(texts)

    def summary(self) -> dict[str, int]:
        """That of the model."""
        return self.model.summary()


def _label(device: torch.device, model: Answering, texts: Texts, **options: Any) -> CachedTeacher:
    """Label texts; on a processor a network computes a batch on each core, and none of them waits for another."""
    model.to(device)
    alone = isinstance(model, Predictor) and not reads_whole(model.model.config)  # an AWD-LSTM keeps its state
    if not alone:
        return CachedTeacher.label(model, texts, **options)
    with a_batch_a_core(device) as workers:
        return CachedTeacher.label(model, texts, workers=workers, **options)
