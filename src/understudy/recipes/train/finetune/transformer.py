"""A classifier all of whose weights learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from understudy.data.splits import Splits
from understudy.data.tokens.encode import encode
from understudy.errors import ConfigError, ModelError
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.awd_lstm.config import reads_whole, set_reading
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import begin_at_mean
from understudy.objectives.supervised import Supervised
from understudy.objectives.terms import term_names
from understudy.recipes.train.finetune.classification import Classification
from understudy.recipes.train.finetune.start import Start, as_probe, begin, find_start, load_start
from understudy.recipes.train.finetune.start_words import said_of_share, said_of_weights, start_lines, start_notes
from understudy.runs.fitting.amount import Amount, training_amount
from understudy.runs.fitting.batches import phase_batches
from understudy.runs.fitting.learning import learning_plan, said_of_min_delta
from understudy.runs.fitting.phase import train_phase
from understudy.runs.fitting.worth import worth
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.judging.probe import fit_probe
from understudy.runs.plans import rows_plan
from understudy.runs.scoring import validation_scores
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length, unread_notes
from understudy.settings.train.finetune import FinetuneSettings
from understudy.training.interpolation import interpolate


class Transformer(Classification):
    """A classifier all of whose weights learn."""

    why_no_pairs = ""
    """Why ``--contrastive auto`` did not choose to learn from pairs."""
    chooses_by_rows = True
    """Whether the number of rows decides which weights of a training from a probe are kept."""
    as_it_was = "the encoder as it was"
    """What a model stands on that goes back to its probe."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        self.given, self.splits = settings, splits
        self.tokenizer = load_tokenizer(settings.begins_with)
        self.model: Any = self.untrained()
        check_tokenizer(self.model, self.tokenizer, name=settings.begins_with)
        self._set_reading(self.model, settings)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self.names = settle_inputs(self.model, self.tokenizer)
        self.start = self._found_start()
        self.model = self._begun(self.model)
        if self.start is None and splits.task.kind == "regression":
            begin_at_mean(self.model, splits.train.labels)
        self.start_lines = start_lines(self.start, settings, self.model, splits.task)
        self.amount = _amount(
            settings, splits, self.model, rate=self.usual_rate(), probed=self.chooses_by_rows and self.start is not None
        )
        self.share = self._share()
        super().__init__(self._settled(settings), splits)
        self.validation = encode(splits.validation.texts, self.tokenizer, max_length=self.length)
        train = encode(splits.train.texts, self.tokenizer, max_length=self.length)
        parts = {"train": train, "validation": self.validation}
        cuts = said_of_cuts(parts, self.length, more=how_to_read_more(self.model))
        labelled = int(splits.train.labelled.sum())
        idle = said_of_min_delta(self.settings)
        unread = unread_notes(parts, self.tokenizer)
        self.notes = [*cuts, *unread, *idle, *start_notes(self.start, settings, self.model, labelled=labelled)]
        self.batches = phase_batches(
            train,
            splits.train.labels,
            self.model,
            names=self.names,
            batch_size=self.amount.batch_size,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
        )
        self.objective = Supervised(self.model, splits.task.kind, class_weights=splits.class_weights)
        self.terms = term_names(self.objective)
        self.plan = learning_plan(self.objective, self.settings, learning_rate=self.amount.learning_rate)
        self.groups = self.plan.with_own_rates

    def untrained(self) -> Any:
        """The classifier of the checkpoint, freshly loaded, its new head at random."""
        return load_start(self.given, self.splits.task)

    def usual_rate(self) -> float | None:
        """The peak rate where the settings name none; None for the one that suits the model's size."""
        return None

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, tokens, steps, time and memory, and where training starts."""
        lines = rows_plan(self.plan, self.batches, self.splits, self.settings)
        if self.amount.why:
            lines["steps"] += f" ({self.amount.why})"
        if self.given.learning_rate is None and self.usual_rate() is None:
            size = sum(parameter.numel() for parameter in self.model.parameters())
            lines["learning rate"] += f" ({self.amount.learning_rate:g} for a model of {size:,} parameters)"
        pairs = {"pairs": f"not used: {self.why_no_pairs}"} if self.why_no_pairs else {}
        rows = int(self.splits.validation.labelled.sum())
        kept = said_of_weights(self.amount, share=self.share, patience=self.settings.patience, rows=rows)
        return {**self.start_lines, **pairs, **lines, "weights": kept}

    def train(self, session: Session) -> Predictor:
        """Fit the classifier; it ends between its start and its best weights, or with its start if that is not worse."""
        task = self.splits.task
        began = self._validation_logits(session)
        record = session.run.record
        if self.start is not None:
            record.timings["probe_s"] = max(record.timings.get("probe_s", 0.0), self.start.seconds)
        train_phase(
            replace(session, settings=self.settings),
            self.objective,
            self.batches,
            phase="train",
            validation=validation_scores(
                self.validation, self.splits.validation, task, names=self.names, device=session.device
            ),
            learning_rate=self.amount.learning_rate,
            budget_s=session.stop.remaining(),
            keep="best" if self.amount.chooses else "last",
        )
        if self._has_start():
            self._compare(session, began)
        return Predictor(self.model, self.tokenizer, task, self.length)

    def probe(self, session: Session) -> Predictor | None:
        """What training began with; where that was no probe, one on the mean vectors, if the encoder is of transformers."""
        if self.start is not None:
            probe = Predictor(self._probe_model(), self.tokenizer, self.splits.task, self.length, device=session.device)
            calibrate(session, probe, self.splits)
            return probe
        try:
            encoder = load_encoder(self.given.begins_with)
        except ModelError as error:
            session.run.say(f"the probe is left out: {' '.join(error.faults)}")
            return None
        return fit_probe(session, encoder, self.tokenizer, self.splits, max_length=self.length)

    def _validation_logits(self, session: Session) -> np.ndarray:
        self.model.to(session.device)
        return logits(self.model, self.validation, names=self.names, device=session.device)

    def _has_start(self) -> bool:
        """Whether training begins with answers: with a probe, or with a head that was trained for these labels."""
        return self.start is not None or (self.given.start == "probe" and getattr(self.model, "keeps_head", False))

    def _share(self) -> float:
        """How much of the way from its start to its end training is kept.

        Raises:
            ConfigError: if a share is asked for, but training begins with a head at random.
        """
        asked = self.given.interpolate
        if asked is not None and not self._has_start():
            raise ConfigError(
                f"--interpolate goes back towards what training begins with, but of {self.given.begins_with} that is a head at random. Leave it out."
            )
        # halfway the answers of several labels a row are too rarely above one half
        chosen = 1.0 if self.splits.task.kind == "multi_label" else self.amount.share
        return chosen if asked is None else asked

    def _compare(self, session: Session, began: np.ndarray) -> None:
        """Go back some of the way to what fine-tuning began with, and all of it if it gained nothing; put both on the record."""
        metric, _ = session.metric()
        labels, start = self.splits.validation.labels, self.start
        if self.share < 1:
            interpolate(self.model, self._kept_start(), self.share)
        end, learns = self._validation_logits(session), start is None or start.probe.learns
        found = worth(began, end, labels, metric, learns=learns, seed=self.settings.seed)
        begun = ("checkpoint", "as it was") if start is None else ("probe", f"on {self.as_it_was}")
        session.run.record.training["train"]["start"] = ({} if start is None else start.on_record()) | {
            **found.on_record(),
            "share": self.share,
            "kept": "fine-tuned" if found.keeps_end else begun[0],
        }
        if found.keeps_end:
            if self.share < 1:
                session.run.say(said_of_share(self.share, begun[0]))
            return
        session.run.say(
            f"fine-tuning {found.said(len(labels))}, which is no gain: the model is the {begun[0]} that it began with, {begun[1]}."
        )
        self.model = self._kept_start().to(session.device)

    def _found_start(self) -> Start | None:
        """The probe that the head can begin as."""
        return find_start(self.model, self.tokenizer, self.given, self.splits, length=self.length, names=self.names)

    def _probe_model(self) -> Any:
        """The probe that training began with."""
        return self._kept_start()

    def _kept_start(self) -> Any:
        """What training began with, as a result: of a probe only the head has learnt."""
        model = self._begun(self.untrained())
        return model if self.start is None else as_probe(model)

    def _begun(self, model: Any) -> Any:
        """A freshly loaded classifier with its head as the probe."""
        self._set_reading(model, self.given)
        if self.start is None:
            return model
        train = encode(self.splits.train.texts, self.tokenizer, max_length=self.length)
        found = begin(model, self.start, self.splits.task, train, self.names)
        if found is not model:
            self.names = settle_inputs(found, self.tokenizer)
        return found

    def _set_reading(self, model: Any, settings: FinetuneSettings) -> None:
        set_reading(model, name=settings.begins_with, gradient_tokens=settings.max_length, drop_mult=settings.drop_mult)

    def _settled(self, settings: FinetuneSettings) -> FinetuneSettings:
        """The settings with what was chosen where they leave it open."""
        # it is in evaluations at the end of each epoch: who asks for others says when to stop
        patience = settings.patience if settings.watches else self.amount.patience
        return replace(settings, epochs=self.amount.epochs, batch_size=self.amount.batch_size, patience=patience)


def _amount(settings: FinetuneSettings, splits: Splits, model: Any, *, rate: float | None, probed: bool) -> Amount:
    """Epochs, batch size and rate; each stage of a training in stages has three epochs."""
    epochs = 3 if settings.epochs == "auto" and settings.unfreeze else settings.epochs
    found = training_amount(
        int(splits.train.labelled.sum()),
        classes=splits.task.outputs,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        validation=int(splits.validation.labelled.sum()),
        recurrent=reads_whole(model.config),
        adapts=settings.adapts,
        probed=probed and not settings.watches,
        epochs=None if epochs == "auto" else epochs,
        batch_size=settings.batch_size,
    )
    chooses = found.chooses or settings.watches or settings.start == "head"
    return found._replace(chooses=chooses, learning_rate=rate or found.learning_rate)
