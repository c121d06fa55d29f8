"""Reports of a training: rows of ``progress.csv``, values for trackers, a line for the progress bar."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from understudy.errors import ConfigError
from understudy.training.progress.log import ProgressLog, rate_column
from understudy.training.progress.trackers import WANDB

_EVERY_S = 1.0
"""Seconds between two reports, unless the loop asks for more of them."""


class Reporter:
    """Sums up losses between reports, and writes their means in the main process.

    Args:
        log: the run's ``progress.csv``.
        accelerator: the processes, and the trackers.
        phase: the first cell of every row.
    """

    def __init__(self, log: ProgressLog, accelerator: Accelerator, phase: str) -> None:
        self.log, self.phase = log, phase
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=accelerator.device))
        self._steps = self._rows = 0
        self._since = time.monotonic()
        for tracker in accelerator.trackers:
            if tracker.name == WANDB and accelerator.is_main_process:
                tracker.tracker.define_metric(f"{phase}/*", step_metric=f"{phase}/step")

    def add(self, losses: Iterable[tuple[str, Tensor]]) -> None:
        """Add the losses of a micro-batch: names and scalars, detached, already divided by the count of the step."""
        for name, value in losses:
            self._sums[name] += value

    def step_done(self, rows: int) -> None:
        """Count an optimizer step over so many rows."""
        self._steps += 1
        self._rows += rows

    def due(self) -> bool:
        """Whether a second has passed since the last report."""
        return time.monotonic() - self._since >= _EVERY_S

    def pause(self, seconds: float) -> None:
        """Leave out of ``rows_per_second`` these seconds, in which nothing was trained."""
        self._since += seconds

    def report(self, where: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
        """Write the means since the last report.

        Args:
            where: epoch, step, seconds.
            groups: the optimizer's parameter groups, with their present rates.

        Returns:
            The loss and the speed, for the progress bar.

        Raises:
            ConfigError: if the loss is not finite.
        """
        now = time.monotonic()
        rate = self._rows / max(now - self._since, 1e-9)
        means = {name: value.item() / self._steps for name, value in self._sums.items()}
        if not math.isfinite(means["loss"]):
            raise ConfigError(
                f"the loss is {means['loss']} at step {where['step']}. Give a lower --learning_rate, "
                "or train in full precision (--precision fp32)."
            )
        self.write({**where, **means, **self._rates(groups), "rows_per_second": rate})
        self._sums.clear()
        self._steps = self._rows = 0
        self._since = now
        return f"loss {means['loss']:.4f}  {rate:,.0f} rows/s"

    def _rates(self, groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The highest learning rate; those of the groups and the momentum, if the file has columns for them."""
        of_groups = {rate_column(group.get("name", "")): group["lr"] for group in groups}
        momentum = groups[0]["betas"][0] if "betas" in groups[0] else groups[0].get("momentum")
        more = of_groups | {"momentum": momentum}
        kept = {name: value for name, value in more.items() if name in self.log.columns}
        return {"learning_rate": max(group["lr"] for group in groups), **kept}

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row of ``progress.csv``, and send its numbers to the trackers."""
        if self._accelerator.is_main_process:
            self.log.write({"phase": self.phase, **row})
            numbers = {f"{self.phase}/{key}": value for key, value in row.items() if isinstance(value, int | float)}
            for tracker in self._accelerator.trackers:
                # wandb drops what has a lower step than it has seen, and every phase counts from 1
                tracker.log(numbers, step=None if tracker.name == WANDB else row["step"])

    def state_dict(self) -> dict[str, Any]:
        """What was counted since the last report, and the size of the file."""
        return {"sums": dict(self._sums), "steps": self._steps, "rows": self._rows, "position": self.log.position()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts of a checkpoint, and cut the file back to it."""
        self._sums.update({name: value.to(self._accelerator.device) for name, value in state["sums"].items()})
        self._steps, self._rows = state["steps"], state["rows"]
        self.log.cut(state["position"])
