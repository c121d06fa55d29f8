"""A classifier of which an adapter and the head learn; the encoder stays as it is."""

from __future__ import annotations

from typing import Any

from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, place_head
from understudy.adapters.heads import Head, head_of, headed
from understudy.adapters.inject import learn_only
from understudy.data.splits import Splits
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.structure.layers import head_tensors
from understudy.recipes.train.adapting import EarlierAdapter, add_asked, rate_of
from understudy.recipes.train.finetune.start import Start, as_probe
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.runs.session import Session
from understudy.settings.train.finetune import FinetuneSettings


class Adapted(Transformer):
    """A classifier of which an adapter and the head learn; the head begins as a probe of the encoder.

    The adapter is put into the model after the head, and each time with the same weights: a head that pools another way
    is a new model around the encoder.
    """

    as_it_was = "the encoder and the adapter as they were"
    base: Base | None = None

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        self.earlier = None if settings.load_adapter is None else EarlierAdapter.of(settings)
        self.keeps_head = self.earlier is not None and _keeps_head(self.earlier, settings, splits)
        super().__init__(settings, splits)
        if self.earlier is not None:
            kept = "its head is kept" if self.keeps_head else "it has no head for this task, so a new one learns"
            self.notes = [*self.notes, f"{settings.load_adapter}: {kept}."]
        assert self.base is not None
        head, options = self._head()
        self.facts = AdapterFacts(
            method=self.added.method,
            design=self.added.design,
            base=self.base,
            task=splits.task,
            head=head,
            max_length=self.length,
            head_options=options,
            below=self.added.below,
        )

    def untrained(self) -> Any:
        """The base with a head at random, or with the head of the adapter that training goes on from.

        Raises:
            ModelError: if that adapter belongs to another base.
        """
        model = super().untrained()
        first, earlier = self.base is None, self.earlier
        if self.base is None:
            self.base = Base.of(model, self.given.model)
        if earlier is None:
            return model
        if first:
            earlier.facts.base.check(model, origin=str(self.given.load_adapter))
        if self.keeps_head:
            assert earlier.facts.head is not None
            model = headed(self.given.model, self.splits.task, earlier.facts.head, earlier.facts.head_options)
            place_head(model, earlier.folder)
            model.keeps_head = True
        return model

    def usual_rate(self) -> float:
        """By the kind of adapter."""
        return rate_of(self.given)

    def train(self, session: Session) -> AdaptedPredictor:
        """Fit adapter and head; they end with their best weights, or with those that they began with."""
        super().train(session)
        found = AdaptedPredictor(self.model, self.tokenizer, self.facts, half=self.settings.adapter_half)
        if self.settings.adapter_half:
            found.round()
        summary = found.summary()
        session.run.say(
            f"{self.facts.title} adapter: {summary['trainable_parameters']:,} of {summary['parameters']:,} parameters learned ({100 * summary['trainable_parameters'] / summary['parameters']:.2f} %); the encoder is as it was."
        )
        return found

    def _found_start(self) -> Start | None:
        """The probe of what the encoder computes with the adapter as it is at first."""
        if self._adds_nothing():
            return super()._found_start()
        bare, self.model = self.model, self._with_adapter(self.untrained())
        try:
            return super()._found_start()
        finally:
            self.model = bare

    def _begun(self, model: Any) -> Any:
        """The same with the adapter; nothing but adapter and head learns."""
        found = self._with_adapter(super()._begun(model))
        learn_only(found, NAME, also=head_tensors(found).values())
        return found

    def _kept_start(self) -> Any:
        """The adapter as it was is kept too."""
        return self._begun(self.untrained())

    def _probe_model(self) -> Any:
        """The probe without an adapter that adds nothing."""
        return as_probe(super()._begun(self.untrained())) if self._adds_nothing() else super()._probe_model()

    def _adds_nothing(self) -> bool:
        """Whether the outputs are at first those of the base."""
        given = self.given
        new = self.earlier is None and given.stack_on is None and not given.fuse
        return new and given.adapter_start == "identity"

    def _with_adapter(self, model: Any) -> Any:
        self.added = add_asked(model, self.given, seed=self.given.seed)
        return model

    def _head(self) -> tuple[Head, dict[str, Any]]:
        """What the head reads, and its options."""
        if self.earlier is not None and self.keeps_head and self.earlier.facts.head is not None:
            return self.earlier.facts.head, self.earlier.facts.head_options
        return head_of(self.model)


def _keeps_head(earlier: EarlierAdapter, settings: FinetuneSettings, splits: Splits) -> bool:
    """Whether the adapter has a head for the task that pools as is asked for."""
    asked = {"head": "architecture", "mean": "mean", "apart": "apart"}.get(settings.pooling, earlier.facts.head)
    return earlier.facts.answers(splits.task) and earlier.facts.head == asked
