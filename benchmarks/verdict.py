"""Simulated runs whose truth is known: how often does the last line of a run say the right thing?

Models answer rows right or wrong with a known probability. What makes a row hard is shared: each model has a number a row,
correlated with the others' by 0.7, and is right where it is below a threshold. Two models of one accuracy then disagree on
about one row in seven. A run's answers go through the comparison and the rule of `understudy` as those of a real run do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from evidence import begin, target, write

ROWS = (1000, 4000, 7600)
"""Rows that report. A lead of two points of models that disagree on one row in seven is decided from 7,600 on (AG News's
test split); of equal models the verdict is right at every size."""
DECIDED = 7600
RUNS, QUICK_RUNS = 100, 5
CORRELATION, BASE = 0.7, 0.86
TEACHER, STUDENT, ALONE = "teacher", "student", "student without teacher"

CASES: dict[str, tuple[dict[str, float], str]] = {
    "finetune, all equal": ({"model": 0, "probe": 0, "tfidf": 0}, "tfidf"),
    "finetune, probe and model 2 points better": ({"model": 2, "probe": 2, "tfidf": 0}, "probe"),
    "finetune, probe 2 points better than both": ({"model": 0, "probe": 2, "tfidf": 0}, "probe is better"),
    "finetune, model 2 points better than both": ({"model": 2, "probe": 0, "tfidf": 0}, "model"),
    "distill, all equal": ({TEACHER: 0, STUDENT: 0, ALONE: 0, "probe": 0, "tfidf": 0}, "tfidf"),
    "distill, teacher 2 points below": (
        {TEACHER: -2, STUDENT: -2, ALONE: -2, "probe": -2, "tfidf": 0},
        "teacher below tfidf",
    ),
    "distill, both students 2 points better": ({TEACHER: 3, STUDENT: 2, ALONE: 2, "probe": 2, "tfidf": 0}, "alone"),
    "distill, student 2 points better": ({TEACHER: 3, STUDENT: 2, ALONE: 0, "probe": 2, "tfidf": 0}, "student"),
}
"""What each model is ahead of TF-IDF, in points, and the verdict that is right."""


def simulated(
    points: dict[str, float], rows: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logits of each model for two classes, and the labels."""
    labels = rng.integers(0, 2, rows)
    hard = rng.normal(size=rows)
    answers = {}
    for name, ahead in points.items():
        own = np.sqrt(CORRELATION) * hard + np.sqrt(1 - CORRELATION) * rng.normal(size=rows)
        right = own < norm.ppf(BASE + ahead / 100)
        answers[name] = np.eye(2)[np.where(right, labels, 1 - labels)]
    return answers, labels


def judged(answers: dict[str, np.ndarray], labels: np.ndarray, seed: int) -> str:
    """The kind of verdict that a run with these answers ends with."""
    from understudy.evaluation.paired import LEVEL, paired_differences
    from understudy.report.verdict import verdict

    record: dict[str, Any] = {
        "task": {"metrics": ["accuracy"]},
        "models": [{"name": name, "metrics": {"test": {"accuracy": 0.5}}} for name in answers],
        "comparisons": [
            {
                "model": one,
                "other": other,
                "difference": pair.difference,
                "interval": [pair.low, pair.high],
                "level": LEVEL,
                "rows": pair.rows,
            }
            for (one, other), pair in paired_differences("accuracy", answers, labels, seed=seed).items()
        ],
    }
    found = verdict(record)
    assert found is not None
    return found.kind


def simulate(points: dict[str, float], wanted: str, rows: int, runs: int) -> dict[str, Any]:
    """Many runs of one case: how often which verdict, and how often two of its models disagree."""
    counts: dict[str, int] = {}
    apart = []
    for run in range(runs):
        answers, labels = simulated(points, rows, np.random.default_rng([rows, run]))
        kind = judged(answers, labels, run)
        counts[kind] = counts.get(kind, 0) + 1
        one, other = list(answers.values())[:2]
        apart.append(float(np.mean(one.argmax(1) != other.argmax(1))))
    right = counts.get(wanted, 0)
    return {"runs": runs, "right_in_100": 100 * right / runs, "disagree": float(np.mean(apart)), "verdicts": counts}


def main() -> None:
    """Simulate every case at every number of rows, and write the result."""
    setting = begin(__doc__)
    runs = setting.pick(RUNS, QUICK_RUNS)
    found: dict[str, Any] = {}
    for name, (points, wanted) in CASES.items():
        found[name] = {"points": points, "right": wanted, "by_rows": {}}
        for rows in ROWS:
            result = simulate(points, wanted, rows, runs)
            found[name]["by_rows"][str(rows)] = result
            print(f"{name}, {rows} rows: {result['right_in_100']:.1f} in 100 right", flush=True)
    equal = {name: case for name, case in found.items() if name.endswith("equal")}
    write(
        setting,
        "verdict",
        question=__doc__ or "",
        config={"rows": ROWS, "runs": runs, "correlation": CORRELATION, "tfidf_accuracy": BASE},
        raw=found,
        summary={
            name: {rows: result["right_in_100"] for rows, result in case["by_rows"].items()}
            for name, case in found.items()
        },
        targets=[
            target(
                "right in 100, the worst of equal models at any number of rows",
                min(result["right_in_100"] for case in equal.values() for result in case["by_rows"].values()),
                at_least=95,
            ),
            *(
                target(
                    f"right in 100, {name}, {DECIDED:,} rows",
                    case["by_rows"][str(DECIDED)]["right_in_100"],
                    at_least=95,
                )
                for name, case in found.items()
                if name not in equal
            ),
        ],
    )


if __name__ == "__main__":
    main()
