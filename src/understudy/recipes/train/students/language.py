"""From the words of ``distill-lm --student`` to a language model that has yet to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Gt

from understudy.errors import ModelError, gathered, nearest
from understudy.recipes.train.students.classifier import LayersOptions, changed, cut_student, layers_faults
from understudy.settings.training import model_faults

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

NAMES = ("layers", "albert")


@dataclass(kw_only=True)
class AlbertOptions:
    """The student in ALBERT's shape: a factorised embedding table, and a block that all layers share."""

    embedding: Annotated[int, Gt(0)] = 128
    """Width of the embedding table, which a linear map takes to the hidden size."""
    layers: Annotated[int, Gt(0)] | None = None
    """Passes through the block (default: as many as the teacher has layers)."""
    hidden: Annotated[int, Gt(0)] | None = None
    """Also narrow the hidden size to this, a multiple of the number of heads."""
    share: str = "mean"
    """What the shared block starts from: the `mean` of the teacher's layers, or one of them by its number; `none` shares nothing."""
    start: Literal["teacher", "random"] = "teacher"
    """The weights: the teacher's (tables by truncated SVD of what the training texts have of them), or random ones."""


def language_student_faults(spec: str, *, layers: LayersOptions, albert: AlbertOptions) -> list[str]:
    """What is wrong with a student, before anything is loaded: its name, or options that it does not heed."""
    kind = spec.split(":")[0]
    if kind == "layers":
        faults = layers_faults(spec, layers)
    elif spec == "albert":
        known = albert.share in ("mean", "none") or albert.share.isdecimal()
        faults = [] if known else [_share_fault(albert.share)]
        if albert.start == "random" and albert.share.isdecimal():
            faults.append(
                "--albert.share names the layer that the shared block starts from, but --albert.start random takes nothing from the teacher. Leave one of them out."
            )
    elif Path(spec).expanduser().exists() or "/" in spec:
        faults = model_faults(spec)
    else:
        return [
            f"student must be layers:N, albert, a model folder or a hub id such as org/name, but is {spec!r}.{nearest(kind, NAMES)}"
        ]
    idle = [
        flag
        for name, options in (("layers", layers), ("albert", albert))
        if name != kind
        for flag in changed(options, name)
    ]
    return faults + [f"--student {spec} has no use for {flag}. Leave it out." for flag in idle]


def _share_fault(share: str) -> str:
    return f"albert.share must be mean, none or the number of one of the teacher's layers, but is {share!r}.{nearest(share, ('mean', 'none'))}"


@dataclass(frozen=True)
class LanguageStudent:
    """An untrained student, the rate it learns at unless told otherwise, and a sentence where there is one to say."""

    model: Any
    learning_rate: float
    note: str | None = None
    fresh: bool = False
    """Whether its weights are random ones, the teacher's none of them."""
    random_head: bool = False
    """Whether those of its masked-LM head are."""


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
    """A student that reads and writes the teacher's words; the same arguments give the same weights.

    Args:
        spec: layers[:N], albert, or a model folder or hub id.
        teacher: a masked language model.
        tokenizer: the teacher's.
        teacher_has_head: a trained one, which is taken over with the rest.
        texts: gives the token ids of some texts, for a student whose start depends on them.

    Raises:
        ModelError: if the teacher does not have what the student is to take from it, or their vocabularies differ.
    """
    import torch

    torch.manual_seed(seed)
    cut = spec.split(":")[0] == "layers"
    if cut or spec == "albert":
        model = cut_student(teacher, spec, layers) if cut else _albert(teacher, albert, texts)
        fresh = (layers.start if cut else albert.start) == "random"
        random_head = fresh or not teacher_has_head
        return LanguageStudent(model, learning_rate=5e-4, fresh=fresh, random_head=random_head)
    from understudy.models.masked import load_masked_model

    found = load_masked_model(spec)
    _check_vocabulary(found.tokenizer, tokenizer, found.model, teacher, name=spec)
    random_head = found.note is not None
    return LanguageStudent(found.model, learning_rate=1e-4, note=found.note, random_head=random_head)


def _albert(teacher: Any, options: AlbertOptions, texts: Callable[[], Sequence[Tensor]]) -> Any:
    """The teacher in ALBERT's shape; what does not fit it is said together."""
    from understudy.models.shrink.albert import albert
    from understudy.models.shrink.albert_shape import albert_config
    from understudy.models.shrink.narrow import narrow

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
        return albert(source, start="random", **shape)
    whole = options.embedding == source.config.hidden_size  # nothing is lost, in whatever directions
    return albert(source, texts=() if whole else texts(), **shape)


def _check_vocabulary(
    ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase, student: Any, teacher: Any, *, name: str
) -> None:
    """See that the same number means the same word to both."""
    own, known = ours.get_vocab(), theirs.get_vocab()
    if own != known:
        alike = len(set(own.items()) & set(known.items()))
        raise ModelError(
            f"{name}: its vocabulary is not the teacher's: of its {len(own):,} tokens {alike:,} have the same number among the teacher's {len(known):,}. A student learns the teacher's words, so give a student with its tokenizer, such as layers:3."
        )
    rows = [model.get_output_embeddings().weight.shape[0] for model in (student, teacher)]
    if rows[0] != rows[1]:
        raise ModelError(
            f"{name}: scores {rows[0]:,} words, but the teacher {rows[1]:,}, though their tokenizers are the same. Give a student whose table was not enlarged, or a teacher whose was likewise."
        )
