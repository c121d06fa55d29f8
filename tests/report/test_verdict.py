"""Each verdict from comparisons whose answer is known, and the sentence that says it."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.report.verdict import counted_verdicts, doubt_of_teacher, family_verdict, verdict

Pair = tuple[str, str, float, float, float]


def record(*pairs: Pair, metric: str = "accuracy", head_bytes: int = 200_000) -> dict[str, Any]:
    """A record of the models in some comparisons: names, difference and interval."""
    order = ["teacher", "student", "student without teacher", "pruned", "unpruned", "model", "probe", "tfidf"]
    names = sorted({name for pair in pairs for name in pair[:2]}, key=order.index)
    models: list[dict[str, Any]] = [{"name": name, "metrics": {"test": {metric: 0.8}}} for name in names]
    for entry in models:
        if entry["name"] == "probe":
            entry["head_bytes"] = head_bytes
    comparisons = [
        {"model": one, "other": other, "difference": d, "interval": [low, high], "level": 0.99, "rows": 1000}
        for one, other, d, low, high in pairs
    ]
    return {"task": {"metrics": [metric]}, "models": models, "comparisons": comparisons}


SAME, MORE, LESS = (0.002, -0.01, 0.014), (0.03, 0.01, 0.05), (-0.03, -0.05, -0.01)


def trained(
    probe: tuple[float, float, float], tfidf: tuple[float, float, float], between: Any = MORE
) -> dict[str, Any]:
    return record(("model", "probe", *probe), ("model", "tfidf", *tfidf), ("probe", "tfidf", *between))


def test_tfidf_is_enough() -> None:
    found = verdict(trained(SAME, SAME, SAME))
    assert found is not None
    assert found.kind == "tfidf"
    assert found.sentence == (
        "TF-IDF is enough: ship it (the model is at +0.2 points, -1.0 to +1.4; 99 % interval, 1,000 test rows)."
    )


def test_the_probe_is_as_good() -> None:
    found = verdict(trained(SAME, MORE))
    assert found is not None
    assert found.sentence == (
        "The probe is as good: ship it (200 kB more than the encoder; the model is at +0.2 points, -1.0 to +1.4; 99 % interval, 1,000 test rows)."
    )
    for phase in ("train", "contrast"):
        kept = trained((0.0, 0.0, 0.0), MORE) | {"training": {phase: {"start": {"kept": "probe"}}}}
        saved = verdict(kept)
        assert saved is not None
        assert saved.sentence == (
            "The probe is as good: ship it (200 kB more than the encoder; the model that was saved is the probe)."
        )
    # a model that has hardly begun to learn does not hide a probe that is better than TF-IDF
    worse = verdict(trained(LESS, LESS))
    assert worse is not None
    assert worse.sentence.startswith("The probe is better: ship it (200 kB more than the encoder; the model is at -3.0")


def test_ship_the_model() -> None:
    found = verdict(trained(MORE, MORE))
    assert found is not None
    assert found.sentence == (
        "Ship the model (+3.0 points, +1.0 to +5.0, against the probe; +3.0 points, +1.0 to +5.0, against TF-IDF; 99 % interval, 1,000 test rows)."
    )


@pytest.mark.parametrize(("rows", "kind"), [(1, "undecided"), (9, "undecided"), (10, "model")])
def test_a_handful_of_rows_decides_nothing(rows: int, kind: str) -> None:
    sure = trained((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    for entry in sure["comparisons"]:
        entry["rows"] = rows
    found = verdict(sure)
    assert found is not None
    assert found.kind == kind
    assert f"{rows} test row{'s' if rows > 1 else ''}" in found.sentence
    assert ("more rows may tell" in found.sentence) == (kind == "model")


def test_a_difference_of_nothing_has_no_sign() -> None:
    nothing = distilled(alone=MORE, tfidf=MORE)
    nothing["comparisons"].append(nothing["comparisons"][0] | {"model": "teacher", "other": "student"})
    nothing["comparisons"][-1] |= {"difference": 0.0, "interval": [0.0, 0.0]}
    said = verdict(nothing)
    assert said is not None
    assert "+0.0 points, +0.0 to +0.0, against the teacher" in said.sentence


def distilled(**pairs: tuple[float, float, float]) -> dict[str, Any]:
    names = {"alone": ("student", "student without teacher"), "tfidf": ("student", "tfidf")}
    names |= {
        "teacher": ("teacher", "tfidf"),
        "probe": ("teacher", "probe"),
        "alone_tfidf": ("student without teacher", "tfidf"),
    }
    return record(*((*names[name], *numbers) for name, numbers in pairs.items()))


def test_the_teacher_is_below_tfidf() -> None:
    found = verdict(distilled(teacher=LESS, probe=LESS, tfidf=LESS, alone=SAME))
    assert found is not None
    assert found.sentence == (
        "The teacher is below TF-IDF: mend the teacher first (it is at -3.0 points, -5.0 to -1.0; 99 % interval, 1,000 test rows)."
    )
    below = verdict(distilled(teacher=MORE, probe=LESS, tfidf=MORE, alone=MORE))
    assert below is not None
    assert below.sentence.startswith("The teacher is below the probe: mend the teacher first (it is at -3.0 points")


def test_the_student_is_not_better_than_without_teacher() -> None:
    found = verdict(distilled(teacher=MORE, probe=SAME, tfidf=MORE, alone=SAME, alone_tfidf=MORE))
    assert found is not None
    assert found.sentence.startswith(
        "The distilled student is not better than the same student without teacher (it is at +0.2 points"
    )
    # the student without teacher beats TF-IDF and the distilled one does not: TF-IDF is not enough
    hidden = verdict(distilled(teacher=MORE, tfidf=SAME, alone=LESS, alone_tfidf=MORE))
    assert hidden is not None
    assert hidden.kind == "alone"


def test_tfidf_is_enough_for_a_student() -> None:
    found = verdict(distilled(teacher=SAME, probe=SAME, tfidf=SAME, alone=SAME, alone_tfidf=SAME))
    assert found is not None
    assert found.kind == "tfidf"
    assert "the student is at" in found.sentence


def test_ship_the_student() -> None:
    found = verdict(distilled(teacher=MORE, probe=SAME, tfidf=MORE, alone=MORE, alone_tfidf=SAME))
    assert found is not None
    assert found.sentence.startswith("Ship the student (+3.0 points, +1.0 to +5.0, against the same student without")


def test_an_interval_that_reaches_far_says_that_rows_are_missing() -> None:
    found = verdict(record(("model", "tfidf", 0.02, -0.01, 0.05)))
    assert found is not None
    assert found.sentence.endswith("more rows may tell).")


FEW = (0.25, -0.083, 0.583)
"""Of a dozen rows, on which one model has three more right."""


def few(found: dict[str, Any]) -> dict[str, Any]:
    for entry in found["comparisons"]:
        entry["rows"] = 12
    return found


def test_too_few_rows_are_no_reason_to_ship_what_is_cheaper() -> None:
    numbers = "is at +25.0 points, -8.3 to +58.3; 99 % interval, 12 test rows)."
    cases = {
        "The model and TF-IDF": (trained((0.0, -0.3, 0.3), FEW, SAME), "the model"),
        "The probe and TF-IDF": (trained((0.0, -0.3, 0.3), (0.1, -0.2, 0.4), FEW), "the probe"),
        "The model and the probe": (trained(FEW, MORE), "the model"),
        "The student and TF-IDF": (distilled(teacher=SAME, tfidf=FEW, alone=FEW, alone_tfidf=SAME), "the student"),
        "The student and the same student without teacher": (
            distilled(teacher=MORE, tfidf=MORE, alone=FEW),
            "the student",
        ),
        "The unpruned model and the pruned model": (record(("unpruned", "pruned", *FEW)), "the unpruned model"),
    }
    for begun, (found, ahead) in cases.items():
        judged = verdict(few(found))
        assert judged is not None
        assert judged.kind == "undecided"
        assert judged.sentence == f"{begun} cannot be told apart on so few rows: test with more ({ahead} {numbers}"
    assert family_verdict({"verdicts": {"undecided": 1}}) == (
        "The models cannot be told apart on so few rows: test with more."
    )


def test_few_rows_without_a_lead_keep_what_is_cheaper() -> None:
    for numbers in ((0.0, -0.25, 0.25), (-0.25, -0.583, 0.083), (0.01, -0.1, 0.12)):
        judged = verdict(few(record(("model", "tfidf", *numbers))))
        assert judged is not None
        assert judged.kind == "tfidf"
        assert judged.sentence.endswith("99 % interval, 12 test rows; more rows may tell).")
    alike = verdict(
        few(record(("model", "tfidf", 0.0, 0.0, 0.0)))
    )  # all answers are the same: the interval has no width
    assert alike is not None
    assert alike.sentence.endswith("12 test rows; more rows may tell).")
    worse = verdict(few(record(("model", "tfidf", 0.5, -0.2, 1.2), metric="mse")))
    assert worse is not None
    assert worse.kind == "tfidf"


def test_less_is_better_of_an_error() -> None:
    better = verdict(record(("model", "tfidf", -0.1, -0.15, -0.05), metric="mse"))
    assert better is not None
    assert (
        better.sentence
        == "Ship the model (-0.100 MSE, -0.150 to -0.050, against TF-IDF; 99 % interval, 1,000 test rows)."
    )
    worse = verdict(record(("model", "tfidf", 0.1, 0.05, 0.15), metric="mse"))
    assert worse is not None
    assert worse.kind == "tfidf"


@pytest.mark.parametrize(("error", "open_end"), [(0.8, False), (0.2, True), (800.0, False)])
def test_more_rows_may_tell_of_an_error_by_its_own_size(error: float, open_end: bool) -> None:
    made = record(("model", "tfidf", -0.001 * error, -0.01, 0.01), metric="mse")
    for entry in made["models"]:
        entry["metrics"]["test"]["mse"] = error
    found = verdict(made)
    assert found is not None
    assert found.sentence.endswith("more rows may tell).") == open_end


def test_there_is_no_verdict_without_a_comparison() -> None:
    alone = record(("model", "tfidf", *MORE))
    assert verdict(alone | {"comparisons": []}) is None
    assert verdict({"task": {"metrics": ["loss"]}, "models": [{"name": "model"}]}) is None
    assert verdict(record(("teacher", "student", *MORE))) is None


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (MORE, None),
        (SAME, "It is not certain that the teacher is better than TF-IDF (+0.2 points, -1.0 to +1.4;"),
        ((-0.002, -0.014, 0.01), "The teacher is not better than TF-IDF (-0.2 points, -1.4 to +1.0;"),
        (LESS, "The teacher is not better than TF-IDF (-3.0 points, -5.0 to -1.0;"),
    ],
)
def test_doubts_of_a_teacher(numbers: tuple[float, float, float], said: str | None) -> None:
    found = doubt_of_teacher("accuracy", *numbers, 200)
    assert found is None if said is None else str(found).startswith(said)


def test_a_familys_verdict_counts_its_runs() -> None:
    runs = [trained(SAME, MORE), trained(SAME, MORE), trained(MORE, MORE), {"models": []}]
    counts = counted_verdicts(runs)
    assert counts == {"probe": 2, "model": 1}
    assert (
        family_verdict({"verdicts": counts})
        == "2 of 3 runs: the probe is as good: ship it. 1 of 3 runs: ship the model."
    )
    assert family_verdict({"verdicts": {"tfidf": 3}}) == "All 3 runs: TF-IDF is enough: ship it."
    assert family_verdict({"verdicts": {}}) is None
    assert family_verdict({}) is None
