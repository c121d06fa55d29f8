"""McNemar's exact test and Holm's correction, against SciPy, whole fractions, and statsmodels where it is installed."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from understudy.evaluation.significance import exact_mcnemar, holm, mcnemar


@settings(deadline=None, derandomize=True, max_examples=60)
@given(first=st.integers(0, 60), second=st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_rows_on_which_one_is_right(first: int, second: int) -> None:
    found = exact_mcnemar(first, second)
    rows = first + second
    tail = sum(Fraction(comb(rows, k), 2**rows) for k in range(min(first, second) + 1))
    assert found.p == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-10)
    if rows:
        assert found.p == pytest.approx(binomtest(first, rows, 0.5).pvalue, rel=1e-10)
    assert exact_mcnemar(second, first).p == found.p


def test_mcnemar_agrees_with_statsmodels() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for first, second in ((0, 7), (12, 30), (130, 171)):
        theirs = tables.mcnemar([[500, first], [second, 90]], exact=True).pvalue
        assert exact_mcnemar(first, second).p == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_counts_rows_as_a_slow_loop_does() -> None:
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(200) < 0.1, -100, rng.integers(0, 3, 200))
    one, other = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    only = [0, 0]
    for row in range(200):
        right = [outputs[row].argmax() == labels[row] for outputs in (one, other)]
        if labels[row] != -100 and right[0] != right[1]:
            only[right.index(True)] += 1
    found = mcnemar(one, other, labels)
    assert found is not None
    assert [found.only_first, found.only_second] == only

    several = (rng.random((200, 3)) < 0.5).astype(float)
    whole = [((outputs > 0) == several).all(1) for outputs in (one, other)]
    counted = mcnemar(one, other, several)
    assert counted is not None
    assert counted[:2] == (int((whole[0] & ~whole[1]).sum()), int((whole[1] & ~whole[0]).sum()))
    assert mcnemar(one[:, :1], other[:, :1], rng.normal(size=200)) is None  # numbers are neither right nor wrong


@settings(deadline=None, derandomize=True, max_examples=60)
@given(values=st.lists(st.floats(0, 1), max_size=12))
def test_holm_believes_what_its_step_down_procedure_believes(values: list[float]) -> None:
    adjusted = holm(dict(enumerate(values)))
    assert list(adjusted) == list(range(len(values)))
    for level in (0.01, 0.05, 0.3):
        believed: set[int] = set()
        for place, number in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[number] > level / (len(values) - place):
                break
            believed.add(number)
        close = {n for n, value in adjusted.items() if value == pytest.approx(level, rel=1e-9)}
        assert {n for n, value in adjusted.items() if value <= level} - close == believed - close


def test_holm_agrees_with_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = np.random.default_rng(1).random(21) ** 3
    theirs = multitest.multipletests(values, method="holm")[1]
    np.testing.assert_allclose(list(holm(dict(enumerate(values))).values()), theirs)


def test_what_is_no_number_of_rows_or_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        exact_mcnemar(-1, 2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm({"a": 1.2})
