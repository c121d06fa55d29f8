"""Disagreement, against a loop over pairs of models."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from understudy.evaluation.single_rows.disagreement import disagreement, spread


def test_the_share_of_pairs_that_differ() -> None:
    random = np.random.default_rng(0)
    answers = random.integers(0, 3, (5, 40))
    pairs = list(combinations(range(5), 2))
    expected = [sum(answers[a, row] != answers[b, row] for a, b in pairs) / len(pairs) for row in range(40)]
    np.testing.assert_allclose(disagreement(answers), expected)


def test_several_labels_are_averaged() -> None:
    random = np.random.default_rng(1)
    answers = random.random((4, 20, 6)) < 0.5
    expected = np.mean([disagreement(answers[..., place]) for place in range(6)], axis=0)
    np.testing.assert_allclose(disagreement(answers), expected)


def test_one_model_agrees_with_itself() -> None:
    assert not disagreement(np.array([[0, 1, 2]])).any()
    assert not spread(np.array([[0.5, 1.0]])).any()


def test_the_spread_is_the_standard_deviation() -> None:
    answers = np.random.default_rng(2).normal(size=(3, 10)).astype(np.float32)
    np.testing.assert_allclose(spread(answers), np.std(answers.astype(np.float64), axis=0))
