"""What training says of itself as it goes: rows of ``progress.csv``, trackers, a line for the bar."""

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
from understudy.training.checkpoint import ProgressLog

_EVERY_S = 1.0


def progress_columns(
    terms: Iterable[str], metrics: Iterable[str] = (), *, groups: Iterable[str] = (), momentum: bool = False
) -> list[str]:
    """The columns of ``progress.csv`` for a run whose objectives have these terms and whose evaluations these metrics.

    Args:
        terms: of the objectives.
        metrics: of the evaluations.
        groups: of parameters, where they have rates of their own; ``learning_rate`` is the highest of them.
        momentum: whether it changes.

    Example:
        >>> progress_columns(["label_loss"], ["accuracy"])[4:]
        ['loss', 'label_loss', 'learning_rate', 'rows_per_second', 'validation_accuracy']
    """
    validation = [f"validation_{name}" for name in metrics]
    rates = ["learning_rate", *map(rate_column, groups), *(["momentum"] if momentum else [])]
    return ["phase", "epoch", "step", "seconds", "loss", *terms, *rates, "rows_per_second", *validation]


def rate_column(group: str) -> str:
    """The column that holds the learning rate of a group of parameters.

    Example:
        >>> rate_column("layer 0")
        'learning_rate_layer_0'
    """
    return f"learning_rate_{group.replace(' ', '_')}"


class Reporter:
    """Sums up losses between reports and writes them, on the main process only."""

    def __init__(self, log: ProgressLog, accelerator: Accelerator, phase: str) -> None:
        self.log, self.phase = log, phase
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=accelerator.device))
        self._steps = self._rows = 0
        self._since = time.monotonic()

    def add(self, losses: Iterable[tuple[str, Tensor]]) -> None:
        """Count the detached losses of a micro-batch, each already divided by the count of its whole step."""
        for name, value in losses:
            self._sums[name] += value

    def step_done(self, rows: int) -> None:
        """Count an optimizer step."""
        self._steps += 1
        self._rows += rows

    def due(self) -> bool:
        """Whether it is time to say something."""
        return time.monotonic() - self._since >= _EVERY_S

    def pause(self, seconds: float) -> None:
        """Leave this much time, which was not training's, out of the rate."""
        self._since += seconds

    def report(self, where: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
        """Write the means since the last report; the same in short for the bar.

        Args:
            where: epoch, step, seconds.
            groups: the optimizer's, as they are now.

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
        """The highest rate, and those of the groups and the momentum where the file has columns for them."""
        of_groups = {rate_column(group.get("name", "")): group["lr"] for group in groups}
        momentum = groups[0]["betas"][0] if "betas" in groups[0] else groups[0].get("momentum")
        more = of_groups | {"momentum": momentum}
        kept = {name: value for name, value in more.items() if name in self.log.columns}
        return {"learning_rate": max(group["lr"] for group in groups), **kept}

    def write(self, row: Mapping[str, Any]) -> None:
        """A row of ``progress.csv``, and the same for the trackers."""
        if self._accelerator.is_main_process:
            self.log.write({"phase": self.phase, **row})
            numbers = {f"{self.phase}/{key}": value for key, value in row.items() if isinstance(value, int | float)}
            self._accelerator.log(numbers, step=row["step"])

    def state_dict(self) -> dict[str, Any]:
        """What has been counted since the last report, and how far the file had got."""
        return {"sums": dict(self._sums), "steps": self._steps, "rows": self._rows, "position": self.log.position()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a checkpoint's counts and cut the file back to it."""
        self._sums.update({name: value.to(self._accelerator.device) for name, value in state["sums"].items()})
        self._steps, self._rows = state["steps"], state["rows"]
        self.log.cut(state["position"])
