"""What is said of where fine-tuning starts: lines of the plan, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.data.tasks import Task
from understudy.models.files.classifiers import said_of_transfer
from understudy.models.probe.choice import above
from understudy.models.probe.vectors import APART, MEAN
from understudy.recipes.train.finetune.start import Start, how_read
from understudy.runs.fitting.amount import Amount
from understudy.settings.train.finetune import FinetuneSettings


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
    off = "; the checkpoint's own head answers on another scale than these labels" if start.off_scale else ""
    lines = {"start": f"a linear probe of {start.rows:,} rows ({score} in cross-validation{learns}){off}"}
    if start.unjudged and start.pooling == MEAN:
        mean = "mean of joined pairs" if task.is_pair else "mean"
        return {**lines, "pooling": f"{mean}; no other way can be judged, because each class is in one fold alone"}
    said = []
    if start.pooling != APART and start.difference is not None:
        compared = f"its probe's loss is {above(start.difference)} the mean's"
        if start.pooling == MEAN:
            said.append(f"mean; the head is not shown to serve as well ({compared})")
        else:
            said.append(f"head, which serves as well as the mean ({compared})")
    if start.joined is not None:
        compared = f"the loss of the joined pairs' probe is {above(start.joined)} theirs"
        if start.pooling == APART:
            said.append(f"apart: each text of a pair is read by itself ({compared})")
        else:
            said.append(f"texts of pairs are not read apart ({compared})")
    return {**lines, "pooling": "; ".join(said)} if said else lines


def start_notes(start: Start | None, settings: FinetuneSettings, model: Any, *, labelled: int) -> list[str]:
    """What the encoder of another run brings, how much the probe saw, and what the chosen pooling means for who loads the model.

    Args:
        labelled: labelled training rows.
    """
    notes = carried_notes(settings, model, probe_as_pooler=start is not None and start.hidden is not None)
    if start is not None and start.rows < labelled:
        notes.append(
            f"the probe is fitted on {start.rows:,} of {labelled:,} labelled rows; --features frozen alone takes all of them."
        )
    if settings.pooling in (MEAN, APART) or (start is None and settings.pooling != "head"):
        return notes
    read = how_read(model) if start is None else start.read
    if read not in (MEAN, APART):
        return notes
    what = "the texts of a pair are read apart" if read == APART else "the mean of the states is read"
    if settings.pooling == "head":
        return [*notes, pooled_note(what, why=f": its head is that of {settings.begins_with}")]
    if settings.adapts:
        return [
            *notes,
            f"pooling: {what}, so the adapter can be used here, but not be exported (--pooling head keeps to heads of others).",
        ]
    return [*notes, pooled_note(what)]


def said_of_share(share: float, begun: str) -> str:
    """A sentence about weights between two ends."""
    return f"the model is {share:g} of the way from the {begun} to what training ended with (--interpolate 1 keeps the end)."


def said_of_weights(amount: Amount, *, share: float, patience: int | None, rows: int) -> str:
    """Which weights a training ends with, for the plan.

    Args:
        share: how much of the way from its start to its end is kept.
        patience: evaluations without a new best after which training ends.
        rows: validation rows.
    """
    end = (
        "those of the best evaluation"
        if amount.chooses
        else f"the last, because {rows:,} validation rows cannot choose"
    )
    plural = "" if patience == 1 else "s"
    early = "" if patience is None else f"; training ends after {patience} evaluation{plural} without a new best"
    return f"{end}{early}" if share == 1 else f"{share:g} of the way from the start to {end}{early}"


def pooled_note(what: str, *, why: str = " (--pooling head keeps to transformers)") -> str:
    """A sentence about a model that transformers alone does not load, because of what it reads."""
    return f"pooling: {what}, so the saved model loads with understudy.load, not with transformers alone{why}."


def carried_notes(settings: FinetuneSettings, model: Any, *, probe_as_pooler: bool = False) -> list[str]:
    """With ``--encoder_from``: which weights came from there, and which are new."""
    if settings.encoder_from is None:
        return []
    return [said_of_transfer(model, settings.encoder_from, pooler=not probe_as_pooler)]
