"""The best weights of a training, by the score of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from understudy.training.weights import Weights


class BestWeights:
    """Keeps a copy of the weights with the highest score so far, in main memory.

    A copy has what training may change in any stage: parameters that learn, and buffers, each tied tensor once. Frozen
    parameters are not copied. Keepers know nothing of each other, so a training can have several, each with a score of
    its own.

    Args:
        weights: what is copied, and where it is put back.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._kept: dict[str, Tensor] | None = None
        self.score = -math.inf
        """Higher is better."""
        self.step = 0
        """The optimizer step of the evaluation."""
        self.metrics: dict[str, float] = {}
        """All scores of the evaluation."""

    @property
    def found(self) -> bool:
        """Whether there has been an evaluation."""
        return self._kept is not None

    def offer(self, score: float, step: int, metrics: Mapping[str, float]) -> bool:
        """Copy the present weights if their score is at least the best one.

        Args:
            score: higher is better.
            step: the optimizer step.
            metrics: all scores of the evaluation.

        Returns:
            Whether the score is a new best. An equal score is not, but its weights are kept: few rows often give equal
            scores, and later weights have settled more.
        """
        better = score > self.score or not self.found
        if better or score == self.score:
            self.score, self.step, self.metrics = score, step, dict(metrics)
            self._kept = self._weights.copy()
        return better

    def put_back(self) -> None:
        """Give the objective the best weights, if there has been an evaluation."""
        if self._kept is not None:
            self._weights.put_back(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """The copy with its score, step and metrics."""
        return {"score": self.score, "step": self.step, "metrics": self.metrics, "weights": self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.score, self.step, self.metrics = state["score"], state["step"], dict(state["metrics"])
        self._kept = state["weights"]
