"""A classifier of which an adapter and the head learn; the encoder stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, place, place_head
from understudy.adapters.heads import Head, head_tensors
from understudy.adapters.inject import add_adapter, keep_layers, learn_only
from understudy.adapters.peft_methods import METHODS, add_peft, ia3_design, lora_design
from understudy.errors import ConfigError
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.files.names import adapter_folder
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.runs.session import Session
from understudy.settings.adapters import AdapterSettings

RATES = {"houlsby": 1e-3, "pfeiffer": 1e-3, "parallel": 1e-3, "bottleneck": 1e-3, "lora": 1e-3, "ia3": 5e-3}
"""The peak rate where the settings name none, by the kind of adapter."""


def new_adapter(model: Any, settings: AdapterSettings) -> tuple[str, dict[str, Any]]:
    """Put the adapter that the settings name into a model; its method and its design.

    Raises:
        ModelError: if it has no place there.
    """
    dropped = settings.dropped()
    if settings.adapter in METHODS:
        if settings.adapter == "lora":
            scaling = 2.0 if settings.adapter_scaling is None else settings.adapter_scaling
            told = lora_design(model, rank=settings.rank or 8, scaling=scaling, leave_out=dropped)
        else:
            told = ia3_design(model, leave_out=dropped)
        add_peft(model, NAME, settings.adapter, told)
        return settings.adapter, told
    assert settings.adapter is not None
    design = design_of(
        settings.adapter,
        reduction=settings.reduction,
        non_linearity=settings.non_linearity,
        scaling=settings.adapter_scaling,
        norms=settings.adapter_norms,
        leave_out=dropped,
    )
    add_adapter(model, NAME, design, start=settings.adapter_start)
    return "bottleneck", design.as_dict()


class Adapted(Transformer):
    """A classifier of which an adapter and the head learn."""

    facts: AdapterFacts

    def begin(self) -> None:
        """Put the adapter into the model, and freeze everything but adapter and head."""
        settings, task = self.settings, self.splits.task
        base = Base.of(self.model, settings.model)
        if settings.load_adapter is not None:
            self.facts = self._loaded(base)
        else:
            method, design = new_adapter(self.model, settings)
            self.facts = AdapterFacts(
                method=method,
                design=design,
                base=base,
                task=task,
                head="mean" if settings.pooling == "mean" else "architecture",
                max_length=self.length,
            )
        learn_only(self.model, NAME, also=head_tensors(self.model).values())

    def usual_rate(self) -> float:
        """By the kind of adapter."""
        return RATES[self.facts.kind]

    def train(self, session: Session) -> AdaptedPredictor:
        """Fit adapter and head; they end with their best weights."""
        super().train(session)
        found = AdaptedPredictor(self.model, self.tokenizer, self.facts, half=self.settings.adapter_half)
        if self.settings.adapter_half:
            found.round()
        summary = found.summary()
        session.run.say(
            f"{self.facts.kind} adapter: {summary['trainable_parameters']:,} of {summary['parameters']:,} parameters learned ({100 * summary['trainable_parameters'] / summary['parameters']:.2f} %); the encoder is as it was."
        )
        return found

    def _loaded(self, base: Base) -> AdapterFacts:
        """Put the adapter that training goes on from into the model, and its head if it is for the same task.

        Raises:
            ModelError: if it belongs to another base.
        """
        name, task = str(self.settings.load_adapter), self.splits.task
        folder = adapter_folder(name)
        assert folder is not None
        facts = AdapterFacts.read(folder)
        facts.base.check(self.model, origin=name)
        place(self.model, folder, facts)
        dropped = self.settings.dropped()
        if dropped and facts.method in METHODS:
            raise ConfigError(
                f"--drop_adapters: {name} is a {facts.method} adapter, which is not taken out of single layers. Leave one of them out."
            )
        if dropped:
            keep_layers(self.model, NAME, without=dropped)
            left = {*AdapterDesign.from_dict(facts.design).leave_out, *dropped}
            facts = replace(facts, design={**facts.design, "leave_out": sorted(left)})
        head: Head = "mean" if self.settings.pooling == "mean" else "architecture"
        known = facts.task
        same = known is not None and (known.kind, known.labels, facts.head) == (task.kind, task.labels, head)
        if same:
            place_head(self.model, folder)
        self.notes = [
            *self.notes,
            f"{name}: {'its head is kept' if same else 'it has no head for this task, so a new one learns'}.",
        ]
        return replace(facts, base=base, task=task, head=head, head_options={}, max_length=self.length)
