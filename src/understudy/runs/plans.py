"""What a run is about to do, in words: steps, time, memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import torch
from rich.text import Text
from torch import nn

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.batches.contract import BatchSource
from understudy.data.splits import Splits
from understudy.data.tokens.encode import Encoded
from understudy.inference.logits import device_of
from understudy.runs.devices import processes
from understudy.runs.fitting.learning import learning_lines
from understudy.settings.training import TrainSettings
from understudy.terminal.lines import say
from understudy.terminal.screen import Screen
from understudy.training.unfreezing.plan import LearningPlan


def rows_plan(
    plan: LearningPlan, batches: BucketedBatches, splits: Splits, settings: TrainSettings, *, rows: int | None = None
) -> dict[str, str]:
    """What training will take: rows, tokens, steps, time, memory and disk; and what learns when.

    Args:
        rows: of an epoch, where there are more than in the batches.
    """
    shown = len(batches.encoded)
    rows = rows or shown
    steps = -(-rows // settings.batch_size) * plan.epochs
    tokens = int(batches.encoded.lengths.sum() * rows / shown)
    counts = {"validation": len(splits.validation), "test": len(splits.test) if splits.test is not None else 0}
    return {
        "rows": f"{rows:,} to train on, " + ", ".join(f"{n:,} {name}" for name, n in counts.items()),
        "tokens": f"{tokens:,} an epoch",
        "steps": f"{steps:,} of {settings.batch_size} rows, {plan.epochs} epochs at most",
        **learning_lines(plan, settings),
        **cost_lines(plan, batches, tokens=tokens),
    }


def texts_plan(
    plan: LearningPlan, batches: BatchSource, parts: Mapping[str, Encoded], settings: TrainSettings, *, rows: str
) -> dict[str, str]:
    """What training will take: texts, tokens, steps, time, memory and disk; and what learns when.

    Args:
        parts: the encoded texts of ``train``, ``validation`` and ``test``.
        rows: what ``batch_size`` counts: streams, blocks, lines.
    """
    steps = sum(batches.steps(epoch) for epoch in range(plan.epochs))
    others = [f"{len(part):,} {name}" for name, part in parts.items() if name != "train"]
    tokens = {name: int(part.offsets[-1]) for name, part in parts.items()}
    return {
        "texts": f"{len(parts['train']):,} to train on, {', '.join(others)}",
        "tokens": f"{tokens['train']:,} an epoch, {tokens['validation']:,} validation",
        "steps": f"{steps:,} of {settings.batch_size} {rows}, {plan.epochs} epochs at most",
        **learning_lines(plan, settings),
        **cost_lines(plan, batches, tokens=tokens["train"]),
    }


def cost_lines(plan: LearningPlan, batches: BatchSource, *, tokens: int, kept: int = 1) -> dict[str, str]:
    """Time, memory and disk of a training with so many tokens an epoch.

    Args:
        kept: copies of the best weights: more than one where other scores keep their own.
    """
    time_s = training_seconds(plan, batches, tokens=tokens)
    everything = list(plan.objective.parameters())
    with plan.at_its_widest() as learning:
        # what does not learn has no gradient, no moments and no copy among the best weights or in a checkpoint
        weights, moving = (sum(p.numel() * p.element_size() for p in some) for some in (everything, learning))
        learns, total = (sum(p.numel() for p in some) for some in (learning, everything))
    slower = " on the processor, less on the accelerator" * (processes().device.type != "cpu")
    return {
        "training": f"{'at most' if len(plan.parts) > 1 else 'about'} {duration(time_s)}{slower} for "
        + (f"{learns:,} parameters" if learns == total else f"{learns:,} of {total:,} parameters"),
        # the gradients are not written down, and the weights that learn are
        "memory": f"about {(weights + (3 + kept) * moving) / 1e6:,.0f} MB for weights, gradients, moments and the best weights; {(3 + kept) * moving / 1e6:,.0f} MB of disk for a checkpoint",
    }


def training_seconds(plan: LearningPlan, batches: BatchSource, *, tokens: int) -> float:
    """About how long a training with so many tokens an epoch takes, on the threads of this moment."""
    with plan.at_its_widest():
        return _seconds_per_token(plan.objective, batches) * tokens * plan.epochs


def _seconds_per_token(objective: nn.Module, batches: BatchSource) -> float:
    """Measured on one padded micro-batch of the plan; weights, buffers and generators are put back."""
    random_state = torch.get_rng_state()
    buffers = [buffer.clone() for buffer in objective.buffers()]  # running statistics move with every forward
    steps = next(iter(batches.windows(0)))
    times = []
    for _ in range(2):
        start = time.perf_counter()
        batch = steps[0].to(device_of(objective))  # a teacher that reads it counts
        sum((term.sum for term in objective(batch)), start=torch.zeros(())).backward()
        times.append(time.perf_counter() - start)
    objective.zero_grad(set_to_none=True)
    for buffer, before in zip(objective.buffers(), buffers):
        buffer.copy_(before)
    torch.set_rng_state(random_state)
    return min(times) / steps[0].inputs["input_ids"].numel()


def say_plan(lines: Mapping[str, str]) -> None:
    """Print what is about to be done, a line a fact, once however many processes there are."""
    if not processes().is_main_process:
        return
    console = Screen(stderr=True, highlight=False)
    width = max(map(len, lines))
    for name, value in lines.items():
        console.print(Text.assemble((f"  {name:<{width}}", "bold"), f"  {value}"), soft_wrap=True)


def say_notes(notes: Iterable[str]) -> None:
    """Print what was found in data and models, where no run is opened to put it on a record."""
    if processes().is_main_process:
        for note in notes:
            say(f"  {note}")


def duration(value: float) -> str:
    """A duration in words.

    Example:
        >>> duration(42.3), duration(190), duration(9000)
        ('42 s', '3 min', '2.5 h')
    """
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
