"""The work of a pruning: rounds of removing and training, then both models on the record."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ConfigError, OutputError, gathered
from understudy.inference.logits import token_budget
from understudy.inference.predictor import Predictor
from understudy.models.shrink.prune.magnitude import keep_zeros, magnitude_prune
from understudy.models.shrink.prune.sizes import is_ours, loads_alone, prune
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.teacher import Teacher
from understudy.objectives.terms import term_names
from understudy.recipes.ship.prune.before import amounts, network
from understudy.recipes.ship.prune.choosing import Amounts, as_record, from_record, measured
from understudy.recipes.ship.prune.results import note_sizes, scored
from understudy.recipes.ship.prune.words import fewer_words
from understudy.recipes.train.distill.distances import distance_faults, objective_of
from understudy.recipes.train.distill.teachers import Teachers
from understudy.recipes.train.distill.texts import all_labels, answered, taught_rows
from understudy.report.scores import PRUNED, UNPRUNED
from understudy.runs.devices import processes
from understudy.runs.fitting.amount import training_amount
from understudy.runs.fitting.batches import phase_batches
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.plans import rows_plan
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import validation_scores
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.runs.text_limits import how_to_read_more, said_of_cuts
from understudy.settings.ship.prune import PruneSettings


class Pruning:
    """A trained model, what is to go of it, and the rows to measure and train on; all that can be checked is."""

    def __init__(self, settings: PruneSettings, splits: Splits) -> None:
        self.settings, self.splits, self.task = settings, splits, splits.task
        self.subject = Subject.of_rows(splits)
        faults = metric_faults(settings.metric, self.task.metrics)
        faults += distance_faults(settings.distance, self.task.kind)
        self.labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
        if not len(self.labelled):
            faults.append("no training row has a label. Label some: what is removed is chosen on them.")
        self.teachers = Teachers(
            [settings.model], [], self.task, max_length=settings.max_length, of_several=settings.task, faults=faults
        )
        if faults:
            raise ConfigError(*faults)
        self.before = network(self.teachers, settings.model)
        self.words: dict[str, Any] | None = None
        self.model: Any = self.before.model
        self.tokenizer = self.before.tokenizer
        self.amounts: Amounts | None = None
        with gathered(faults):
            if settings.heads or settings.neurons or settings.magnitude:
                self.amounts = amounts(self.before.model, settings)
        with gathered(faults):
            if settings.vocabulary:
                found = fewer_words(self.before, settings.vocabulary, name=settings.model, reading=settings.reading)
                self.model, self.tokenizer, self.words = found
        if faults:
            raise ConfigError(*faults)
        if self.model is self.before.model:
            self.model = copy.deepcopy(self.model)
        self._encode()
        self.rate = training_amount(
            len(self.labelled),
            classes=self.task.outputs,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            validation=len(splits.validation),
        ).learning_rate
        self.plan = learning_plan(Supervised(self.model, self.task.kind), settings, learning_rate=self.rate)
        self.groups = self.plan.with_own_rates
        self.terms = term_names(self._objective()) if settings.trains else ()

    def _encode(self) -> None:
        """Token ids of all texts as the pruned model reads them, and the notes on them."""
        splits, length = self.splits, self.before.max_length
        self.names = self.before.names
        parts = [splits.train.texts] + ([] if splits.unlabeled is None else [splits.unlabeled])
        self.texts = Texts.concat(parts)
        self.encoded = encode(self.texts, self.tokenizer, max_length=length)
        self.encoded_labelled = encode(self.labelled.texts, self.tokenizer, max_length=length)
        self.validation = encode(splits.validation.texts, self.tokenizer, max_length=length)
        cut = {"train": self.encoded, "validation": self.validation}
        self.notes = [*self.teachers.notes, *said_of_cuts(cut, length, more=how_to_read_more(self.model))]

    @property
    def rounds(self) -> int:
        """How often something is removed."""
        return max(1, self.settings.rounds) if self.amounts is not None else 0

    @property
    def tokens(self) -> int:
        """Of all texts, as the pruned model reads them."""
        return int(self.encoded.offsets[-1])

    @property
    def batches(self) -> BucketedBatches:
        """Those on which a step is measured: no teacher has answered yet."""
        return self._batches(self.encoded_labelled, self.labelled.labels, None)

    def plan_lines(self) -> Mapping[str, str]:
        """What goes, who can load the result, and what training will take."""
        settings, lines = self.settings, {"model": self.settings.model}
        if self.amounts is not None:
            for name in ("heads", "neurons"):
                total, gone = sum(self.amounts.before[name]), self.amounts.gone(name, 1.0)
                if gone:
                    lines[name] = (
                        f"{gone:,} of {total:,} go, {'as many in each layer' if settings.per_layer else 'wherever they matter least'}"
                    )
            if settings.magnitude:
                lines["weights"] = (
                    f"{100 * settings.magnitude:g} % of each matrix become zero; the matrices stay as large, and as slow"
                )
        if self.words is not None:
            lines["words"] = (
                f"{self.words['after']:,} of {self.words['before']:,} stay: {self.words['used']:,} that the texts use, special tokens and characters"
            )
        alone = loads_alone(self.model) and not settings.heads and (not settings.neurons or settings.per_layer)
        if is_ours(self.model):
            lines["loads with"] = "understudy.load; transformers does not have this architecture"
        elif alone:
            lines["loads with"] = "transformers, and understudy.load"
        else:
            lines["loads with"] = "understudy.load; transformers alone builds all layers alike, and refuses it"
        if not settings.trains:
            return {**lines, "training": "none"}
        found = rows_plan(self.plan, self.batches, self.splits, settings, rows=len(self._taught))
        how = f"each of {self.rounds} rounds: " if self.rounds > 1 else ""
        return {
            **lines,
            "recovery": settings.recovery,
            **found,
            "steps": how + found["steps"],
            "training": how + found["training"],
        }

    @property
    def _taught(self) -> Texts:
        return self.texts if self.settings.recovery == "distill" else self.labelled.texts

    def carry_out(self, session: Session) -> None:
        """Prune and train in rounds, save what is left, put both models on the record."""
        record = session.run.record
        if self.words is not None:
            if record.pruned.get("vocabulary", self.words) != self.words:
                raise OutputError(
                    f"{session.run.folder}: was started with other texts after --vocabulary: they use other words now. Resume with the original, or give --overwrite instead of --resume to start again."
                )
            record.pruned["vocabulary"] = self.words
            session.run.save()
        distils = self.settings.trains and self.settings.recovery == "distill"
        teacher = self.teachers.label(session, self.texts) if distils else None
        for number in range(1, self.rounds + 1):
            self._remove(session, number)
            if self.settings.trains:
                self._train(session, number, teacher)
        if not session.run.writes:
            return
        after = Predictor(self.model, self.tokenizer, self.task, self.before.max_length)
        calibrate(session, after, self.splits)
        save_classifier(session.run.folder / "model", after, self.splits.reporting()[1].texts)
        if self.amounts is not None:
            note_sizes(session, self.before, after)
        scored(session, {PRUNED: after, UNPRUNED: self.before}, self.splits, packed=self.settings.magnitude > 0)

    def _remove(self, session: Session, number: int) -> None:
        """Take out what a round takes out: as the record says it, where that was decided before."""
        assert self.amounts is not None
        settings, rounds = self.settings, session.run.record.pruned.setdefault("rounds", {})
        done = number / self.rounds
        if settings.heads or settings.neurons:
            if str(number) not in rounds:
                self.model.to(session.device)
                with session.run.timed("importance_s"):
                    kept = self.amounts.kept(self._measured(session), done=done)
                sizes = {name: [max(part) + 1 for part in parts] for name, parts in kept.items()}
                rounds[str(number)] = as_record(kept, sizes)
                session.run.save()  # before anything is trained on it
            self.model = prune(self.model, **from_record(rounds[str(number)]))
        if settings.magnitude:
            self.model = magnitude_prune(self.model, settings.magnitude * done)

    def _measured(self, session: Session) -> Any:
        settings, rows = self.settings, self.labelled
        some = np.arange(len(rows))
        if len(rows) > settings.importance_rows:
            drawn = np.random.default_rng([settings.seed, 20]).choice(
                len(rows), settings.importance_rows, replace=False
            )
            some = np.sort(drawn)
        chosen = rows.take(some)
        encoded = encode(chosen.texts, self.tokenizer, max_length=self.before.max_length)
        session.stop_if_asked()
        return measured(
            *(self.model, encoded, chosen, self.task.kind),
            names=self.names,
            max_tokens=self._max_tokens(),
            class_weights=self.splits.class_weights,
        )

    def _train(self, session: Session, number: int, teacher: Teacher | None) -> None:
        """Train what a round has left."""
        if self.settings.magnitude:
            keep_zeros(self.model)
        remaining = session.stop.remaining()
        train_phase(
            session,
            self._objective(),
            self._batches(self.encoded_labelled, self.labelled.labels, None)
            if teacher is None
            else self._taught_batches(teacher),
            phase=f"round {number}",
            validation=validation_scores(
                self.validation, self.splits.validation, self.task, names=self.names, device=session.device
            ),
            learning_rate=self.rate,
            budget_s=None if remaining is None else max(remaining, 0.0) / (self.rounds - number + 1),
        )

    def _objective(self) -> Any:
        if self.settings.recovery == "finetune":
            return Supervised(self.model, self.task.kind, class_weights=self.splits.class_weights)
        return objective_of(self.model, self.settings, self.splits)

    def _taught_batches(self, teacher: Teacher) -> BucketedBatches:
        """The texts that the unpruned model has answered, or with a label where labels are learnt from."""
        from_labels = self.settings.alpha > 0
        known = answered(teacher, len(self.texts)) & (self.settings.alpha < 1)
        rows = taught_rows(known, self.splits.train.labelled, from_labels=from_labels)
        labels = all_labels(self.splits.train.labels, len(self.texts))
        return self._batches(self.encoded, labels, teacher, rows=rows)

    def _batches(
        self, encoded: Encoded, labels: np.ndarray, teacher: Teacher | None, rows: np.ndarray | None = None
    ) -> BucketedBatches:
        return phase_batches(
            encoded,
            labels,
            self.model,
            names=self.names,
            batch_size=self.settings.batch_size,
            max_tokens=self.settings.max_tokens,
            seed=self.settings.seed,
            rows=rows,
            teacher=teacher,
        )

    def _max_tokens(self) -> int:
        return self.settings.max_tokens or token_budget(processes().device, self.model)
