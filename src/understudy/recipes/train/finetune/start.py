"""Where fine-tuning starts: a classifier from a checkpoint, its new head a linear probe of the encoder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedTokenizerBase

from understudy.data.splits import Splits
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded, collate, encode
from understudy.inference.logits import token_budget
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.awd_lstm.start import start_pooling_head
from understudy.models.files.classifiers import load_classifier, load_mean_classifier, said_of_transfer
from understudy.models.files.stored_task import set_task
from understudy.models.probe.choice import Difference, Probe, choose_pooling, cross_validated
from understudy.models.probe.heads import LINEAR, OWN, HeadParts, head_parts, made_linear, start_head
from understudy.models.probe.vectors import BEFORE, MEAN, READ, has_mean, text_vectors
from understudy.models.structure.layers import base_model
from understudy.models.students.pooled import PooledClassifier
from understudy.runs.devices import processes
from understudy.settings.train.finetune import FinetuneSettings

_MOST_ROWS = 5_000
"""Rows that a probe is fitted to; of more it would learn little, and the plan would keep people waiting."""
_FEW = 8
"""Rows for which a head is taken apart."""


@dataclass(frozen=True)
class Start:
    """What a head begins with."""

    pooling: str
    """``mean``, or how the head reads a text, see :mod:`understudy.models.probe.heads`."""
    probe: Probe
    rows: int
    difference: Difference | None = None
    """By how much the loss of the head's probe exceeds that of the mean's."""
    hidden: tuple[np.ndarray, np.ndarray] | None = None
    """Scale and shift of the hidden layer."""
    vectors: np.ndarray | None = field(default=None, repr=False)
    """The pooled vectors of the training rows, which the norms of an AWD-LSTM's head need."""
    seconds: float = 0.0

    def on_record(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return {
            "pooling": "mean" if self.pooling == MEAN else "head",
            "rows": self.rows,
            "inverse_penalty": self.probe.strength,
            "cross_validated": {name: float(value) for name, value in self.probe.scores.items()},
            "loss_of_blind_answers_above_probe": None if self.probe.beyond is None else list(self.probe.beyond),
            "loss_of_head_above_mean": None if self.difference is None else list(self.difference),
        }


def load_start(settings: FinetuneSettings, task: Task) -> Any:
    """The classifier of a checkpoint as the settings pool it, its new head at random."""
    torch.manual_seed(settings.seed)
    if settings.pooling == "mean":
        return load_mean_classifier(settings.begins_with, task)
    return load_classifier(settings.begins_with, task, fresh_head=settings.encoder_from is not None)


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

    Returns:
        None if the settings want none, the head was trained for these labels, or it is none that can begin so.
    """
    if settings.start == "head" or getattr(model, "keeps_head", False):
        return None
    found: list[Any] = [None]
    if processes().is_main_process:
        model.to(processes().device)
        encoded = encode(splits.train.texts, tokenizer, max_length=length)
        found = [_probed(model, encoded, splits, settings, names)]
    if processes().num_processes > 1:
        broadcast_object_list(found)
    start: Start | None = found[0]
    return start


def _probed(
    model: Any, encoded: Encoded, splits: Splits, settings: FinetuneSettings, names: Sequence[str]
) -> Start | None:
    began = time.monotonic()
    task, labels = splits.task, splits.train.labels
    rows = np.flatnonzero(splits.train.labelled)
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng([settings.seed, 4]).choice(rows, _MOST_ROWS, replace=False))
    parts = _head(model, encoded, names)
    mean = settings.pooling == "auto" and has_mean(model)
    if parts is None and not mean:
        return None
    vectors = text_vectors(
        model, parts, encoded, rows, mean=mean, names=names, max_tokens=token_budget(processes().device, model)
    )
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
        ways[OWN] = vectors[READ]
    probes = {
        way: cross_validated(part, labels[rows], task, seed=settings.seed, class_weights=splits.class_weights)
        for way, part in ways.items()
    }
    pooling, difference = choose_pooling(probes)
    return Start(
        pooling,
        probes[pooling],
        len(rows),
        difference,
        hidden if pooling == LINEAR else None,
        vectors[READ] if reads_whole(model.config) else None,
        time.monotonic() - began,
    )


def _head(model: Any, encoded: Encoded, names: Sequence[str]) -> Any:
    """The parts of a head; of an AWD-LSTM the head itself, where it can begin linear."""
    if reads_whole(model.config) and model.head.hidden.out_features >= model.config.num_labels:
        return model.head
    begins = max(0, (len(encoded) - _FEW) // 2)  # rows of middling length: none is empty, none takes long
    few = collate(encoded, np.argsort(encoded.lengths, kind="stable")[begins : begins + _FEW], names=names)
    device = next(model.parameters()).device
    return head_parts(model, {name: part.to(device) for name, part in few.items()})


def begin(model: Any, start: Start, task: Task, encoded: Encoded, names: Sequence[str]) -> Any:
    """The classifier whose head is the probe: the model itself, or one that pools the mean of its encoder's states."""
    probe = start.probe
    if start.pooling == MEAN:
        pooled = PooledClassifier.assemble(
            base_model(model).cpu(), torch.from_numpy(probe.weight), torch.from_numpy(probe.bias)
        )
        set_task(pooled.config, task)
        return pooled
    parts = _head(model, encoded, names)
    if isinstance(parts, HeadParts):
        start_head(parts, probe.weight, probe.bias, start.hidden)
    elif start.vectors is not None:
        start_pooling_head(parts, start.vectors, probe.weight, probe.bias)
    return model


def start_lines(start: Start | None, settings: FinetuneSettings, model: Any, task: Task) -> Mapping[str, str]:
    """What the head begins with and reads, and why, for the plan."""
    if start is None:
        if getattr(model, "keeps_head", False):
            return {"start": "the checkpoint's own head, which was trained for these labels"}
        why = "" if settings.start == "head" else "; the head of this architecture cannot begin as a probe"
        return {"start": f"a head at random{why}"}
    metric = task.metrics[0]
    score = f"{metric} {start.probe.scores[metric]:.3f}"
    learns = "" if start.probe.learns else "; it is not shown to learn anything, so training must prove itself"
    lines = {"start": f"a linear probe of {start.rows:,} rows ({score} in cross-validation{learns})"}
    if start.difference is not None:
        middle, error = start.difference.mean, start.difference.high - start.difference.mean
        compared = (
            f"its probe's loss is {abs(middle):.3f} ± {error:.3f} {'above' if middle > 0 else 'below'} the mean's"
        )
        if start.pooling == MEAN:
            lines["pooling"] = f"mean; the head is not shown to serve as well ({compared})"
        else:
            lines["pooling"] = f"head, which serves as well as the mean ({compared})"
    return lines


def start_notes(start: Start | None, settings: FinetuneSettings, model: Any) -> list[str]:
    """What the encoder of another run brings, and what the chosen pooling means for who loads the model."""
    notes = carried_notes(settings, model)
    if start is None or start.pooling != MEAN or settings.pooling != "auto":
        return notes
    read = "pooling: the mean of the states is read, so the"
    if settings.adapts:
        return [
            *notes,
            f"{read} adapter can be used here, but not be exported (--pooling head keeps to heads of others).",
        ]
    return [
        *notes,
        f"{read} saved model loads with understudy.load, not with transformers alone (--pooling head keeps to transformers).",
    ]


def carried_notes(settings: FinetuneSettings, model: Any) -> list[str]:
    """With ``--encoder_from``: which weights came from there, and which are new."""
    return [] if settings.encoder_from is None else [said_of_transfer(model, settings.encoder_from)]
