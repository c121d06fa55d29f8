"""Where fine-tuning starts: a classifier from a checkpoint, its new head a linear probe of the encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedTokenizerBase

from understudy.adapters.heads import head_of
from understudy.data.splits import Splits
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded, collate, encode
from understudy.errors import ConfigError, ModelError
from understudy.inference.logits import logits, token_budget
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.awd_lstm.head import PoolingHead
from understudy.models.awd_lstm.start import start_pooling_head
from understudy.models.files.classifiers import (
    initialise_head,
    load_apart_classifier,
    load_classifier,
    load_mean_classifier,
    pooling_of,
)
from understudy.models.files.stored_task import set_task
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.probe.choice import (
    Difference,
    Probe,
    choose_pooling,
    cross_validated,
    drawn_rows,
    serves_apart,
)
from understudy.models.probe.heads import LINEAR, OWN, HeadParts, head_parts, made_linear, start_head
from understudy.models.probe.pairs import cross_validated_pairs
from understudy.models.probe.vectors import APART, BEFORE, MEAN, READ, apart_vectors, has_mean, text_vectors
from understudy.models.structure.layers import base_model
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pair_rows import PairLayout, pair_layout
from understudy.models.students.pooled import PooledClassifier, PooledEncoder
from understudy.runs.devices import processes
from understudy.settings.train.finetune import FinetuneSettings

_FEW = 8
"""Rows for which a head is taken apart."""
_ENOUGH_TO_TELL = 1_000
"""Training rows that show whether a checkpoint's head answers on the scale of the labels."""


@dataclass(frozen=True)
class Start:
    """What a head begins with."""

    pooling: str
    """``mean``, ``apart``, or how the head reads a text, see :mod:`understudy.models.probe.heads`."""
    probe: Probe
    rows: int
    difference: Difference | None = None
    """By how much the loss of the head's probe exceeds that of the mean's."""
    joined: Difference | None = None
    """By how much the loss of the best probe of joined pairs exceeds that of pairs read apart."""
    layout: PairLayout | None = None
    """Where the tokenizer puts special tokens, if pairs are read apart."""
    hidden: tuple[np.ndarray, np.ndarray] | None = None
    """Scale and shift of the hidden layer."""
    vectors: np.ndarray | None = field(default=None, repr=False)
    """The pooled vectors of the training rows, which the norms of an AWD-LSTM's head need."""
    seconds: float = 0.0
    read: str = "head"
    """How the classifier that begins so reads a row: ``mean``, ``apart`` or ``head``."""
    unjudged: bool = False
    """Whether there were several ways to read a row, but no row to judge them by."""
    off_scale: bool = False
    """Whether it is in place of a checkpoint's head, which answers on another scale than that of the labels."""

    def on_record(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return {
            "pooling": self.read,
            "rows": self.rows,
            "inverse_penalty": self.probe.strength,
            "cross_validated": {name: float(value) for name, value in self.probe.scores.items()},
            "loss_of_blind_answers_above_probe": None if self.probe.beyond is None else list(self.probe.beyond),
            "loss_of_head_above_mean": None if self.difference is None else list(self.difference),
            **({} if self.joined is None else {"loss_of_joined_above_apart": list(self.joined)}),
        }


def load_start(settings: FinetuneSettings, task: Task) -> Any:
    """The classifier of a checkpoint as the settings pool it, its new head at random.

    Raises:
        ConfigError: if the texts of pairs are to be read apart, but the rows have one text.
    """
    torch.manual_seed(settings.seed)
    check_pairs(settings.pooling, task, settings.data)
    goes_on = settings.encoder_from is None and settings.pooling in (MEAN, APART)
    if goes_on and pooling_of(settings.begins_with) == settings.pooling:  # its head may be for these labels
        return load_classifier(settings.begins_with, task)
    if settings.pooling == "apart":
        return load_apart_classifier(settings.begins_with, task, pair_layout(load_tokenizer(settings.begins_with)))
    if settings.pooling == "mean":
        return load_mean_classifier(settings.begins_with, task)
    return load_classifier(settings.begins_with, task, fresh_head=settings.encoder_from is not None)


def check_pairs(pooling: str, task: Task, origin: str | None) -> None:
    """Check that there are pairs where their texts are to be read apart.

    Raises:
        ConfigError: if the rows have one text.
    """
    if pooling == "apart" and not task.is_pair:
        raise ConfigError(
            f"--pooling apart reads the two texts of a pair by themselves, but a row of {origin} has one text. Leave it out, or give --pooling mean."
        )


def find_start(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    settings: FinetuneSettings,
    splits: Splits,
    *,
    length: int,
    names: Sequence[str],
) -> Start | None:
    """The probe that a classifier's new head can begin as, chosen in the main process for all of them.

    A regression's kept head that answers on another scale than the labels counts as new: the model no longer ``keeps_head``.

    Returns:
        None if the settings want none, the head was trained for these labels, or it is none that can begin so.
    """
    keeps = getattr(model, "keeps_head", False)
    chooses = splits.task.kind == "regression" and settings.load_adapter is None
    if settings.start == "head" or (keeps and not chooses):
        return None
    found: list[tuple[bool, Start | None]] = [(keeps, None)]
    if processes().is_main_process:
        model.to(processes().device)
        encoded = encode(splits.train.texts, tokenizer, max_length=length)
        if not keeps or not _on_scale(model, encoded, splits, settings, names):
            layout = _layout(model, tokenizer, splits.task, settings, names)
            found = [(False, _probed(model, encoded, splits, settings, names, layout))]
    if processes().num_processes > 1:
        broadcast_object_list(found)
    kept, start = found[0]
    if keeps and not kept:
        model.keeps_head = False
        if start is not None:
            return replace(start, off_scale=True)
        torch.manual_seed(settings.seed)
        initialise_head(model)
    return start


def _on_scale(model: Any, encoded: Encoded, splits: Splits, settings: FinetuneSettings, names: Sequence[str]) -> bool:
    """Whether a regression's answers are nearer to the labels of training rows than their mean is."""
    labels = splits.train.labels
    assert labels is not None
    rows = drawn_rows(labels, settings.seed, most=_ENOUGH_TO_TELL)
    wanted = labels[rows].astype(np.float64)
    answers = logits(model, encoded, names=names, rows=rows, device=processes().device)[:, 0]
    return bool(np.square(answers - wanted).mean() < wanted.var())


def _layout(
    model: Any, tokenizer: PreTrainedTokenizerBase, task: Task, settings: FinetuneSettings, names: Sequence[str]
) -> PairLayout | None:
    """Where the tokenizer puts special tokens, if reading pairs apart is to be tried; None if not."""
    if not task.is_pair or not _chooses_reading(model, settings) or "attention_mask" not in names:
        return None
    try:
        return pair_layout(tokenizer)
    except ModelError:
        return None


def _chooses_reading(model: Any, settings: FinetuneSettings) -> bool:
    """Whether the probes choose between ways to read a row: also where the model whose encoder is taken has one already."""
    pooled = isinstance(model, PooledEncoder) and not settings.adapts
    return settings.pooling == "auto" and (pooled or has_mean(model))


def _probed(
    model: Any,
    encoded: Encoded,
    splits: Splits,
    settings: FinetuneSettings,
    names: Sequence[str],
    layout: PairLayout | None,
) -> Start | None:
    began = time.monotonic()
    task, labels = splits.task, splits.train.labels
    assert labels is not None
    rows = drawn_rows(labels, settings.seed)
    chooses = _chooses_reading(model, settings)
    parts = None if chooses and isinstance(model, PooledEncoder) else _head(model, encoded, names)
    mean = chooses
    if parts is None and not mean:
        return None
    most = token_budget(processes().device, model)
    vectors = text_vectors(model, parts, encoded, rows, mean=mean, names=names, max_tokens=most)
    ways: dict[str, np.ndarray] = {MEAN: vectors[MEAN]} if mean else {}
    hidden: tuple[np.ndarray, np.ndarray] | None = None
    if isinstance(parts, HeadParts):
        if OWN in parts.ways:
            ways[OWN] = vectors[READ]
        # an adapter's base stays as it is, the pooler that came with it included
        if LINEAR in parts.ways and (parts.hidden_is_new or not settings.adapts):
            ways[LINEAR], scales, shifts = made_linear(parts, vectors[BEFORE])
            hidden = scales, shifts
    elif parts is not None:
        ways[OWN] = _carried(parts, vectors[READ])
    told: dict[str, Any] = {
        "seed": settings.seed,
        "class_weights": splits.class_weights,
        "groups": splits.train.texts.keys()[rows],
    }
    fit = cross_validated_pairs if isinstance(model, ApartClassifier) else cross_validated
    probes = {way: fit(part, labels[rows], task, **told) for way, part in ways.items()}
    pooling, difference = choose_pooling(probes)
    joined: Difference | None = None
    if layout is not None:
        compared = apart_vectors(model, layout, encoded, rows, max_tokens=most)
        probes[APART] = cross_validated_pairs(compared, labels[rows], task, **told)
        apart, joined = serves_apart(probes[APART], probes[pooling])
        pooling = APART if apart else pooling
    return Start(
        pooling,
        probes[pooling],
        len(rows),
        difference,
        joined,
        layout if pooling == APART else None,
        hidden if pooling == LINEAR else None,
        vectors[READ] if reads_whole(model.config) else None,
        time.monotonic() - began,
        pooling if pooling in (MEAN, APART) else how_read(model),
        unjudged=len(probes) > 1 and not len(probes[pooling].losses),
    )


def how_read(model: Any) -> str:
    """How a classifier reads a row: ``mean``, ``apart`` or ``head``."""
    way, _ = head_of(model)
    return "head" if way == "architecture" else way


def _head(model: Any, encoded: Encoded, names: Sequence[str]) -> Any:
    """The parts of a head; of an AWD-LSTM the head itself."""
    if reads_whole(model.config):
        return model.head
    begins = max(0, (len(encoded) - _FEW) // 2)  # rows of middling length: none is empty, none takes long
    few = collate(encoded, np.argsort(encoded.lengths, kind="stable")[begins : begins + _FEW], names=names)
    device = next(model.parameters()).device
    return head_parts(model, {name: part.to(device) for name, part in few.items()})


def _carried(head: PoolingHead, pooled: np.ndarray) -> np.ndarray:
    """What the probe of an AWD-LSTM is fitted to: the pooled vectors, or what its last layer reads if that alone can begin as it."""
    if head.carries_linear:
        return pooled
    return head.begin_with(torch.from_numpy(pooled).to(head.output.weight)).cpu().numpy()


def begin(model: Any, start: Start, task: Task, encoded: Encoded, names: Sequence[str]) -> Any:
    """The classifier whose head is the probe: the model itself, or one that pools the states of its encoder otherwise."""
    probe = start.probe
    if start.pooling in (MEAN, APART):
        encoder, weight, bias = base_model(model).cpu(), torch.from_numpy(probe.weight), torch.from_numpy(probe.bias)
        pooled: Any
        if start.layout is None:
            pooled = PooledClassifier.assemble(encoder, weight, bias)
        else:
            pooled = ApartClassifier.assemble(encoder, weight, bias, layout=start.layout)
        set_task(pooled.config, task)
        return pooled
    parts = _head(model, encoded, names)
    if isinstance(parts, HeadParts):
        start_head(parts, probe.weight, probe.bias, start.hidden)
    elif start.vectors is not None and not start_pooling_head(parts, start.vectors, probe.weight, probe.bias):
        parts.begin_with(torch.from_numpy(start.vectors).to(parts.output.weight))
        start_head(HeadParts(parts.output), probe.weight, probe.bias)
    return model


def as_probe(model: Any) -> Any:
    """The classifier, of which nothing but the head learns or has learnt."""
    base_model(model).requires_grad_(False)
    return model
