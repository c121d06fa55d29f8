"""Rungs, promotions and budgets, against loops that do it step by step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.evaluation.halving import Offer, best_offer, promoted, rung, rungs, share, sizes, used

law = settings(deadline=None, derandomize=True, max_examples=200)
scores_and_costs = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.2, 0.4, 1.0, 3.0])),
    min_size=1,
)


@law
@given(
    texts=st.integers(1, 10**6),
    epochs=st.integers(1, 30),
    of=st.integers(1, 6),
    eta=st.integers(2, 10),
    fewest=st.integers(1, 1000),
)
def test_each_rung_has_a_share_of_the_work_and_the_last_one_all(
    texts: int, epochs: int, of: int, eta: int, fewest: int
) -> None:
    found = [rung(number, of=of, eta=eta, texts=texts, epochs=epochs, fewest=fewest) for number in range(1, of + 1)]
    assert found[-1] == (texts, epochs)
    for below, step in enumerate(reversed(found)):
        assert min(fewest, texts) <= step.texts <= texts
        assert 1 <= step.epochs <= epochs
        wanted = texts * epochs / eta**below
        if min(fewest, texts) < step.texts < texts:  # otherwise there is a limit
            assert wanted <= step.texts * step.epochs < wanted + step.epochs + 1e-6 * wanted
    assert [step.texts * step.epochs for step in found] == sorted(step.texts * step.epochs for step in found)


def test_a_rung_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="counted from 1 to 3, but this is 4"):
        rung(4, of=3, eta=3, texts=10, epochs=1)


@law
@given(models=st.integers(1, 500), eta=st.integers(2, 10), most=st.integers(1, 8), work=st.integers(1, 10**6))
def test_rungs_end_with_at_least_one_model_and_shrink_by_eta(models: int, eta: int, most: int, work: int) -> None:
    count = rungs(models, eta=eta, most=most, work=work, fewest=50)
    assert count == 1 or work / eta ** (count - 1) >= 50
    assert count == rungs(models, eta=eta, most=most) or work / eta**count < 50
    count = rungs(models, eta=eta, most=most)
    found = sizes(models, eta=eta, of=count)
    assert len(found) == count <= most
    left = models
    for size in found:  # the same by repeated division
        assert size == left >= 1
        left = left // eta
    assert count == most or left < 1


@law
@given(table=scores_and_costs, count=st.integers(1, 5))
def test_the_best_go_on_found_by_taking_the_best_again_and_again(
    table: dict[str, tuple[float, float]], count: int
) -> None:
    scores, costs = ({name: pair[part] for name, pair in table.items()} for part in (0, 1))
    left, taken = dict(table), set[str]()
    while left and len(taken) < count:
        best = None
        for name, (score, cost) in left.items():
            if (
                best is None
                or (score, -cost) > (left[best][0], -left[best][1])
                or ((score, cost) == left[best] and name < best)
            ):
                best = name
        assert best is not None
        taken.add(best)
        del left[best]
    found = promoted(scores, costs, count)
    assert set(found) == taken
    assert [costs[name] for name in found] == sorted(costs[name] for name in found)


@law
@given(table=scores_and_costs)
def test_the_choice_is_the_best_that_fits(table: dict[str, tuple[float, float]]) -> None:
    offers = [Offer(name, "pytorch", score, cost) for name, (score, cost) in table.items()]
    found, best = best_offer(offers), None
    for offer in offers:
        if offer.used > 1:
            continue
        if best is None or offer.score > best.score or (offer.score == best.score and offer.used < best.used):
            best = offer
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert (found.score, found.used) == (best.score, best.used)


def test_a_budget_is_used_by_what_is_nearest_to_its_limit() -> None:
    measured = {"latency_ms": 0.5, "size_bytes": 30e6, "threads": 7}
    assert used(measured, {"latency_ms": 1.0, "size_bytes": 20e6}) == 1.5
    assert used(measured, {"latency_ms": 1.0}) == 0.5
    assert used(measured, {}) == 0.0


def test_a_share_says_nothing_where_a_score_is_not_positive() -> None:
    assert share(0.45, 0.9, higher_is_better=True) == 0.5
    assert share(2.0, 1.0, higher_is_better=False) == 0.5
    assert share(0.0, 0.9, higher_is_better=True) is None
    assert share(0.5, 0.0, higher_is_better=True) is None
    assert math.isclose(share(0.99, 0.9, higher_is_better=True) or 0, 1.1)
