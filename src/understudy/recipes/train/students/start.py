"""A student's embeddings from what its teacher makes of each token in the texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.atomic import CACHE, new_file
from understudy.checksums import seal, still_sound
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError
from understudy.inference.logits import token_budget
from understudy.inference.predictor import Predictor
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.probe.vectors import WithMeans
from understudy.models.structure.layers import base_model, watched, word_embeddings
from understudy.models.students.student import Student
from understudy.models.vocabulary.embeddings import table_from_teacher
from understudy.models.vocabulary.token_states import TokenStates, contextual_table, token_states
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.load import LoadedTeacher
from understudy.runs.devices import a_batch_a_core

_TOKENS = 100_000
"""Tokens of the texts that the teacher reads for this: beyond, common words change no more and rare ones are guessed."""
_FORMAT = 2
"""Of the cached states: raise it when the same texts give others."""


def reader_of(teacher: LoadedTeacher | None) -> Predictor | None:
    """The teacher as what can read texts for a student's start: an encoder of transformers; None if it is none."""
    if teacher is None or not isinstance(teacher.model, Predictor):
        return None
    inner = base_model(teacher.model.model)
    ours = isinstance(inner, Student) or reads_whole(getattr(inner, "config", None))
    return None if ours else teacher.model


def table_start(embeddings: str, reader: Predictor | None) -> str:
    """What ``--embeddings`` means beside this teacher.

    Raises:
        ModelError: if a start from the teacher's states is asked for, but the teacher has none.
    """
    if embeddings == "auto" and reader is not None:
        return "contextual"
    if embeddings == "contextual" and reader is None:
        raise ModelError(
            "embeddings 'contextual' needs a teacher that is an encoder of transformers, but none is. Give --embeddings teacher, random or a word-vector file."
        )
    return embeddings


def contextual_start(
    teacher: Predictor,
    texts: Texts,
    tokenizer: PreTrainedTokenizerBase,
    width: int,
    *,
    device: torch.device | str,
    on_batch: Callable[[], None] = lambda: None,
) -> Tensor:
    """The mean state of each token over the texts, in the student's vocabulary and width.

    The texts are drawn at random, always in the same order, until they hold 100,000 tokens. The states are cached, by
    teacher and texts. The teacher's answers come out of the same pass; who has it label these texts finds them known.

    Args:
        teacher: a network with an encoder of transformers.
        tokenizer: the student's.
        width: of the student's embeddings.
        device: where the teacher reads.
        on_batch: called after each batch.

    Returns:
        float32 ``(tokens, width)``.
    """
    model: Any = teacher.model
    encoded = encode(texts, teacher.tokenizer, max_length=teacher.max_length)
    order = np.random.default_rng(0).permutation(len(encoded))
    rows = order[: int(np.searchsorted(encoded.lengths[order].cumsum(), _TOKENS)) + 1]
    identity = json.dumps([_FORMAT, teacher.fingerprint(), encoded.fingerprint, len(rows)])
    file = cache_dir() / "token_states" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.safetensors"
    words = word_embeddings(model).weight.detach().float().cpu()
    states = _known(file, len(words))
    if states is None:
        teacher.to(device)
        states = _read(teacher, encoded, texts, rows, device=device, on_batch=on_batch)
        _keep(file, states)
    return table_from_teacher(contextual_table(words, states), teacher.tokenizer, tokenizer, width)


def _read(
    teacher: Predictor,
    encoded: Encoded,
    texts: Texts,
    rows: np.ndarray,
    *,
    device: torch.device | str,
    on_batch: Callable[[], None],
) -> TokenStates:
    """Have a teacher read rows of the texts; its answers are kept, if they come with the states."""
    model: Any = teacher.model
    gives_both = teacher.gives_means()  # else its encoder is asked, which gives no answers
    answers: dict[int, np.ndarray] = {}

    def keep(batch: np.ndarray, output: Any) -> None:
        if gives_both:
            answers.update(zip(batch.tolist(), output.logits.cpu().numpy()))
        on_batch()

    with a_batch_a_core(device) as workers, watched(model) as last:
        states = token_states(
            WithMeans(model, last) if gives_both else base_model(model),
            encoded,
            names=teacher.names,
            tokens=len(word_embeddings(model).weight),
            rows=rows,
            max_tokens=token_budget(device, model),
            workers=workers,
            on_batch=keep,
        )
    if gives_both:
        CachedTeacher.know(teacher, texts.take(rows), np.stack([answers[row] for row in range(len(rows))]))
    return states


def start_embeddings(
    students: Sequence[Any],
    teacher: Predictor,
    texts: Texts,
    tokenizer: PreTrainedTokenizerBase,
    *,
    device: torch.device | str,
    on_batch: Callable[[], None],
) -> None:
    """Start the embeddings of students of one shape at the same table, see :func:`contextual_start`."""
    width = students[0].config.embedding_size
    table = contextual_start(teacher, texts, tokenizer, width, device=device, on_batch=on_batch)
    for student in students:
        with torch.no_grad():
            student.embeddings.weight.copy_(table)


def _keep(file: Path, states: TokenStates) -> None:
    """Write the states of the tokens that occurred, with a checksum."""
    seen = states.counts.nonzero().ravel()
    parts = {"tokens": seen, "sums": states.sums[seen], "counts": states.counts[seen]}
    with new_file(file, remedy=CACHE) as stream:
        stream.write(save(parts))
        seal(stream)


def _known(file: Path, tokens: int) -> TokenStates | None:
    """The states that another run has written, bit for bit; None if there are none, or the file is damaged."""
    size = still_sound(file)
    if size is None:
        return None
    parts = load(file.read_bytes()[:size])
    sums = torch.zeros(tokens, parts["sums"].shape[1], dtype=torch.float64)
    counts = torch.zeros(tokens, dtype=torch.float64)
    sums[parts["tokens"]], counts[parts["tokens"]] = parts["sums"], parts["counts"]
    return TokenStates(sums, counts)
