"""Several tasks at once: one encoder with a head a task, or encoders that are kept near each other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.batches.mixed import MixedBatches, sampling_powers
from understudy.data.glue.read import TaskData
from understudy.data.glue.tasks import BESIDE
from understudy.data.tokens.encode import Encoded, encode
from understudy.evaluation.quality import Evaluation, evaluate
from understudy.functional.chance import chance_loss
from understudy.functional.glue_score import average, task_score
from understudy.functional.metrics import AVERAGE
from understudy.functional.scoring import higher_is_better
from understudy.inference.answering import Answering
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.files.multitask import TrainedTasks
from understudy.objectives.multitask import MultiTask
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.teacher import Teacher
from understudy.objectives.terms import term_names
from understudy.recipes.train.glue.joint.start import probe_lines, start_tasks
from understudy.recipes.train.glue.joint.subject import dev_parts, subject_of
from understudy.recipes.train.glue.results import scored_parts
from understudy.runs.entries import has_entry, put_on_record
from understudy.runs.fitting.batches import phase_batches
from understudy.runs.fitting.learning import learning_lines, learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.plans import cost_lines
from understudy.runs.saving import save_classifier, save_multitask
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.train.glue import GlueSettings

AT_BEST, REFINED = ", at its own best", ", fine-tuned"
"""What the names of entries end with: a task's own best weights, and those after a training by itself."""


class Joint:
    """Rows of several tasks in; one model for all, the best weights for each, and each refined if that is asked for."""

    ends: tuple[str, ...] = ("", AT_BEST, REFINED)
    """What the names of entries end with, in the order of the table."""
    later = 0
    """How many trainings as long as that of the model come after all others: a time budget is shared."""

    def __init__(self, settings: GlueSettings, data: Sequence[TaskData]) -> None:
        self.settings, self.data = settings, {task.name: task for task in data}
        self.beside = [task.name for task in data if task.glue is not None and task.name in BESIDE]
        start = start_tasks(settings, data)
        self.model, self.tokenizer, self.names = start.model, start.tokenizer, start.names
        self.learning_rate = start.learning_rate
        self.notes: Sequence[str] = start.notes
        self.probes = start.probes
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self._encode()
        self.objective = MultiTask(
            self.model,
            {task.name: task.splits.task.kind for task in data},
            self._loss_weights(),
            distance=None if settings.sharing == "hard" else settings.soft_weight,
        )
        self.terms = term_names(self.objective)
        self.plan = learning_plan(self.objective, settings, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates
        self.batches = self.mixed({})
        self.subject = subject_of(self.data)

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, steps, sampling, weights of the losses, time and memory."""
        settings = self.settings
        steps = [self.batches.task_steps(epoch) for epoch in (0, settings.epochs - 1)]
        said = ", ".join(
            f"{name} {first} to {last}" for name, first, last in zip(self.data, *(part.tolist() for part in steps))
        )
        tokens = sum(int(encoded.lengths.sum()) for encoded, _ in self.encoded.values())
        weights = ", ".join(f"{name} {weight:.3g}" for name, weight in self.objective.weights.items())
        copies = len(self.data) + 1
        size = sum(p.numel() * p.element_size() for p in self.model.parameters()) / 1e6
        encoders = (
            "one for all"
            if self.model.shared
            else f"{len(self.data)}, one a task, held together with weight {settings.soft_weight:g}"
        )
        lines = {
            "tasks": ", ".join(f"{name} ({len(task.splits.train):,} rows)" for name, task in self.data.items()),
            "encoders": encoders,
            **probe_lines(self.probes),
            "steps": f"{self.batches.steps(0):,} an epoch ({settings.sampling}: {said}), {settings.epochs} epochs at most",
            "loss weights": weights,
            **learning_lines(self.plan, settings),
            **cost_lines(self.plan, self.batches, tokens=tokens, kept=copies),
        }
        if later := self.later_trainings():
            lines["then"] = f"{' and '.join(later)}, each about as long again as training"
        lines["best weights"] = f"{copies} copies in main memory, of {size:,.0f} MB each: one in common and one a task"
        return lines

    def carry_out(self, session: Session) -> None:
        """Train all tasks at once, save the model, score every task, refine each if that is asked for."""
        self.train_all(session)
        if session.run.writes:
            tasks = {name: task.splits.task for name, task in self.data.items()}
            models = {name: self.calibrated(session, name, self.model.task(name)) for name in self.data}
            temperatures = {name: model.temperature for name, model in models.items()}
            trained = TrainedTasks(self.model, self.tokenizer, tasks, self.length, temperatures)
            texts = {name: task.splits.validation.texts for name, task in self.data.items()}
            save_multitask(session.run.folder / "model", trained, texts)
            for name, model in models.items():
                self.describe(session, name, "", model)
        if self.settings.then == "finetune":
            count = len(self.data)  # to refine all of them takes about as long as to train them at once
            for number, name in enumerate(self.data):
                self._refine(session, name, share=1 / (count - number + self.later * count))
        self.set_beside(session)
        if session.run.writes:
            for end in self.ends:
                self._average(session, end)
            self._order(session)

    def later_trainings(self) -> list[str]:
        """What is trained after the model, for the plan; each takes about as long as that."""
        return ["each task by itself"] if self.settings.then == "finetune" else []

    def train_all(self, session: Session) -> None:
        """Fit the model; the best weights of each task are kept beside those that are best in common."""
        primary = {f"{name}/{task.splits.task.metrics[0]}": name for name, task in self.data.items()}
        if self.probes:
            found = {name: start.on_record() for name, start in self.probes.items()}
            session.run.record.training.setdefault("joint", {})["start"] = found
        self.fit(
            session,
            self.objective,
            self.batches,
            phase="joint",
            share=1 / (1 + (self.settings.then == "finetune") + self.later),
            keepers={metric: higher_is_better(metric) for metric in primary},
            visit=lambda metric: self._at_its_best(session, primary[metric]),
        )

    def fit(
        self,
        session: Session,
        objective: MultiTask,
        batches: MixedBatches,
        *,
        phase: str,
        share: float = 1.0,
        keepers: Mapping[str, bool] | None = None,
        visit: Callable[[str], None] = lambda metric: None,
    ) -> None:
        """Train on all tasks; the model ends with the weights that are best by the average of the tasks.

        Args:
            share: of the time that is left.
            phase, keepers, visit: as in :func:`understudy.runs.fitting.phase.train_phase`.
        """
        train_phase(
            session,
            objective,
            batches,
            phase=phase,
            validation=self._validation(session),
            learning_rate=self.learning_rate,
            budget_s=session.stop.share(share),
            keepers=keepers,
            visit=visit,
        )

    def set_beside(self, session: Session) -> None:
        """Put on the record what the model is compared with: here nothing more."""

    def mixed(self, teachers: Mapping[str, Teacher]) -> MixedBatches:
        """The batches of all tasks, with the answers of those teachers that there are."""
        settings = self.settings
        return MixedBatches(
            {task: self._batches(task, teachers.get(task)) for task in self.data},
            powers=sampling_powers(settings.sampling, settings.epochs, temperature=settings.sampling_temperature),
            seed=settings.seed,
        )

    def _encode(self) -> None:
        """The token ids of each task's training and validation rows, and the notes on them."""
        self.encoded: dict[str, tuple[Encoded, Encoded]] = {}
        for name, data in self.data.items():
            train, validation = (
                encode(rows.texts, self.tokenizer, max_length=self.length)
                for rows in (data.splits.train, data.splits.validation)
            )
            self.encoded[name] = train, validation
            parts = {f"{name}, train": train, f"{name}, validation": validation}
            self.notes = [*self.notes, *said_of_cuts(parts, self.length, more=how_to_read_more(self.model))]

    def _loss_weights(self) -> dict[str, float]:
        given = self.settings.task_weights
        if given:
            return dict(zip(self.data, given, strict=True))
        if self.settings.loss_scale == "none":
            return dict.fromkeys(self.data, 1.0)
        return {name: 1 / chance_loss(task.splits.train.labels) for name, task in self.data.items()}

    def _batches(self, name: str, teacher: Teacher | None = None) -> BucketedBatches:
        return phase_batches(
            self.encoded[name][0],
            self.data[name].splits.train.labels,
            self.model,
            names=self.names[name],
            batch_size=self.settings.batch_size,
            max_tokens=self.settings.max_tokens,
            seed=self.settings.seed,
            teacher=teacher,
        )

    def _scores(self, session: Session, name: str, model: Any) -> dict[str, float]:
        """A task's scores on its validation rows, under names with the task's in front."""
        task, rows = self.data[name].splits.task, self.data[name].splits.validation
        outputs = logits(model, self.encoded[name][1], names=self.names[name], device=session.device)
        found = evaluate(outputs, rows.labels, task).metrics
        return {f"{name}/{metric}": value for metric, value in found.items()}

    def _validation(self, session: Session) -> Callable[[nn.Module], dict[str, float]]:
        def score(model: Any) -> dict[str, float]:
            parts = {name: self._scores(session, name, model.task(name)) for name in self.data}
            numbers = {name: task_score([scores]) for name, scores in parts.items()}
            whole = average(numbers, beside=self.beside)
            mean = average(numbers) if whole is None else whole
            assert mean is not None
            return {AVERAGE: mean} | {metric: value for scores in parts.values() for metric, value in scores.items()}

        return score

    def calibrated(self, session: Session, name: str, model: Any) -> Predictor:
        """A task's model for raw text, with the temperature that suits the task's validation rows."""
        predictor = Predictor(model, self.tokenizer, self.data[name].splits.task, self.length)
        calibrate(session, predictor, self.data[name].splits)
        return predictor

    def describe(self, session: Session, name: str, end: str, model: Answering) -> None:
        """Put a task's model on the record: its scores on the development set, its parameters."""
        with session.run.timed("evaluate_s"):
            data = self.data[name]
            scores, _ = scored_parts(
                session, f"model{end}", name, model, dev_parts(data), metrics=data.splits.task.metrics
            )
        plain = {split: Evaluation(found.metrics, found.intervals) for split, found in scores.items()}
        put_on_record(session, f"{name}{end}", scores=plain, facts=model.summary())

    def _keep(self, session: Session, name: str, kind: str, end: str, model: Any) -> None:
        """Write a task's model as one for that task alone, and put it on the record."""
        alone = copy.deepcopy(model)  # saving writes the task into the configuration
        predictor = self.calibrated(session, name, alone)
        save_classifier(session.run.folder / f"{kind}-{name}", predictor, self.data[name].splits.validation.texts)
        self.describe(session, name, end, predictor)

    def _at_its_best(self, session: Session, name: str) -> None:
        if session.run.writes:
            self._keep(session, name, "best", AT_BEST, self.model.task(name))

    def _refine(self, session: Session, name: str, *, share: float) -> None:
        """Train one task by itself, from the weights that are best in common, in a share of the time that is left."""
        metric = f"{name}/{self.data[name].splits.task.metrics[0]}"
        own: Any = copy.copy(session)
        own.metrics = [metric]
        model = copy.deepcopy(self.model.task(name))
        train_phase(
            own,
            Supervised(model, self.data[name].splits.task.kind),
            self._batches(name),
            phase=f"finetune {name}",
            validation=lambda bare: self._scores(session, name, bare),
            learning_rate=self.learning_rate,
            budget_s=session.stop.share(share),
        )
        if session.run.writes:
            self._keep(session, name, "finetuned", REFINED, model)

    def _average(self, session: Session, end: str) -> None:
        names = [f"{name}{end}" for name in self.data]
        if not all(has_entry(session, name) for name in names):
            return
        numbers = {name: task_score(session.run.record.model(f"{name}{end}")["metrics"].values()) for name in self.data}
        found = average(numbers, beside=self.beside)
        if found is not None:
            put_on_record(session, f"{AVERAGE}{end}", scores={"validation": Evaluation({AVERAGE: found})}, facts={})

    def _order(self, session: Session) -> None:
        """Put the entries in the order of the table: all tasks in common, each at its best, each refined, and so on."""
        names = [f"{name}{end}" for end in self.ends for name in (*self.data, AVERAGE)]
        record = session.run.record
        record.models.sort(key=lambda entry: names.index(entry["name"]))
        record.split = "validation"
        session.run.save()
