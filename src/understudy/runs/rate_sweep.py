"""The work behind ``understudy lr-find`` and ``--learning_rate auto``."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from torch import nn

from understudy.data.batches.bucketed import BatchSource
from understudy.errors import ConfigError
from understudy.runs.learning import compiled, stages
from understudy.settings.training import TrainSettings
from understudy.training.lr_finder.curve import Curve
from understudy.training.lr_finder.suggestion import Suggestion, rate_cap, suggest
from understudy.training.lr_finder.sweep import HIGHEST, LOWEST, STEPS, sweep

if TYPE_CHECKING:
    from understudy.record import RunRecord
    from understudy.runs.session import Session
    from understudy.settings.choose.lr_find import FindForFinetune, FindForPretrain
    from understudy.training.unfreeze import LearningPlan


class Trainable(Protocol):
    """The work of a command that trains by the loop."""

    objective: nn.Module
    batches: BatchSource


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
    table: Path,
    picture: Path,
) -> tuple[Curve, Suggestion]:
    """Sweep with what the first stage trains, as it would train it; everything is put back. The curve is written down.

    Args:
        usual: what the work takes where no rate is named: no cap is below it.
        fresh: the weights start at random, so there is nothing to forget.
        table, picture: where the curve goes, also if it suggests nothing.

    Returns:
        The curve, and what it suggests; there is a cap if pretrained layers of a transformer learn in any stage.

    Raises:
        ConfigError: if it suggests nothing.
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
    session: Session, plan: LearningPlan, batches: BatchSource, *, phase: str, usual: float, fresh: bool
) -> float:
    """The rate of a phase under ``--learning_rate auto``: found once, put on the record, and taken from there later.

    Args:
        usual, fresh: see :func:`find_rate`.
    """
    known = session.run.record.training.setdefault(phase, {}).get("sweep")
    if known is None:
        with session.run.timed("lr_find_s"):
            name = "lr_find" if phase == "train" else f"lr_find-{phase.replace(' ', '-')}"
            folder = session.run.folder
            curve, suggestion = find_rate(
                session,
                plan,
                batches,
                usual=usual,
                fresh=fresh,
                table=folder / f"{name}.csv",
                picture=folder / "plots" / f"{name}.png",
            )
        known = on_record(curve, suggestion)
        session.run.record.training[phase]["sweep"] = known
        session.run.save()
        for warning in _warnings(curve, suggestion):
            session.run.say(f"{phase}: {warning}")
    session.run.say(f"{phase}: a sweep suggests the learning rate {known['rate']:.1e}.")
    return float(known["rate"])


def on_record(curve: Curve, suggestion: Suggestion) -> dict[str, Any]:
    """A sweep as ``record.json`` has it."""
    readings = {"steepest": suggestion.steepest, "tenth_of_minimum": suggestion.tenth, "cap": suggestion.cap}
    return {"rate": suggestion.rate, **readings, "steps": len(curve.rates), "diverged": curve.diverged}


def conclude(session: Session, work: Trainable, recipe: FindForFinetune | FindForPretrain) -> RunRecord:
    """Sweep; write the curve, its picture and the record; say what it suggests and how to use it."""
    plan = session.begin(work.objective, learning_rate=1.0)
    folder = session.run.folder
    with session.run.timed("lr_find_s"):
        curve, suggestion = find_rate(
            session,
            plan,
            work.batches,
            lowest=recipe.lowest,
            highest=recipe.highest,
            steps=recipe.steps,
            table=folder / "lr_find.csv",
            picture=folder / "lr_find.png",
        )
    session.run.record.training["sweep"] = on_record(curve, suggestion)
    if not session.run.writes:
        return session.run.record
    session.log.path.unlink(missing_ok=True)  # nothing stays of this training, its progress neither
    for warning in _warnings(curve, suggestion):
        session.run.say(warning)
    session.run.finish()
    console = Console(highlight=False)
    lines = {
        "steepest descent": f"{suggestion.steepest:.1e}",
        "a tenth of the minimum's": f"{suggestion.tenth:.1e}",
        "suggested": f"[bold]{suggestion.rate:.1e}[/bold]" + (" (capped)" if suggestion.warning() else ""),
    }
    for name, value in lines.items():
        console.print(f"  {name:<26}{value}")
    print(f"The curve is in {folder / 'lr_find.png'} and {folder / 'lr_find.csv'}. To use it:")
    print(f"  {usage(recipe, plan, suggestion.rate)}")
    return session.run.record


def usage(recipe: FindForFinetune | FindForPretrain, plan: LearningPlan, rate: float) -> str:
    """The command that trains with a rate: the recipe's own flags, without those of the sweep."""
    trains = type(recipe).trains
    plain = trains()
    flags = {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(trains)
        if field.name not in ("output", "overwrite", "resume", "dry_run", "time_budget", "learning_rate")
        and getattr(recipe, field.name) != getattr(plain, field.name)
    }
    first, last = plan.learning_rate if isinstance(plan.learning_rate, tuple) else (1.0, 1.0)
    given = f"{rate * first / last:.1e}:{rate:.1e}" if first != last else f"{rate:.1e}"
    return shlex.join(["understudy", trains.command, *_as_flags(flags, plain), "--learning_rate", given])


def _as_flags(values: Mapping[str, Any], plain: Any, prefix: str = "") -> list[str]:
    words: list[str] = []
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            default = getattr(plain, name)
            changed = {
                f.name: v
                for f in dataclasses.fields(value)
                if (v := getattr(value, f.name)) != getattr(default, f.name)
            }
            words += _as_flags(changed, default, f"{name}.")
        elif isinstance(value, bool):
            words.append(f"--{prefix}{'' if value else 'no_'}{name}")
        else:
            words += [f"--{prefix}{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


def _warnings(curve: Curve, suggestion: Suggestion) -> list[str]:
    found = [suggestion.warning()]
    if not curve.diverged and curve.smoothed.argmin() == len(curve.smoothed) - 1:
        found.append(
            f"the loss still fell at the highest learning rate, {curve.rates[-1]:.0e}: the best one may be higher. "
            "See with understudy lr-find and a higher --highest."
        )
    return [warning for warning in found if warning]


def _draw(curve: Curve, suggestion: Suggestion | None, table: Path, picture: Path) -> None:
    from understudy.report.sweep import sweep_csv, sweep_plot

    sweep_csv(curve, table)
    sweep_plot(curve, suggestion, picture)
