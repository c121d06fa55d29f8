"""From ``distill-lm --student`` to a language model that has yet to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.errors import ModelError, gathered
from understudy.models.masked import load_masked_model
from understudy.models.shrink.albert import albert as in_albert_shape
from understudy.models.shrink.albert import albert_config
from understudy.models.shrink.narrow import narrow
from understudy.recipes.train.students.cut import cut_student
from understudy.settings.student_options import AlbertOptions, LayersOptions


@dataclass(frozen=True)
class LanguageStudent:
    """An untrained student, its peak rate where the settings name none, and a note, if any."""

    model: Any
    learning_rate: float
    note: str | None = None
    fresh: bool = False
    """Whether all weights are random."""
    random_head: bool = False
    """Whether the weights of its masked-LM head are random."""


def build_language_student(
    spec: str,
    teacher: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    layers: LayersOptions,
    albert: AlbertOptions,
    seed: int,
    teacher_has_head: bool = True,
    texts: Callable[[], Sequence[Tensor]] = tuple,
) -> LanguageStudent:
    """A student with the teacher's vocabulary; the same arguments give the same weights.

    Args:
        spec: layers[:N], albert, or a model folder or hub id.
        teacher: a masked language model.
        tokenizer: the teacher's.
        teacher_has_head: whether its masked-LM head is trained; the student then keeps it.
        texts: gives the token ids of some texts, for a student whose initial weights depend on them.

    Raises:
        ModelError: if the teacher does not have what the student is to take from it, or their vocabularies differ.
    """
    torch.manual_seed(seed)
    cut = spec.split(":")[0] == "layers"
    if cut or spec == "albert":
        model = cut_student(teacher, spec, layers) if cut else _albert(teacher, albert, texts)
        fresh = (layers.start if cut else albert.start) == "random"
        random_head = fresh or not teacher_has_head
        return LanguageStudent(model, learning_rate=5e-4, fresh=fresh, random_head=random_head)
    found = load_masked_model(spec)
    _check_vocabulary(found.tokenizer, tokenizer, found.model, teacher, name=spec)
    random_head = found.note is not None
    return LanguageStudent(found.model, learning_rate=1e-4, note=found.note, random_head=random_head)


def _albert(teacher: Any, options: AlbertOptions, texts: Callable[[], Sequence[Tensor]]) -> Any:
    """The teacher in ALBERT's shape.

    Raises:
        ModelError: with every reason why it does not fit.
    """
    source, faults = teacher, list[str]()
    shape: dict[str, Any] = {"embedding": options.embedding, "layers": options.layers, "share": options.share}
    if options.hidden is not None:
        with gathered(faults):
            source = narrow(teacher, options.hidden, start="random" if options.start == "random" else "units")
    with gathered(faults):
        albert_config(source, **shape)
    if faults:
        raise ModelError(*dict.fromkeys(faults))
    if options.start == "random":
        return in_albert_shape(source, start="random", **shape)
    whole = options.embedding == source.config.hidden_size  # the whole table fits: no directions are lost
    return in_albert_shape(source, texts=() if whole else texts(), **shape)


def _check_vocabulary(
    ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, student: Any, teacher: Any, *, name: str
) -> None:
    """Check that one id stands for one word in both."""
    own, known = ours.get_vocab(), theirs.get_vocab()
    if own != known:
        alike = len(set(own.items()) & set(known.items()))
        raise ModelError(
            f"{name}: its vocabulary is not the teacher's: of its {len(own):,} tokens, {alike:,} have the same id among the teacher's {len(known):,}. A student learns the teacher's words, so name one with its tokenizer, such as layers:3."
        )
    rows = [model.get_output_embeddings().weight.shape[0] for model in (student, teacher)]
    if rows[0] != rows[1]:
        raise ModelError(
            f"{name}: scores {rows[0]:,} words, but the teacher {rows[1]:,}, though their tokenizers are the same. Give a student and a teacher whose embedding tables have the same number of rows."
        )
