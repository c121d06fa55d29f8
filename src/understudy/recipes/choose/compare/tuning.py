"""An equal tuned budget: for every model so many trials over the same ranges, chosen on the validation rows.

The settings of a trial are proposed by a sampler with a seed, which is told the scores of the earlier ones in their order. So a
comparison that was killed proposes the same settings again, and reads the scores of what is finished from its records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from understudy.errors import ModelError, require
from understudy.folders.run import Run
from understudy.functional.scoring import higher_is_better
from understudy.record import RunRecord
from understudy.runs.processes.children import run_apart
from understudy.runs.seeds import finished_record
from understudy.settings.choose.ranges import Range
from understudy.terminal.lines import show

TUNING = "tuning"
"""Where the findings of a comparison say what was tried for each model, and what was found."""
_RANDOM_SHARE, _RANDOM_MOST = 3, 10
"""The first third of the trials, but at most ten, are drawn at random: the sampler learns from them."""


class Tuner:
    """Proposes the settings of one model's trials, one after the other.

    Args:
        ranges: what is tuned.
        trials: how many there will be.
        seed: of the sampler.

    Example:
        >>> tuner = Tuner([Range("epochs", 1, 5)], trials=2, seed=0)
        >>> 1 <= tuner.propose()["epochs"] <= 5
        True
    """

    def __init__(self, ranges: list[Range], *, trials: int, seed: int) -> None:
        self._optuna: Any = require("optuna", extra="search")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        random = min(_RANDOM_MOST, max(1, trials // _RANDOM_SHARE))
        sampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=random)
        self._study = self._optuna.create_study(direction="maximize", sampler=sampler)
        self._ranges = {one.name: self._distribution(one) for one in ranges}
        self._open: Any = None

    def propose(self) -> dict[str, Any]:
        """The settings of the next trial."""
        self._open = self._study.ask(self._ranges)
        return dict(self._open.params)

    def tell(self, score: float | None) -> None:
        """How good the proposed settings were: more is better; None for a trial that failed."""
        if score is None:
            self._study.tell(self._open, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._open, score)

    def _distribution(self, one: Range) -> Any:
        kinds = self._optuna.distributions
        if one.choices:
            return kinds.CategoricalDistribution(list(one.choices))
        if one.whole:
            return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
        return kinds.FloatDistribution(one.low, one.high, log=one.log)


def tune(
    run: Run, settings: Any, recipes: Mapping[str, Any], *, budget_s: float | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, Exception]]:
    """Find the settings of several models: in each round, one trial of every model.

    What was tried and what was found is put on the record. A trial that failed counts as failed, also when the comparison
    goes on later: what is proposed after it would be something else.

    Args:
        recipes: of each model's trials, by the name of its folder, with the settings that are not tuned.
        budget_s: seconds for all of them.

    Returns:
        The best settings of each model, and the faults of models none of whose trials succeeded.

    Raises:
        Interrupted: on SIGTERM or Ctrl-C.
    """
    tuners = {name: Tuner(settings.tuned(), trials=settings.search, seed=settings.seed) for name in recipes}
    found = run.record.findings.setdefault(TUNING, {})
    tried: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    faults: dict[str, Exception] = {}
    for number in range(1, settings.search + 1):
        proposed = {name: tuner.propose() for name, tuner in tuners.items()}
        show(f"\ntrial {number} of {settings.search} of each model")
        before = found.setdefault("failed", [])
        members = {
            folder: dataclasses.replace(recipes[name], trial=True, **proposed[name])
            for name in recipes
            if (folder := trial_folder(name, number)) not in before
        }
        share = None if budget_s is None else budget_s / settings.search
        _, failed = run_apart(run, settings, members, parallel=settings.parallel, budget_s=share)
        before += list(failed)
        run.save()
        for name, tuner in tuners.items():
            folder = trial_folder(name, number)
            score = trial_score(finished_record(run.folder / folder))
            tuner.tell(score)
            tried[name].append({"settings": proposed[name], "score": score})
            faults |= {name: failed[folder]} if folder in failed else {}
    best = {name: settings for name, trials in tried.items() if (settings := best_settings(trials)) is not None}
    found.setdefault("trials", {}).update(tried)
    found.setdefault("best", {}).update(best)
    run.save()
    before_this = ModelError(
        "they failed before this comparison went on. Begin it anew (--overwrite) to try them again."
    )
    return best, {name: faults.get(name, before_this) for name in recipes if name not in best}


def trial_folder(name: str, number: int) -> str:
    """The folder of a model's trial.

    Example:
        >>> trial_folder("layers-3", 2)
        'trial-2-layers-3'
    """
    return f"trial-{number}-{name}"


def trial_score(record: RunRecord | None) -> float | None:
    """The validation score of a trial; more is better, so a loss has the other sign. None if it is not finished."""
    if record is None:
        return None
    metric = record.task["metrics"][0]
    sign = 1 if higher_is_better(metric) else -1
    return sign * float(record.models[0]["metrics"]["validation"][metric])


def best_settings(trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The settings of the best trial, of equally good ones the first; None if none succeeded.

    Example:
        >>> best_settings([{"settings": {"epochs": 1}, "score": 0.5}, {"settings": {"epochs": 2}, "score": None}])
        {'epochs': 1}
    """
    known = [trial for trial in trials if trial["score"] is not None]
    best: dict[str, Any] | None = max(known, key=lambda trial: trial["score"], default=None)
    return None if best is None else best["settings"]
