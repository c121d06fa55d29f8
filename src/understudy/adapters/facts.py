"""What is known of an adapter beside its weights: what it computes, which base it belongs to, which task it answers."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from understudy.adapters.design import AdapterDesign
from understudy.adapters.fingerprints import encoder_fingerprint, pooler_fingerprint
from understudy.adapters.heads import Head, check_head
from understudy.adapters.hub.architectures import unfit_for_hub
from understudy.data.tasks import Task
from understudy.errors import ModelError, shortened
from understudy.models.files.lengths import most_tokens
from understudy.models.files.names import ADAPTER
from understudy.models.files.stored_task import checked_temperature
from understudy.models.structure.layers import base_model

_FORMAT = 1
METHODS = ("bottleneck", "fusion", "lora", "ia3")
"""How adapters compute."""
_INSIST = (
    " (predict --adapters, adapter merge, average and export take this one with --force, load_adapter with force=True.)"
)


@dataclass(frozen=True, kw_only=True)
class Base:
    """The encoder that an adapter belongs to."""

    name: str
    """A folder or a hub id."""
    fingerprint: str
    """See :func:`understudy.adapters.fingerprints.encoder_fingerprint`; empty for an adapter that was made elsewhere."""
    model_type: str
    hidden_size: int
    layers: int
    kept: list[int] | None = None
    """The layers of it that the adapter's model has, where it was cut from the base; None for all."""

    @classmethod
    def of(cls, model: Any, name: str) -> Base:
        """The encoder of a model, before anything learns."""
        config = base_model(model).config
        folder = Path(name).expanduser()
        return cls(
            name=str(folder.resolve()) if folder.is_dir() else name,
            fingerprint=encoder_fingerprint(model),
            model_type=config.model_type,
            hidden_size=int(config.hidden_size),
            layers=int(config.num_hidden_layers),
        )

    def check(self, model: Any, *, origin: str, force: bool = False) -> None:
        """Compare it with the encoder of a model.

        Args:
            origin: where the adapter is, for messages.
            force: whether other weights of the same shape are accepted.

        Raises:
            ModelError: if the encoder is another one.
        """
        config = base_model(model).config
        for what, own, found in (
            ("model_type", self.model_type, config.model_type),
            ("hidden_size", self.hidden_size, config.hidden_size),
            ("layers", self.layers, config.num_hidden_layers),
        ):
            if own != found:
                raise ModelError(
                    f"{origin}: belongs to another base: its {what} is {own}, but this base's is {found}. Name the base that it was trained on: {self.name}."
                )
        if self.fingerprint and not force and encoder_fingerprint(model) != self.fingerprint:
            raise ModelError(
                f"{origin}: belongs to another base: it was trained on {self.name}, whose weights are not those of this one. Name that base.{_INSIST}"
            )


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """An adapter without its weights; what its ``adapter_config.json`` says."""

    method: str
    """``bottleneck``; ``fusion``, of several of these; or a method of PEFT: ``lora``, ``ia3``."""
    design: dict[str, Any]
    """An :class:`understudy.adapters.design.AdapterDesign`, PEFT's configuration, or of a fusion the designs by name."""
    base: Base
    task: Task | None
    """None for an adapter without a head, such as one for a language."""
    head: Head | None
    max_length: int
    head_options: dict[str, Any] = field(default_factory=dict)
    """Of a :class:`understudy.adapters.heads.FirstTokenHead`, or the layout of an :class:`understudy.adapters.heads.ApartHead`."""
    temperature: float = 1.0
    """Divides the logits before they become probabilities."""
    below: dict[str, Any] | None = None
    """The design of the adapter that this one is stacked on, such as one for a language; None for none."""
    pooler: str = ""
    """See :func:`understudy.adapters.fingerprints.pooler_fingerprint`: of the base's pooler, which the architecture's head reads; empty if it reads none of the base's."""

    @property
    def kind(self) -> str:
        """``houlsby``, ``pfeiffer``, ``parallel``, ``bottleneck``, ``fusion``, ``lora`` or ``ia3``."""
        return AdapterDesign.from_dict(self.design).kind if self.method == "bottleneck" else self.method

    @property
    def title(self) -> str:
        """The kind as people are told it: an invertible adapter is more than the kind that it is of."""
        changes_embeddings = self.method == "bottleneck" and self.design.get("invertible") is not None
        return f"invertible ({self.kind})" if changes_embeddings else self.kind

    @property
    def other_library(self) -> str | None:
        """The library that loads it once it is exported: ``AdapterHub`` or ``PEFT``; None if none has such an adapter or head."""
        alone = self.method != "fusion" and self.below is None and self.base.kept is None
        if not alone or self.head in ("mean", "apart") or (self.method != "bottleneck" and self.head == "first_token"):
            return None
        design = AdapterDesign.from_dict(self.design) if self.method == "bottleneck" else None
        return "PEFT" if design is None else None if unfit_for_hub(self.base.model_type, design) else "AdapterHub"

    def answers(self, task: Task) -> bool:
        """Whether its head is for such a task: of this kind, with these labels, of as many texts a row."""
        return self.task is not None and (_kind(self.task), self.task.labels) == (_kind(task), task.labels)

    def check(self, model: Any, *, origin: str, force: bool = False) -> None:
        """Compare it with a model of its base, before anything is put into it.

        Args:
            origin: where the adapter is, for messages.
            force: whether other weights of the same shape are accepted.

        Raises:
            ModelError: if the base is another one, or reads fewer tokens than the adapter.
        """
        self.base.check(model, origin=origin, force=force)
        if self.pooler and not force and pooler_fingerprint(model) != self.pooler:
            raise ModelError(
                f"{origin}: belongs to another base: its head reads the pooler of {self.base.name}, which this one lacks or has otherwise. Name that base.{_INSIST}"
            )
        limit = most_tokens(base_model(model).config)
        if limit is not None and self.max_length > limit:
            raise ModelError(
                f"{origin}: its max_length is {self.max_length}, but its base reads at most {limit} tokens. Correct it in its {ADAPTER}, or copy the adapter again."
            )

    def check_shares(self, *, origin: str) -> None:
        """Check that a base can hold the adapter beside others.

        Args:
            origin: where the adapter is, for messages.

        Raises:
            ModelError: if it cannot.
        """
        if self.base.kept is not None:
            raise ModelError(f"{origin}: is for a model that was cut from this base. Load it alone: understudy.load.")
        if self.below is not None:
            raise ModelError(
                f"{origin}: was trained on top of another adapter, which is part of it. Load it alone: understudy.load. To put one for another language below it, train it without --stack_on and call set_active with both."
            )

    def as_json(self) -> str:
        """The text of its ``adapter_config.json``."""
        told = {"kind": self.kind, "format": _FORMAT, **asdict(self), "task": self.task and self.task.as_dict()}
        return json.dumps({"understudy": told}, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> AdapterFacts:
        """The facts of an adapter in a folder.

        Raises:
            ModelError: if they cannot be read, or are another program's.
        """
        path = folder / ADAPTER
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: cannot be read as JSON: {error}. Copy the adapter again.") from None
        own = told.get("understudy") if isinstance(told, dict) else None
        if not isinstance(own, dict):
            raise ModelError(
                f"{folder}: was not written by understudy. Make it one of ours first: understudy import adapter {folder} --model BASE --output runs/adapter."
            )
        try:
            return cls._of(own)
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: is damaged, or was written by another version: {shortened(str(error))}. Copy the adapter again."
            ) from None

    @classmethod
    def _of(cls, own: Mapping[str, Any]) -> AdapterFacts:
        if own["format"] != _FORMAT:
            raise ValueError(f"its format is {own['format']}, but this version reads {_FORMAT}")
        base, head, method, design = Base(**own["base"]), own["head"], own["method"], own["design"]
        if (head is not None and head not in get_args(Head)) or method not in METHODS:
            raise ValueError(f"its head is {head!r} and its method {method!r}")
        below, max_length = own.get("below"), own["max_length"]
        texts = isinstance(base.name, str) and isinstance(base.fingerprint, str)
        if not texts or not isinstance(design, dict) or type(max_length) is not int:
            raise TypeError("a value is of another type")
        task = None if head is None else Task.from_dict(own["task"])
        check_head(head, dict(own["head_options"]), task)
        if max_length < 1:
            raise ValueError(f"its max_length is {max_length}")
        if method == "fusion" and not design:
            raise ValueError("it is a fusion of no adapters")
        layers = base.layers if base.kept is None else _kept(base.kept, base.layers)
        told = {"bottleneck": [design], "fusion": [*design.values()]}.get(method, [])
        for part in (*told, *([] if below is None else [below])):
            made = AdapterDesign.from_dict(part)
            if beyond := [layer for layer in (*made.leave_out, *made.reductions) if not 0 <= layer < layers]:
                raise ValueError(f"it names the layer {beyond[0]}, but its base has the layers 0 to {layers - 1}")
        return cls(
            method=method,
            design=design,
            base=base,
            task=task,
            head=head,
            max_length=max_length,
            head_options=dict(own["head_options"]),
            temperature=checked_temperature(own.get("temperature", 1.0)),
            below=below,
            pooler=str(own.get("pooler", "")),
        )


def _kept(layers: Any, of: int) -> int:
    """How many layers of a base a file says that were kept."""
    if not isinstance(layers, list) or not layers or not all(type(layer) is int for layer in layers):
        raise TypeError(f"the layers that were kept of its base are {shortened(layers)}")
    if layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= of:
        raise ValueError(f"the layers that were kept of its base are {shortened(layers)}, but it has {of}")
    return len(layers)


def check_alike(names: Sequence[str], facts: Sequence[AdapterFacts], *, force: bool = False) -> None:
    """Check that adapters can be averaged: one base, one shape, one task.

    Args:
        force: whether bases with other weights of the same shape are accepted.

    Raises:
        ModelError: if they differ.
    """
    if len(facts) < 2:
        raise ModelError("one adapter alone cannot be averaged. Name two or more.")
    for name, other in zip(names, facts):
        for what, differs in (
            ("another base", not force and other.base.fingerprint != facts[0].base.fingerprint),
            ("another shape of the base", _shape(other.base) != _shape(facts[0].base)),
            ("another shape", (other.method, other.design) != (facts[0].method, facts[0].design)),
            ("another number of layers", other.base.kept != facts[0].base.kept),
            ("another adapter below it", other.below != facts[0].below),
            ("another kind of task", _kind(other.task) != _kind(facts[0].task)),
            ("other labels", (other.task and other.task.labels) != (facts[0].task and facts[0].task.labels)),
            ("another pooler of its base", not force and other.pooler != facts[0].pooler),
            ("another head", (other.head, other.head_options) != (facts[0].head, facts[0].head_options)),
        ):
            if differs:
                insist = " (--force takes those of another base.)" * (what == "another base")
                raise ModelError(
                    f"{name}: has {what} than {names[0]}. Only adapters of one task and shape can be averaged.{insist}"
                )


def _shape(base: Base) -> tuple[str, int, int]:
    return base.model_type, base.hidden_size, base.layers


def _kind(task: Task | None) -> tuple[str, bool] | None:
    return None if task is None else (task.kind, task.is_pair)


def mean_facts(names: Sequence[str], facts: Sequence[AdapterFacts], *, force: bool = False) -> AdapterFacts:
    """The facts of the average of several adapters of one task and one shape; the geometric mean of their temperatures, the most of their tokens.

    Args:
        force: as for :func:`check_alike`.

    Raises:
        ModelError: if they differ.
    """
    check_alike(names, facts, force=force)
    mean = statistics.geometric_mean(one.temperature for one in facts)
    return replace(facts[0], temperature=mean, max_length=max(one.max_length for one in facts))
