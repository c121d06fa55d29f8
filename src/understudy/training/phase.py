"""A phase of training: its reports, evaluations and checkpoints, from the first step to the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from understudy.errors import ConfigError
from understudy.functional.scoring import NotFinite
from understudy.training.best_weights import BestWeights
from understudy.training.checkpoint import set_random_state
from understudy.training.checkpoint_files import PhaseFiles
from understudy.training.optimizers.nt_asgd import Averaging
from understudy.training.progress.log import ProgressLog
from understudy.training.progress.reporter import Reporter
from understudy.training.stages import FitResult, Stage
from understudy.training.stop import OUT_OF_TIME
from understudy.training.trainer import Trainer
from understudy.training.weights import Weights

_SAVE_COST = 0.03
"""The share of the time that checkpoints may take, if ``save_steps`` does not say when to write them."""


class Phase:
    """What :func:`understudy.training.loop.fit` does beside the steps of the :class:`Trainer`.

    Args:
        objective: called with a :class:`Batch`, returns terms.
        stages: what learns, how long, and by which optimizer.
        accelerator: devices, precision and processes.
        folder: where the files of the phase are kept.
        log: the run's ``progress.csv``.
        name: the first cell of its rows, and the name of the files.
        keepers: scores beside the one that decides, and whether more of each is better; each keeps its best weights.
    """

    def __init__(
        self,
        objective: nn.Module,
        stages: Sequence[Stage],
        accelerator: Accelerator,
        folder: Path,
        log: ProgressLog,
        name: str,
        keepers: Mapping[str, bool] | None = None,
    ) -> None:
        self.name = name
        self.objective = objective
        self.model: nn.Module = objective.model  # type: ignore[assignment]
        self.accelerator = accelerator
        self.reporter = Reporter(log, accelerator, name)
        self.trainer = Trainer(objective, stages, accelerator, self.reporter)
        self.state = self.trainer.state
        self.weights = Weights(objective, self.trainer.learns)
        self.best = BestWeights(self.weights)
        self.keepers = {score: (BestWeights(self.weights), higher) for score, higher in (keepers or {}).items()}
        own = {f"own{i}": keeper for i, (keeper, _) in enumerate(self.keepers.values())}
        self.files = PhaseFiles(folder / name, self.weights, {"best": self.best}, accelerator, own)
        self.save_seconds = 0.0
        self.said = ""

    def next_stage(self) -> None:
        """Enter the next stage, with the best weights if it begins with them."""
        number = self.state.stage + 1
        if self.trainer.stages[number].from_best:
            self.best.put_back()
        self.trainer.enter(number)

    def start_clock(self) -> None:
        """Count the time from now on as training."""
        self.resumed_at = self.saved_at = time.monotonic()
        self.seconds_before = self.state.seconds

    def _tick(self) -> float:
        now = time.monotonic()
        self.state.seconds = self.seconds_before + now - self.resumed_at
        return now

    def _where(self) -> dict[str, Any]:
        self._tick()
        return {"epoch": self.state.epoch + 1, "step": self.state.step, "seconds": round(self.state.seconds, 3)}

    def report(self) -> None:
        """Write a row of ``progress.csv``."""
        self.said = self.reporter.report(self._where(), self.trainer.optimizer.param_groups)

    def progress(self) -> str:
        """Loss and speed of the last report, with the best score so far by the name of its metric, for the progress bar."""
        if not self.best.found:
            return self.said
        metric, score = next(iter(self.best.metrics.items()))  # the first is the one that decides
        return f"{self.said}  best {metric} {score:.4f}".lstrip()

    def assess(
        self,
        evaluate: Callable[[nn.Module], Mapping[str, float]],
        metric: str,
        higher_is_better: bool,
        keep: Literal["best", "last"] = "best",
        min_delta: float = 0.0,
    ) -> None:
        """Score the bare model in the main process, and keep its weights if they are the best so far.

        Args:
            evaluate: the scores of a model.
            metric: the score that decides.
            higher_is_better: whether a higher score is better.
            keep: ``last`` keeps the weights in any case.
            min_delta: patience is only renewed by a score that is more than this above the last one that renewed it.
        """
        state = self.state
        started = time.monotonic()
        training = self.model.training
        averaging = (
            self.trainer.optimizer.optimizer if isinstance(self.trainer.optimizer.optimizer, Averaging) else None
        )
        with averaging.averaged() if averaging else nullcontext():
            scores = [self._scored(evaluate, metric)] if self.accelerator.is_main_process else [{}]
            self.model.train(training)
            if self.accelerator.num_processes > 1:
                broadcast_object_list(scores)
            metrics = scores[0]
            score = metrics[metric] if higher_is_better else -metrics[metric]
            # equal scores keep the later weights
            offered = score if keep == "best" else 0.0
            better = self.best.offer(offered, state.step, {metric: metrics[metric], **metrics})
            if better and offered - state.score_to_beat > min_delta:
                state.evaluations_since_best, state.score_to_beat = 0, offered
            else:
                state.evaluations_since_best += 1
            for name, (keeper, higher) in self.keepers.items():
                keeper.offer(metrics[name] if higher else -metrics[name], state.step, metrics)
        if averaging:
            averaging.evaluated(score)
        self.reporter.write(self._where() | {f"validation_{name}": value for name, value in metrics.items()})
        self.reporter.pause(time.monotonic() - started)

    def _scored(self, evaluate: Callable[[nn.Module], Mapping[str, float]], metric: str) -> dict[str, float]:
        """The scores of the bare model.

        Raises:
            ConfigError: if its answers, or the score that decides, are not finite: training has diverged.
        """
        try:
            scores = dict(evaluate(self.model))
        except NotFinite:
            scores = {metric: math.nan}
        if not math.isfinite(scores[metric]):
            raise ConfigError(
                f"the model's answers are not finite numbers at step {self.state.step}. Give a lower --learning_rate, or train in full precision (--precision fp32)."
            )
        return scores

    def save_due(self, save_steps: int | None) -> bool:
        """Whether to write a checkpoint: every `save_steps`, or as often as it costs 3 % of the time."""
        if save_steps:
            return self.state.step % save_steps == 0
        wait = max(10.0, self.save_seconds / _SAVE_COST)
        return self.trainer.agree(time.monotonic() - self.saved_at > wait)

    def save(self) -> None:
        """Write a checkpoint."""
        start = self._tick()
        scaler = self.accelerator.scaler
        self.files.save(
            self.state.step,
            {
                "state": asdict(self.state),
                "optimizer": self.trainer.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                "reporter": self.reporter.state_dict(),
            },
        )
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - start

    def resume(self) -> bool:
        """Go back to the checkpoint, in the middle of its stage; False if there is none.

        Raises:
            ConfigError: if the checkpoint does not fit this run.
        """
        content = self.files.load()
        if content is None:
            self.reporter.log.forget(self.reporter.phase)
            return False
        self.state.__dict__.update(content["state"])
        self.trainer.enter(self.state.stage)  # first, because the optimizer's state belongs to the stage's optimizer
        self.weights.put_back(content["model"])
        self.weights.set_extra(content["extra"])
        self.trainer.optimizer.load_state_dict(content["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(content["scaler"])
        self.reporter.load_state_dict(content["reporter"])
        set_random_state(content["random"])
        return True

    def finished_result(self) -> FitResult | None:
        """The result of a phase that is finished already, with its final weights in place; None if it is not.

        Raises:
            ConfigError: if its file does not fit this run.
        """
        result = self.files.finished()
        if result is None:
            return None
        self.objective.to(self.accelerator.device)
        return FitResult(**result)

    def visit(self, each: Callable[[str], None]) -> None:
        """Give the model the weights that are best by each of the further scores in turn, and then its own again.

        Args:
            each: called with the name of the score.
        """
        if not self.keepers:
            return
        own = self.weights.copy()
        for name, (keeper, _) in self.keepers.items():
            keeper.put_back()
            each(name)
        self.weights.put_back(own)

    def finish(self) -> FitResult:
        """Put the best weights back, and write down the result of the phase."""
        self._tick()
        self.trainer.leave()
        self.best.put_back()
        state = self.state
        ends = [stage["stopped_by"] for stage in state.stages]
        result = FitResult(
            steps=state.step,
            epochs=state.epoch,
            seconds=state.seconds,
            rows=state.rows,
            best_step=self.best.step,
            metrics=self.best.metrics,
            stopped_by=OUT_OF_TIME if OUT_OF_TIME in ends else ends[-1],
            stages=state.stages,
        )
        self.files.finish(asdict(result))
        return result
