"""Of models that are equally good, how many pairs does a comparison call different, by each of its tests?

Each round draws models whose expected accuracy is the same: rows are differently hard, for all models alike, and each
seed of each model has a level of its own. Where a seed has rows of its own, as a validation split that it cut off, so has the round. The share of rounds with an alarm should be 5 % for each test of a single pair,
and at most 5 % for any alarm among the pairs of several models after Holm's correction. A second table says how often a
true difference of two points is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from evidence import Setting, begin, earlier, target, write

ROUNDS = 2_000
ROWS = 1_000
MODELS = 4
SPREAD = 0.01
"""Standard deviation of a seed's level."""
LEVEL, TRUE_GAIN = 0.86, 0.02
OWN_ROWS = (30, 1_000)
"""Rows of a scenario in which each seed has its own."""
CONFIG = {
    "rounds": ROUNDS,
    "rows": ROWS,
    "models": MODELS,
    "seed_sd": SPREAD,
    "accuracy": LEVEL,
    "true_gain": TRUE_GAIN,
    "resamples": 1_000,
    "alarm": "p < 0.05, or a 95 % interval without 0",
}


class Scenario(NamedTuple):
    """What one round simulates."""

    gain: float
    """By how much the first model is better."""
    seeds: int
    rows: int = ROWS
    own: bool = False
    """Whether each seed has its own rows."""


SCENARIOS = {
    f"{'one is better by 2 points' if gain else 'equal models'}, {seeds} seed{'s' * (seeds > 1)}": Scenario(gain, seeds)
    for gain in (0.0, TRUE_GAIN)
    for seeds in (1, 3, 5)
} | {
    f"equal models, {seeds} seeds with {rows:,} rows of their own": Scenario(0.0, seeds, rows, own=True)
    for seeds in (2, 3)
    for rows in OWN_ROWS
}


def answers(
    rng: np.random.Generator, levels: list[float], scenario: Scenario
) -> tuple[dict[str, dict[int, Any]], dict[int, Any]]:
    """The outputs of models with these levels for rows that are differently hard, and the labels by seed."""
    seeds, rows = scenario.seeds, scenario.rows
    drawn = [(rng.integers(0, 2, rows), rng.normal(0, 1.2, rows)) for _ in range(seeds if scenario.own else 1)]
    labels = {seed: drawn[seed % len(drawn)][0] for seed in range(seeds)}
    found: dict[str, dict[int, Any]] = {}
    for number, level in enumerate(levels):
        found[f"model {number}"] = {}
        for seed in range(seeds):
            # one seed is all that a user of one seed compares: its level is the model's
            shift = level + (SPREAD * rng.normal() if seeds > 1 else 0.0)
            right = rng.random(rows) < _chance(shift, drawn[seed % len(drawn)][1])
            outputs = np.where((labels[seed] == right)[:, None] == np.arange(2), 1.0, 0.0)
            found[f"model {number}"][seed] = outputs
    return found, labels


def _chance(level: float, hard: np.ndarray) -> np.ndarray:
    """Each row's probability of a right answer, whose mean is the level."""
    chance = 1 / (1 + np.exp(-(2.4 - hard)))
    return np.clip(chance + level - chance.mean(), 0, 1)


def rounds(setting: Setting, scenario: Scenario) -> Iterator[dict[str, bool]]:
    """What each test says in each round: of the first pair, and of any pair after Holm's correction."""
    from understudy.evaluation.paired import paired_differences
    from understudy.evaluation.seeded import seeded_differences
    from understudy.evaluation.significance import holm, mcnemar

    gain, seeds = scenario.gain, scenario.seeds
    rng = np.random.default_rng([seeds, round(1000 * gain)])
    for number in range(setting.pick(ROUNDS, 40)):
        outputs, labels = answers(rng, [LEVEL + gain, *[LEVEL] * (MODELS - 1)], scenario)
        differences = seeded_differences("accuracy", outputs, labels, resamples=1_000, seed=number)
        said = {"rows and seeds": differences["model 0", "model 1"].p < 0.05}
        adjusted = holm({pair: found.p for pair, found in differences.items()})
        pairs = [pair for pair in adjusted if not gain or "model 0" in pair]
        said["any pair, after Holm"] = any(adjusted[pair] < 0.05 for pair in pairs)
        said["any pair, uncorrected"] = any(differences[pair].p < 0.05 for pair in pairs)
        if seeds == 1:
            firsts = {name: outputs[name][0] for name in ("model 0", "model 1")}
            pair = paired_differences("accuracy", firsts, labels[0], level=0.95, resamples=1_000, seed=number)
            low, high = pair["model 0", "model 1"][1:3]
            said["bootstrap interval"] = low > 0 or high < 0
            exact = {
                names: mcnemar(outputs[names[0]][0], outputs[names[1]][0], labels[0])
                for names in combinations(outputs, 2)
            }
            tests = {names: found.p for names, found in exact.items() if found is not None}
            said["McNemar"] = tests["model 0", "model 1"] < 0.05
            said["any pair, McNemar after Holm"] = any(
                value < 0.05 for names, value in holm(tests).items() if names in pairs
            )
        yield said


def report(setting: Setting, summary: dict[str, Any]) -> None:
    """Write down what there is by now."""
    equal = {name: shares for name, shares in summary.items() if name.startswith("equal")}
    targets = [
        target(f"{name}: alarms of {test}", shares[test], **bounds)
        for name, shares in equal.items()
        for test, bounds in (
            ("rows and seeds", {"at_most": 0.065}),
            ("bootstrap interval", {"at_most": 0.065}),
            ("McNemar", {"at_most": 0.065}),
            ("any pair, after Holm", {"at_most": 0.05}),
            ("any pair, McNemar after Holm", {"at_most": 0.05}),
        )
        if test in shares
    ]
    targets += [
        target(f"{name}: alarms of rows and seeds, not too few", shares["rows and seeds"], at_least=0.035)
        for name, shares in equal.items()
        if not SCENARIOS[name].own
    ]
    write(
        setting,
        "false_alarms",
        question=__doc__ or "",
        config=CONFIG,
        raw={"share_of_rounds": summary},
        summary=summary,
        targets=targets,
        complete=len(summary) == len(SCENARIOS),
    )


def main() -> None:
    """Equal models with one, three and five seeds; then a model that is two points better. What is known stays."""
    setting = begin(__doc__)
    summary: dict[str, Any] = earlier(setting, "false_alarms", CONFIG).get("summary", {})
    for name, scenario in SCENARIOS.items():
        if name in summary:
            continue
        found = list(rounds(setting, scenario))
        summary[name] = {test: float(np.mean([said[test] for said in found])) for test in found[0]}
        report(setting, summary)


if __name__ == "__main__":
    main()
