"""The most certain wrong answers, against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from understudy.evaluation.single_rows.mistakes import confident_mistakes


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_most_certain_wrong_answers_come_first(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 4)), rng.integers(-1, 4, 60)
    labels[labels < 0] = -100  # rows without a label
    wrong = []
    for row, (outputs, label) in enumerate(zip(logits, labels)):
        if label >= 0 and outputs.argmax() != label:
            wrong.append((row, label, outputs.argmax(), softmax(outputs / temperature).max()))
    expected = sorted(wrong, key=lambda entry: -entry[3])[:7]
    found = confident_mistakes(logits, labels, most=7, temperature=temperature)
    assert [entry[:3] for entry in found] == [entry[:3] for entry in expected]
    np.testing.assert_allclose([entry[3] for entry in found], [entry[3] for entry in expected])


def test_a_model_without_a_mistake_has_none() -> None:
    assert confident_mistakes(np.eye(3), np.arange(3)) == []
