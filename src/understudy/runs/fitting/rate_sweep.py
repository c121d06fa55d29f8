"""A learning rate found by a sweep: for ``--learning_rate auto`` and ``understudy lr-find``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from understudy.data.batches.contract import BatchSource
from understudy.errors import ConfigError
from understudy.report.figures.sweep import sweep_csv, sweep_plot
from understudy.runs.fitting.learning import compiled, stages
from understudy.runs.session import Session
from understudy.settings.training import TrainSettings
from understudy.training.lr_finder.curve import Curve
from understudy.training.lr_finder.suggestion import Suggestion, rate_cap, suggest
from understudy.training.lr_finder.sweep import HIGHEST, LOWEST, STEPS, OutOfTime, sweep
from understudy.training.optimizers.groups import Rate
from understudy.training.unfreezing.plan import LearningPlan


def find_rate(
    session: Session,
    plan: LearningPlan,
    batches: BatchSource,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    usual: float = 0.0,
    fresh: bool = False,
    budget_s: float | None,
    table: Path,
    picture: Path,
) -> tuple[Curve, Suggestion]:
    """Sweep with what the first stage trains, as it would train it. Everything is put back; the curve is kept.

    Args:
        usual: the command's default rate; the cap is never lower.
        fresh: whether the weights are random, so that there is nothing to forget.
        budget_s: seconds that the sweep may take; None for no limit.
        table, picture: where the curve goes, even if it suggests nothing.

    Returns:
        The curve, and what it suggests; there is a cap if pretrained layers of a transformer learn in any stage.

    Raises:
        ConfigError: if it suggests nothing, or the time ends before the sweep does.
    """
    settings: TrainSettings = session.settings
    optimizer = stages(plan, settings)[0].optimizer()
    model: nn.Module = plan.objective.model  # type: ignore[assignment]
    with compiled(model, settings):
        curve = sweep(
            plan.objective,
            batches,
            optimizer,
            accelerator=session.accelerator,
            lowest=lowest,
            highest=highest,
            steps=steps,
            clip=settings.clip,
            stop=session.stop,
            budget_s=budget_s,
            display=session.display,
        )
    learning = [p for group in plan.groups() if group.name in plan.names for p in group.parameters]
    cap = None if fresh else rate_cap(model, learning, optimizer)
    suggestion = None
    try:
        suggestion = suggest(curve, cap=cap and max(cap, usual))
        return curve, suggestion
    except ConfigError as error:
        raise ConfigError(*(f"{fault} The curve is in {picture}." for fault in error.faults)) from None
    finally:
        if session.run.writes:
            _draw(curve, suggestion, table, picture)


def rate_for(
    session: Session,
    plan: LearningPlan,
    batches: BatchSource,
    *,
    phase: str,
    usual: float,
    fresh: bool,
    budget_s: float | None = None,
) -> Rate | None:
    """The rate of a phase under ``--learning_rate auto``: found once, put on the record, and read from there later.

    Args:
        usual, fresh, budget_s: see :func:`find_rate`.

    Returns:
        What the plan takes so that its highest group that learns has the rate that was found; None for the usual rate,
        where the time ended within the sweep, but an earlier phase has learnt something that is not to be lost.

    Raises:
        ConfigError: if the sweep suggests nothing, or the time ends within that of the first phase.
    """
    known = session.run.record.training.setdefault(phase, {}).get("sweep")
    if known is None:
        with session.run.timed("lr_find_s"):
            name = "lr_find" if phase == "train" else f"lr_find-{phase.replace(' ', '-')}"
            folder = session.run.folder
            try:
                curve, suggestion = find_rate(
                    session,
                    plan,
                    batches,
                    usual=usual,
                    fresh=fresh,
                    budget_s=budget_s,
                    table=folder / f"{name}.csv",
                    picture=folder / "plots" / f"{name}.png",
                )
            except OutOfTime as error:
                if not any("steps" in told for told in session.run.record.training.values()):
                    raise
                said = error.faults[0].partition(". ")[0]
                session.run.say(f"{phase}: {said}, so the rate is the usual one, {usual:.1e}.")
                return None
        known = on_record(curve, suggestion)
        session.run.record.training[phase]["sweep"] = known
        session.run.save()
        for warning in sweep_warnings(curve, suggestion):
            session.run.say(f"{phase}: {warning}")
    session.run.say(f"{phase}: a sweep suggests the learning rate {known['rate']:.1e}.")
    return plan.with_highest(float(known["rate"]))


def on_record(curve: Curve, suggestion: Suggestion) -> dict[str, Any]:
    """A sweep as it stands in ``record.json``."""
    readings = {"steepest": suggestion.steepest, "tenth_of_minimum": suggestion.tenth, "cap": suggestion.cap}
    return {"rate": suggestion.rate, **readings, "steps": len(curve.rates), "diverged": curve.diverged}


def sweep_warnings(curve: Curve, suggestion: Suggestion) -> list[str]:
    """What a person should know of a sweep beside the rate that it suggests."""
    found = [suggestion.warning()]
    if not curve.diverged and curve.smoothed.argmin() == len(curve.smoothed) - 1:
        found.append(
            f"the loss still fell at the highest learning rate, {curve.rates[-1]:.0e}: the best one may be higher. "
            "To check, run understudy lr-find with a higher --highest."
        )
    return [warning for warning in found if warning]


def _draw(curve: Curve, suggestion: Suggestion | None, table: Path, picture: Path) -> None:
    sweep_csv(curve, table)
    sweep_plot(curve, suggestion, picture)
