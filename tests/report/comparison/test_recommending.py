"""The stated rules: which model is shipped, and what is said of it."""

from __future__ import annotations

from compared import SCORES, SIZES, comparison

from understudy.report.comparison.recommending import as_good_as_best, recommendation, shipped


def test_the_smallest_that_is_as_good_as_the_best_is_shipped() -> None:
    record = comparison()
    assert as_good_as_best(record) == ["layers:3", "bert"]
    first, *others = recommendation(record)
    assert first.startswith("Ship layers:3: it has 180 MB and 92.5 %; the best, bert, has 400 MB and 93.0 %")
    assert "(-0.5 points, -1.3 to +0.3; p = 0.80 after Holm; 1,000 test rows, 3 seeds)" in first
    assert others == []  # the knee is the one that is shipped


def test_the_best_is_shipped_where_all_smaller_ones_are_worse() -> None:
    record = comparison(error=0.001)
    assert shipped(record) == "bert"
    first, second = recommendation(record)
    assert (
        first == "Ship bert: it has the best score (400 MB and 93.0 %), and every smaller one is significantly worse."
    )
    assert second.startswith("The knee of quality against size is layers:3 (180 MB and 92.5 %)")


def test_tfidf_is_enough_where_nothing_is_better() -> None:
    assert recommendation(comparison({**SCORES, "tfidf": 0.926}))[0].startswith(
        "TF-IDF is enough: ship it. It has 900 kB"
    )
    best = recommendation(comparison({**SCORES, "tfidf": 0.96}, error=0.001))[0]
    assert best == "TF-IDF is enough: ship it. It has the best score (900 kB and 96.0 %), and it is the smallest."


def test_an_interval_that_reaches_far_down_asks_for_more_rows() -> None:
    assert recommendation(comparison(error=0.02))[0].endswith("more rows or seeds may tell).")


def test_too_few_rows_are_no_reason_to_ship_the_smallest() -> None:
    scores = {**SCORES, "tfidf": 0.8}
    assert shipped(comparison(scores, error=0.1)) is None
    first = recommendation(comparison(scores, error=0.1))[0]
    told = "TF-IDF and the best, bert, cannot be told apart on so few rows and seeds: test with more. TF-IDF has 900 kB and 80.0 %; bert"
    assert first.startswith(told)
    assert "(-13.0 points, " in first
    errors = {name: 1 - score for name, score in scores.items()}
    assert "cannot be told apart" in recommendation(comparison(errors, metric="mse", error=0.1))[0]
    assert "cannot be told apart" not in recommendation(comparison(errors, metric="mse", error=0.005))[0]


def test_a_smaller_model_that_was_not_tested_is_not_called_worse() -> None:
    record = comparison(error=0.001)
    record["comparisons"] = [
        pair for pair in record["comparisons"] if {pair["model"], pair["other"]} != {"bert", "tfidf"}
    ]
    told = "and every smaller one is significantly worse, but for tfidf: no seed was trained with both."
    assert recommendation(record)[0].endswith(told)


def test_of_a_metric_where_less_is_better_the_lowest_is_best() -> None:
    scores = {name: 1 - score for name, score in SCORES.items()}
    assert shipped(comparison(scores, metric="mse", error=0.001)) == "bert"
    assert shipped(comparison(scores, metric="mse")) == "layers:3"


def test_it_is_said_whether_distilling_helped() -> None:
    sizes = {**SIZES, "bilstm+distilled": 5_000_000}
    for score, said in ((0.915, "helped"), (0.902, "did not help"), (0.87, "did harm")):
        record = comparison(
            {**SCORES, "bilstm+distilled": score}, sizes=sizes, distilled={"bilstm+distilled": "bilstm"}
        )
        assert recommendation(record)[-1].startswith(f"Distilling {said}: bilstm+distilled against bilstm (")
        record["findings"]["began_as_teacher"] = ["bilstm+distilled"]
        begins = f"Distilling {said}: bilstm+distilled, which began as layers of its teacher, against bilstm ("
        assert recommendation(record)[-1].startswith(begins)


def test_a_difference_over_fewer_seeds_is_said_to_be_of_those_that_both_have() -> None:
    record = comparison()
    assert "that both have" not in recommendation(record)[0]
    record["findings"]["scores"]["bert"]["n"] = 2
    for pair in record["comparisons"]:
        pair["seeds"] = 2
    assert "1,000 test rows, 2 seeds that both have)" in recommendation(record)[0]


def test_one_seed_is_said_to_be_one() -> None:
    assert recommendation(comparison(seeds=[0]))[-1].startswith("One seed: what another seed would change")


def test_a_model_without_a_score_is_passed_over() -> None:
    record = comparison()
    del record["findings"]["scores"]["bert"]
    assert shipped(record) == "layers:3"
    assert recommendation({**record, "models": []}) == []
