"""Students whose encoder is shared and stays as it is: what they learn from their teacher is an adapter and a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from understudy.adapters.design import AdapterDesign
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, WEIGHTS, place_head, read_tensors
from understudy.adapters.heads import Head, head_of, headed
from understudy.adapters.inject import add_adapter, learn_only, load_tensors
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.adapted import AdaptedPredictor
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.names import adapter_folder, resolve
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.shrink.cut import choose_layers, cut_layers, layer_count
from understudy.models.structure.layers import encoder_layers, head_tensors
from understudy.recipes.train.adapting import RATES, AddedAdapter, EarlierAdapter, add_asked, rate_of
from understudy.recipes.train.students.classifier import UntrainedStudent
from understudy.recipes.train.students.cut import in_order, new_head, order_of_labels, whole_teacher
from understudy.settings.student_options import LayersOptions
from understudy.settings.train.distill import DistillSettings


@dataclass(frozen=True, kw_only=True)
class AdaptedStudent(UntrainedStudent):
    """An untrained student of which an adapter and a head learn."""

    base: Base
    added: AddedAdapter
    head: Head
    head_options: dict[str, Any]

    def facts(self, task: Task, length: int) -> AdapterFacts:
        """What is saved with its weights."""
        return AdapterFacts(
            method=self.added.method,
            design=self.added.design,
            base=self.base,
            task=task,
            head=self.head,
            max_length=length,
            head_options=self.head_options,
            below=self.added.below,
        )


def adapts_student(settings: DistillSettings, teacher: str | None) -> bool:
    """Whether an adapter learns: one is asked for, or the student is cut from a teacher that is one."""
    cut = settings.student.split(":")[0] == LayersOptions.name
    return settings.adapts or (cut and teacher is not None and adapter_folder(teacher) is not None)


def adapted_student(settings: DistillSettings, task: Task, *, teacher: str | None) -> AdaptedStudent:
    """The student that the settings describe; the same settings give the same weights.

    It is a model with a new adapter, or with a trained one, whose head is kept if it has the task's labels; or, for ``layers:N``, some layers of the teacher with a new adapter; or those of the
    base of a teacher that is an adapter itself, whose adapter the student begins with.

    Args:
        teacher: the teacher's name; None if no teacher is a network.

    Raises:
        ModelError: if it cannot be built.
    """
    torch.manual_seed(settings.seed)
    if settings.student.split(":")[0] != LayersOptions.name:
        earlier = None if settings.load_adapter is None else EarlierAdapter.of(settings)
        model = load_classifier(settings.student, task)
        base = Base.of(model, settings.student)
        if earlier is not None:
            earlier.facts.base.check(model, origin=earlier.name)
        if earlier is None or earlier.facts.head is None or not earlier.facts.answers(task):
            added = add_asked(model, settings, seed=settings.seed)
            return _ready(model, settings.student, base, added, rate_of(settings))
        head, options = earlier.facts.head, earlier.facts.head_options
        model = headed(settings.student, task, head, options)
        place_head(model, earlier.folder)
        model.keeps_head = True
        made = _ready(model, settings.student, base, add_asked(model, settings, seed=settings.seed), rate_of(settings))
        return replace(made, head=head, head_options=options, note=f"{earlier.name}: its head is kept.")
    if teacher is None:
        raise ModelError(
            f"student {settings.student} is cut from its teacher, but no teacher is a network. Choose a model folder."
        )
    folder = adapter_folder(teacher)
    if folder is not None:
        return _from_adapter(settings, task, teacher, folder)
    whole, note = whole_teacher(teacher, task, of_several=settings.task)
    keep = _kept(settings, whole)
    base = replace(Base.of(whole, teacher), kept=keep)
    model = _cut(whole, keep)
    made = _ready(model, teacher, base, add_asked(model, settings, seed=settings.seed), rate_of(settings))
    return replace(made, note=note)


def ready(student: UntrainedStudent, model: Any, task: Task, length: int, *, half: bool) -> Predictor:
    """A trained model of a student, ready for raw text.

    Args:
        model: the student's own, or one that began like it.
        half: of an adapter: round its weights to two bytes, as they are saved.
    """
    if not isinstance(student, AdaptedStudent):
        return Predictor(model, student.tokenizer, task, length)
    adapted = AdaptedPredictor(model, student.tokenizer, student.facts(task, length), half=half)
    if half:
        adapted.round()
    return adapted


def _from_adapter(settings: DistillSettings, task: Task, teacher: str, folder: Path) -> AdaptedStudent:
    """Some layers of a teacher's base with the teacher's adapter in them, and its head if it has these labels."""
    if settings.adapts:
        raise ModelError(
            f"{teacher}: is an adapter, which the student {settings.student} begins with. Leave out --adapter, or name a model as --student."
        )
    facts = AdapterFacts.read(folder)
    if facts.method != "bottleneck" or facts.below is not None or facts.base.kept is not None or facts.head is None:
        raise ModelError(
            f"{teacher}: is not a plain houlsby, pfeiffer or parallel adapter with a head, so no student can be cut from it. Name a model as --student, with --adapter."
        )
    if facts.head == "first_token":
        raise ModelError(
            f"{teacher}: has a head of AdapterHub, with which no student is cut from it. Name a model as --student, with --adapter."
        )
    head: Head = "mean" if facts.head == "apart" and not task.is_pair else facts.head
    order = order_of_labels(facts.task, task)
    known = task if facts.task is None or order is None else replace(task, labels=facts.task.labels)
    whole = headed(resolve(facts.base.name), known, head, facts.head_options)
    facts.base.check(whole, origin=teacher)
    note = None
    if order is not None and facts.answers(known):
        place_head(whole, folder)
        whole.keeps_head = in_order(whole, order, task)
    else:
        note = new_head(teacher)
    keep = _kept(settings, whole)
    model = _cut(whole, keep)
    blocks = len(encoder_layers(whole))
    held = keep if blocks == layer_count(whole) else range(blocks)  # an ALBERT's layers share theirs
    whole_design = AdapterDesign.from_dict(facts.design)
    if not {*held} - {*whole_design.leave_out}:
        raise ModelError(
            f"{teacher}: its adapter leaves out layers {', '.join(map(str, held))}, which are all that the student would keep. Keep others too: --student layers --layers.keep."
        )
    design = _of_layers(whole_design, held)
    add_adapter(model, NAME, design)
    load_tensors(model, NAME, _renumbered(read_tensors(folder / WEIGHTS), held), origin=teacher)
    added = AddedAdapter("bottleneck", design.as_dict(), None)
    made = _ready(model, facts.base.name, replace(facts.base, kept=keep), added, RATES[facts.kind])
    return replace(made, head=head, head_options={} if head == "mean" else facts.head_options, note=note)


def _ready(model: Any, name: str, base: Base, added: AddedAdapter, rate: float) -> AdaptedStudent:
    """A student of a model with an adapter in it, of which adapter and head alone learn."""
    tokenizer = load_tokenizer(name)
    check_tokenizer(model, tokenizer, name=name)
    learn_only(model, NAME, also=head_tensors(model).values())
    head, options = head_of(model)
    return AdaptedStudent(model, tokenizer, rate, base=base, added=added, head=head, head_options=options)


def _kept(settings: DistillSettings, whole: Any) -> list[int]:
    layers = settings.layers
    return layers.keep or choose_layers(layer_count(whole), int(settings.student.split(":")[1]), layers.choose)


def _cut(whole: Any, keep: Sequence[int]) -> Any:
    model = cut_layers(whole, keep)
    model.new_in_encoder = getattr(whole, "new_in_encoder", frozenset())
    model.keeps_head = getattr(whole, "keeps_head", False)
    return model


def _of_layers(design: AdapterDesign, keep: Sequence[int]) -> AdapterDesign:
    """The design in a model that has only these layers, with their new numbers."""
    return replace(
        design,
        leave_out=tuple(place for place, layer in enumerate(keep) if layer in design.leave_out),
        reductions={place: design.reductions[layer] for place, layer in enumerate(keep) if layer in design.reductions},
    )


def _renumbered(tensors: dict[str, torch.Tensor], keep: Sequence[int]) -> dict[str, torch.Tensor]:
    """The weights of an adapter in these layers, under their new numbers; those of the embeddings as they are."""
    found = {}
    for key, value in tensors.items():
        if not key.startswith("layer."):
            found[key] = value
            continue
        _, layer, rest = key.split(".", 2)
        if int(layer) in keep:
            found[f"layer.{list(keep).index(int(layer))}.{rest}"] = value
    return found
