"""Ticks are round, inside and not too many; places are where they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.page.charts.bars import lengths_chart
from understudy.report.page.charts.scales import Scale, log_ticks, ticks, widened

ENDS = st.tuples(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(deadline=None, derandomize=True)
@given(ends=ENDS, most=st.integers(2, 8))
def test_ticks_are_inside_and_not_too_many(ends: tuple[float, float], most: int) -> None:
    found = ticks(*ends, most)
    assert len(found) <= most + 1
    room = 1e-6 * max(1.0, *map(abs, ends))
    assert all(ends[0] - room <= tick <= ends[1] + room for tick in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[:1], rtol=1e-3) if len(found) > 1 else True
    if len(found) > 1:
        digit = float(f"{steps[0]:.3e}".split("e")[0])
        assert min(abs(digit - round_one) for round_one in (1, 2, 5, 10)) < 0.01


@settings(deadline=None, derandomize=True)
@given(low=st.floats(1e-3, 1e6), times=st.floats(1.5, 1e6))
def test_ticks_of_a_logarithm(low: float, times: float) -> None:
    found = log_ticks(low, low * times)
    assert len(found) <= 6
    assert found == sorted(found)
    assert all(low <= tick <= low * times for tick in found)


@settings(deadline=None, derandomize=True)
@given(value=st.floats(1, 1000), log=st.booleans())
def test_a_scale_is_numpys_interpolation(value: float, log: bool) -> None:
    scale = Scale(1, 1000, 50, 400, log=log)
    of = math.log if log else float
    assert scale(value) == pytest.approx(float(np.interp(of(value), [of(1), of(1000)], [50, 400])))


def test_an_axis_of_shares_ends_at_its_bounds() -> None:
    assert widened([0.99, 1.0], most=1.0)[1] == 1.0
    assert widened([0.0, 0.5], least=0.0)[0] == 0.0
    low, high = widened([0.7, 0.7])
    assert low < 0.7 < high


@pytest.mark.parametrize("lengths", [[0], [1], [3, 3, 3], [0, 1, 2, 3], list(range(500)), [5] * 99 + [10_000]])
def test_every_text_is_in_one_bar(lengths: list[int]) -> None:
    chart = lengths_chart(lengths, title="Lengths", unit="words")
    assert chart is not None
    assert sum(int(row[1].value or 0) for row in chart.values.rows) == len(lengths)
    assert len(chart.values.rows) <= 21
    assert lengths_chart([], title="Lengths", unit="words") is None
