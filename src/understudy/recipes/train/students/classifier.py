"""From the words of ``--student`` to an untrained student."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from understudy.errors import gathered, nearest
from understudy.settings.training import model_faults

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from understudy.data.tasks import Task
    from understudy.data.texts import Texts

NAMES = ("bilstm", "static", "layers")
_TOKENIZERS = ("auto", "teacher")
_EMBEDDINGS = ("auto", "teacher", "random")


@dataclass(kw_only=True)
class BiLSTMOptions:
    """The BiLSTM student."""

    embedding: Annotated[int, Gt(0)] = 128
    """Width of the token embeddings."""
    lstm: Annotated[int, Gt(0)] = 128
    """Width of the LSTM's state, in each direction."""
    hidden: Annotated[int, Gt(0)] = 128
    """Width of the hidden layer."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """On the embeddings and before the output."""


@dataclass(kw_only=True)
class StaticOptions:
    """The bag-of-embeddings student."""

    embedding: Annotated[int, Gt(0)] = 300
    """Width of the token embeddings."""
    hidden: Annotated[int, Ge(0)] = 256
    """Width of the hidden layer; 0 for none."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Before the output."""


@dataclass(kw_only=True)
class LayersOptions:
    """The student cut from its teacher."""

    keep: list[int] = field(default_factory=list)
    """The teacher's layers to keep, counted from 0 (instead of a number of them)."""
    choose: Literal["evenly", "alternate", "first", "last"] = "evenly"
    """Which ones layers:N keeps: at even distances, ends included; every second, third ...; the N first or last ones."""
    hidden: Annotated[int, Gt(0)] | None = None
    """Also narrow the hidden size to this, a multiple of the number of heads."""
    start: Literal["teacher", "svd", "random"] = "teacher"
    """The weights: the teacher's (with --layers.hidden: of its strongest units); the same in the principal directions of its embeddings; or random ones."""


@dataclass(frozen=True)
class Student:
    """An untrained student, what feeds it, and a sentence where there is one to say."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    learning_rate: float
    note: str | None = None
    fresh: bool = False
    """Whether its weights are random ones, the teacher's none of them."""


def student_faults(
    spec: str,
    *,
    bilstm: BiLSTMOptions,
    static: StaticOptions,
    layers: LayersOptions,
    tokenizer: str,
    embeddings: str,
) -> list[str]:
    """What is wrong with a student, before anything is loaded: its name, or options that it does not heed."""
    kind = "layers" if spec.split(":")[0] == "layers" else spec
    reads_table = kind in ("bilstm", "static")
    faults = layers_faults(spec, layers) if kind == "layers" else [] if reads_table else _named_faults(spec)
    if kind == "layers" or not faults:  # else nobody knows what student was meant
        groups = {"bilstm": bilstm, "static": static, "layers": layers}
        idle = [flag for name, options in groups.items() if name != kind for flag in changed(options, name)]
        if not reads_table:
            idle += ["--tokenizer"] * (tokenizer != "auto") + ["--embeddings"] * (embeddings != "auto")
        faults += [f"--student {spec} has no use for {flag}. Leave it out." for flag in idle]
    return faults + _table_faults(tokenizer, embeddings)


def changed(options: Any, prefix: str) -> list[str]:
    """The flags of a group of options that are not as they come.

    Example:
        >>> changed(StaticOptions(hidden=0), "static")
        ['--static.hidden']
    """
    plain = type(options)()
    return [f"--{prefix}.{f.name}" for f in fields(options) if getattr(options, f.name) != getattr(plain, f.name)]


def _table_faults(tokenizer: str, embeddings: str) -> list[str]:
    """What is wrong with the words of ``--tokenizer`` and ``--embeddings``."""
    faults: list[str] = []
    if tokenizer not in _TOKENIZERS:
        from understudy.data.tokens.specs import parse_spec

        with gathered(faults):
            parse_spec(tokenizer)
        faults = [fault + nearest(tokenizer, _TOKENIZERS) for fault in faults]
    if embeddings not in _EMBEDDINGS and not Path(embeddings).expanduser().is_file():
        faults.append(
            f"embeddings must be {', '.join(_EMBEDDINGS)} or a file of word vectors, but there is no file {embeddings!r}.{nearest(embeddings, _EMBEDDINGS)}"
        )
    return faults


def _named_faults(spec: str) -> list[str]:
    """What is wrong with a student that is a model folder or a hub id."""
    if Path(spec).expanduser().exists() or "/" in spec:
        return model_faults(spec)
    return [
        f"student must be bilstm, static, layers:N, a model folder or a hub id such as org/name, but is {spec!r}.{nearest(spec, NAMES)}"
    ]


def layers_faults(spec: str, layers: LayersOptions) -> list[str]:
    """What is wrong with a student cut from its teacher, as far as it shows without the teacher."""
    numbered = re.fullmatch(r"layers:[1-9]\d*", spec) is not None
    if not numbered and not (spec == "layers" and layers.keep):
        return [f"student layers needs a number, as in layers:3, or --layers.keep 0 2 4, but is {spec!r}."]
    if numbered and layers.keep:
        return [
            f"student {spec} says how many layers to keep, and --layers.keep which ones. Give --student layers with it."
        ]
    if layers.keep and layers.choose != "evenly":
        return [
            "--layers.choose says which layers a layers:N keeps, but --layers.keep names them. Leave one of them out."
        ]
    if layers.start == "svd" and layers.hidden is None:
        return ["--layers.start svd says how a narrower student starts. Give --layers.hidden too, or leave it out."]
    return []


def cut_student(whole: Any, spec: str, layers: LayersOptions) -> Any:
    """The teacher with some of its layers, narrower if asked for, started from its weights or afresh."""
    from understudy.models.shrink.cut import afresh, choose_layers, cut_layers, layer_count
    from understudy.models.shrink.narrow import narrow

    keep = layers.keep or choose_layers(layer_count(whole), int(spec.split(":")[1]), layers.choose)
    student = cut_layers(whole, keep)
    if layers.hidden is not None:
        return narrow(student, layers.hidden, start="units" if layers.start == "teacher" else layers.start)
    return afresh(student) if layers.start == "random" else student


def build_student(
    spec: str,
    task: Task,
    *,
    teacher: str | None,
    texts: Texts,
    tokenizer: str,
    embeddings: str,
    bilstm: BiLSTMOptions,
    static: StaticOptions,
    layers: LayersOptions,
    seed: int,
) -> Student:
    """An untrained student; the same arguments give the same weights.

    Args:
        spec: bilstm, static, layers[:N], or a model folder or hub id.
        teacher: the teacher's model folder or hub id; None if the teacher is a file.
        texts: what a new vocabulary is trained on.
        tokenizer: ``teacher``, ``words:N`` or ``bpe:N``, for bilstm and static.
        embeddings: ``teacher``, ``random`` or a word-vector file, for bilstm and static.

    Raises:
        ModelError: where the teacher does not have what the student is to take from it.
    """
    import torch

    from understudy.errors import ModelError
    from understudy.models.awd_lstm.config import reads_whole
    from understudy.models.files.load import check_tokenizer, load_classifier, load_tokenizer

    torch.manual_seed(seed)
    if spec.split(":")[0] == "layers":
        if teacher is None:
            raise ModelError(
                f"student {spec} is cut from its teacher, but this teacher is a file of outputs. Choose bilstm, static or a model folder."
            )
        model = cut_student(load_classifier(teacher, task), spec, layers)
        return Student(model, load_tokenizer(teacher), learning_rate=1e-4, fresh=layers.start == "random")
    if spec not in NAMES:
        model, own = load_classifier(spec, task), load_tokenizer(spec)
        check_tokenizer(model, own, name=spec)
        return Student(model, own, learning_rate=3e-3 if reads_whole(model.config) else 5e-5)
    if tokenizer == "auto":
        tokenizer = "teacher" if teacher is not None else "words:30000"
    if tokenizer == "teacher":
        if teacher is None:
            raise ModelError(
                "tokenizer 'teacher' needs a teacher that is a model, but this one is a file of outputs. Give --tokenizer words:30000."
            )
        own = load_tokenizer(teacher)
    else:
        from understudy.data.tokens.vocabulary import train_tokenizer

        own = train_tokenizer(_each_text(texts), tokenizer)
    options = bilstm if spec == "bilstm" else static
    table, note = _table(embeddings, own, teacher, options.embedding)
    torch.manual_seed(seed)
    model = _untrained(own, task, options)
    if table is not None:
        with torch.no_grad():
            model.embeddings.weight.copy_(table)
    return Student(model, own, learning_rate=2e-3 if spec == "bilstm" else 3e-3, note=note)


def _each_text(texts: Texts) -> Iterator[str]:
    for row in texts:
        yield from row


def _table(
    embeddings: str, tokenizer: PreTrainedTokenizerBase, teacher: str | None, width: int
) -> tuple[Any, str | None]:
    """The starting embeddings ``(vocabulary, width)``, or None for random ones; and what there is to say of them."""
    from understudy.data.tokens.pieces import special_ids
    from understudy.models.files.load import load_encoder, load_tokenizer
    from understudy.models.structure.layers import word_embeddings
    from understudy.models.vocabulary.embeddings import from_teacher, from_vectors_file

    if embeddings == "random" or (embeddings == "auto" and teacher is None):
        return None, None
    if embeddings in ("teacher", "auto"):
        if teacher is None:
            from understudy.errors import ModelError

            raise ModelError(
                "embeddings 'teacher' needs a teacher that is a model, but this one is a file of outputs. Give --embeddings random or a word-vector file."
            )
        table = word_embeddings(load_encoder(teacher)).weight.detach()
        return from_teacher(table, load_tokenizer(teacher), tokenizer, width), None
    table, covered = from_vectors_file(embeddings, tokenizer, width)
    known = len(tokenizer) - len(special_ids(tokenizer))
    return table, f"{embeddings}: vectors for {covered:,} of {known:,} tokens; the others start at random."


def _untrained(tokenizer: PreTrainedTokenizerBase, task: Task, options: BiLSTMOptions | StaticOptions) -> Any:
    from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
    from understudy.models.students.static import StaticBag, StaticConfig
    from understudy.models.vocabulary.embeddings import table_rows

    shape: dict[str, Any] = {
        "vocab_size": table_rows(tokenizer),
        "embedding_size": options.embedding,
        "hidden_size": options.hidden,
        "dropout": options.dropout,
        "pair": task.is_pair,
        "num_labels": task.outputs,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if isinstance(options, BiLSTMOptions):
        return BiLSTM(BiLSTMConfig(lstm_size=options.lstm, **shape))
    return StaticBag(StaticConfig(**shape))
