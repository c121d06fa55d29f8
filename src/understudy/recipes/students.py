"""From the words of ``--student`` to an untrained student."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Lt

from understudy.errors import nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from understudy.data.tasks import Task
    from understudy.data.texts import Texts

NAMES = ("bilstm", "static", "layers")


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
    """The teacher's layers to keep, counted from 0 (instead of a number of evenly spaced ones)."""


@dataclass(frozen=True)
class Student:
    """An untrained student and what feeds it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    learning_rate: float


def student_faults(spec: str, *, keeps_layers: bool) -> list[str]:
    """What is wrong with the name of a student, before anything is loaded."""
    if spec in ("bilstm", "static") or re.fullmatch(r"layers:[1-9]\d*", spec) or (spec == "layers" and keeps_layers):
        return []
    if spec.split(":")[0] == "layers":
        return [f"student layers needs a number, as in layers:3, or --layers.keep 0 2 4, but is {spec!r}."]
    if Path(spec).expanduser().exists() or "/" in spec:
        return []
    return [
        f"student must be bilstm, static, layers:N, a model folder or a hub id such as org/name, but is {spec!r}.{nearest(spec, NAMES)}"
    ]


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
    from understudy.models.load import check_tokenizer, load_classifier, load_tokenizer
    from understudy.models.shrink import cut_layers, evenly, layer_count

    torch.manual_seed(seed)
    if spec.split(":")[0] == "layers":
        if teacher is None:
            raise ModelError(
                f"student {spec} is cut from its teacher, but this teacher is a file of outputs. Choose bilstm, static or a model folder."
            )
        whole = load_classifier(teacher, task)
        keep = layers.keep or evenly(layer_count(whole), int(spec.split(":")[1]))
        return Student(cut_layers(whole, keep), load_tokenizer(teacher), learning_rate=1e-4)
    if spec not in NAMES:
        model, own = load_classifier(spec, task), load_tokenizer(spec)
        check_tokenizer(model, own, name=spec)
        return Student(model, own, learning_rate=5e-5)
    if tokenizer == "auto":
        tokenizer = "teacher" if teacher is not None else "words:30000"
    if tokenizer == "teacher":
        if teacher is None:
            raise ModelError(
                "tokenizer 'teacher' needs a teacher that is a model, but this one is a file of outputs. Give --tokenizer words:30000."
            )
        own = load_tokenizer(teacher)
    else:
        from understudy.data.vocabulary import train_tokenizer

        own = train_tokenizer(_each_text(texts), tokenizer)
    options = bilstm if spec == "bilstm" else static
    table = _table(embeddings, own, teacher, options.embedding)
    torch.manual_seed(seed)
    model = _untrained(own, task, options)
    if table is not None:
        with torch.no_grad():
            model.embeddings.weight.copy_(table)
    return Student(model, own, learning_rate=2e-3 if spec == "bilstm" else 3e-3)


def _each_text(texts: Texts) -> Iterator[str]:
    for row in texts:
        yield from row


def _table(embeddings: str, tokenizer: PreTrainedTokenizerBase, teacher: str | None, width: int) -> Any:
    """The starting embeddings ``(vocabulary, width)``, or None for random ones."""
    from understudy.models.embeddings import from_teacher, from_vectors_file
    from understudy.models.layers import word_embeddings
    from understudy.models.load import load_encoder, load_tokenizer

    if embeddings == "random" or (embeddings == "auto" and teacher is None):
        return None
    if embeddings in ("teacher", "auto"):
        if teacher is None:
            from understudy.errors import ModelError

            raise ModelError(
                "embeddings 'teacher' needs a teacher that is a model, but this one is a file of outputs. Give --embeddings random or a word-vector file."
            )
        table = word_embeddings(load_encoder(teacher)).weight.detach()
        return from_teacher(table, load_tokenizer(teacher), tokenizer, width)
    return from_vectors_file(embeddings, tokenizer, width)[0]


def _untrained(tokenizer: PreTrainedTokenizerBase, task: Task, options: BiLSTMOptions | StaticOptions) -> Any:
    from understudy.models.bilstm import BiLSTM, BiLSTMConfig
    from understudy.models.embeddings import table_rows
    from understudy.models.static import StaticBag, StaticConfig

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
