"""From ``distill --student`` to an untrained student."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.pieces import special_ids
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.files.trained import load_trained
from understudy.models.structure.layers import word_embeddings
from understudy.models.vocabulary.embeddings import table_from_teacher, table_from_vectors, table_rows
from understudy.recipes.train.students.cut import cut_student, whole_teacher
from understudy.runs.fitting.amount import usual_rate
from understudy.settings.student_options import LayersOptions, TableOptions, is_table

CUT_RATE = 1e-4
"""The peak rate of a student cut from its teacher, where the settings name none."""


@dataclass(frozen=True)
class UntrainedStudent:
    """An untrained student, its tokenizer, and a note, if any."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    learning_rate: float
    note: str | None = None
    fresh: bool = False
    """Whether all weights are random."""
    to_start: bool = False
    """Whether its embeddings have yet to start from its teacher's states."""
    begins: str | None = None
    """What its embeddings start from, for the plan; None of a student that is no table."""


def build_student(
    spec: str,
    task: Task,
    *,
    teacher: str | None,
    texts: Texts,
    tokenizer: str,
    embeddings: str,
    options: Sequence[Any],
    seed: int,
    of_several: str | None = None,
) -> UntrainedStudent:
    """An untrained student; the same arguments give the same weights.

    Args:
        spec: bilstm, static, layers[:N], or a model folder or hub id.
        teacher: the teacher's model folder or hub id; None if no teacher is a network.
        texts: a new vocabulary is trained on them.
        tokenizer: ``teacher``, ``words:N`` or ``bpe:N``, for bilstm and static.
        embeddings: ``contextual`` (random until they are started), ``teacher``, ``random`` or a word-vector file, for
            bilstm and static; ``auto`` takes the teacher's where it has any, and is never refused.
        options: those of every kind of student; the one that is built uses its own.
        of_several: of a teacher for several tasks, the one whose head a student cut from it takes.

    Raises:
        ModelError: where the teacher does not have what the student is to take from it.
    """
    torch.manual_seed(seed)
    kind = spec.split(":")[0]
    if is_table(spec):
        chosen = next(group for group in options if group.name == spec)
        return _table_student(chosen, task, teacher, texts, tokenizer, embeddings, seed)
    if kind == LayersOptions.name:
        layers = next(group for group in options if isinstance(group, LayersOptions))
        if teacher is None:
            raise ModelError(
                f"student {spec} is cut from its teacher, but no teacher is a network. Choose {', '.join(group.name for group in options if is_table(group.name))} or a model folder."
            )
        whole, note = whole_teacher(teacher, task, of_several=of_several)
        model, fresh = cut_student(whole, spec, layers), layers.start == "random"
        model.keeps_head = note is None and not fresh
        said = None if fresh else note
        return UntrainedStudent(model, load_tokenizer(teacher), learning_rate=CUT_RATE, note=said, fresh=fresh)
    model, own = load_classifier(spec, task), load_tokenizer(spec)
    check_tokenizer(model, own, name=spec)
    rate = usual_rate(sum(part.numel() for part in model.parameters()), recurrent=reads_whole(model.config))
    return UntrainedStudent(model, own, learning_rate=rate)


def _table_student(
    options: TableOptions,
    task: Task,
    teacher: str | None,
    texts: Texts,
    tokenizer: str,
    embeddings: str,
    seed: int,
) -> UntrainedStudent:
    own = _tokenizer(tokenizer, teacher, texts)
    table, begins, note = _table(embeddings, own, teacher, options.embedding)
    torch.manual_seed(seed)
    module, name = options.model.split(":")
    kind = getattr(importlib.import_module(module), name)
    shape = {"vocab_size": table_rows(own), "pair": task.is_pair, "num_labels": task.outputs}
    model = kind(kind.config_class(**shape, pad_token_id=own.pad_token_id, **options.sizes()))
    if table is not None:
        with torch.no_grad():
            model.embeddings.weight.copy_(table)
    to_start = embeddings == "contextual"
    return UntrainedStudent(
        model, own, learning_rate=options.learning_rate, note=note, to_start=to_start, begins=begins
    )


def _tokenizer(choice: str, teacher: str | None, texts: Texts) -> PreTrainedTokenizerBase:
    """The teacher's tokenizer, or a new one trained on the texts."""
    if choice == "auto":
        choice = "teacher" if teacher is not None else "words:30000"
    if choice != "teacher":
        return train_tokenizer(_each_text(texts), choice)
    if teacher is None:
        raise ModelError(
            "tokenizer 'teacher' needs a teacher that is a network, but none is. Give --tokenizer words:30000."
        )
    return load_tokenizer(teacher)


def _each_text(texts: Texts) -> Iterator[str]:
    for row in texts:
        yield from row


def _table(
    embeddings: str, tokenizer: PreTrainedTokenizerBase, teacher: str | None, width: int
) -> tuple[Any, str, str | None]:
    """The initial embeddings ``(vocabulary, width)``, or None for random ones; what they are; and a note, if any."""
    if embeddings == "contextual":
        return None, "what the teacher makes of each token (contextual)", None
    if embeddings == "random" or (embeddings == "auto" and teacher is None):
        return None, "random", None
    if embeddings not in ("teacher", "auto"):
        table, covered = table_from_vectors(embeddings, tokenizer, width)
        known = len(tokenizer) - len(special_ids(tokenizer))
        note = f"{embeddings}: vectors for {covered:,} of {known:,} tokens; the others start at random."
        return table, embeddings, note
    if teacher is None:
        raise ModelError(
            "embeddings 'teacher' needs a teacher that is a network, but none is. Give --embeddings random or a word-vector file."
        )
    try:
        words = _teachers_words(teacher)
    except ModelError as error:
        if embeddings == "teacher":
            raise
        return None, "random", f"student: its embeddings start at random, because the teacher has none to take. {error}"
    return table_from_teacher(words, load_tokenizer(teacher), tokenizer, width), "the teacher's word embeddings", None


def _teachers_words(teacher: str) -> torch.Tensor:
    """The teacher's table of token embeddings: that of its encoder, or of one of our own networks."""
    try:
        return word_embeddings(load_encoder(teacher)).weight.detach()
    except ModelError:  # a broken one is refused in the next line, too
        return word_embeddings(load_trained(teacher).model).weight.detach()
