"""The front of quality against cost, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.evaluation.front import dominated, knee, pareto_front

POINTS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=8
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(points=POINTS)
def test_a_model_is_on_the_front_or_dominated_by_one_that_is(points: dict[str, tuple[int, int]]) -> None:
    costs = {name: float(cost) for name, (cost, _) in points.items()}
    scores = {name: float(score) for name, (_, score) in points.items()}
    front, left_out = pareto_front(costs, scores), dominated(costs, scores)
    assert set(front) | set(left_out) == set(points)
    assert not set(front) & set(left_out)
    for other in left_out.values():
        assert other in front
    for name in front:  # what costs less scores less
        assert all(scores[other] < scores[name] for other in points if costs[other] < costs[name])
    assert [costs[name] for name in front] == sorted(costs[name] for name in front)


def test_the_knee_is_where_a_slow_search_finds_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        costs = dict(zip("abcdef", np.sort(rng.lognormal(3, 2, 6)), strict=True))
        scores = dict(zip("abcdef", np.sort(rng.random(6)), strict=True))
        line = np.interp(
            [np.log(cost) for cost in costs.values()],
            [np.log(costs["a"]), np.log(costs["f"])],
            [scores["a"], scores["f"]],
        )
        above = {name: scores[name] - height for name, height in zip(costs, line, strict=True) if name not in "af"}
        best = max(above, key=above.__getitem__)
        assert knee(costs, scores) == (best if above[best] > 1e-12 else None)


def test_there_is_no_knee_without_a_bend() -> None:
    assert knee({"a": 1.0, "b": 2.0}, {"a": 0.1, "b": 0.2}) is None
    assert knee({"a": 1.0, "b": 10.0, "c": 100.0}, {"a": 0.1, "b": 0.2, "c": 0.8}) is None
    assert knee({}, {}) is None
    with pytest.raises(ValueError, match="positive"):
        knee({"a": 0.0}, {"a": 1.0})


def test_models_without_a_score_are_left_out() -> None:
    assert pareto_front({"a": 1.0, "b": 2.0}, {"b": 0.5}) == ["b"]
