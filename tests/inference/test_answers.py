"""What is made of logits, against scipy; and that it takes no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.special

from understudy.data.tasks import Kind, Task
from understudy.data.texts import Texts
from understudy.inference.answers import averaged_logits, check_texts, predictions, probabilities

SINGLE = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c"))


def test_probabilities_against_scipy() -> None:
    values = np.random.default_rng(0).normal(scale=300, size=(9, 3)).astype(np.float32)
    several = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
    number = Task(text=(("text",),), label="label", kind="regression")
    np.testing.assert_allclose(probabilities(values, SINGLE), scipy.special.softmax(values, axis=-1), atol=1e-6)
    np.testing.assert_allclose(probabilities(values, several), scipy.special.expit(values), atol=1e-6)
    assert probabilities(values, number) is values


def test_predictions_name_what_is_likely() -> None:
    several = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
    number = Task(text=(("text",),), label="label", kind="regression")
    values = np.array([[0.0, 1.0, -1.0]], np.float32)
    best = predictions(values, SINGLE)[0]
    assert best["label"] == "b"
    assert list(best["probabilities"]) == ["a", "b", "c"]
    assert sum(best.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert dict(best) == {"label": "b", "probabilities": best.probabilities}
    assert predictions(values, several)[0].label == ["a", "b"]  # one half is enough
    assert predictions(values, several, threshold=0.6)[0].label == ["b"]
    cut = predictions(values, several, top_k=1)[0]
    assert (cut.label, list(cut.probabilities)) == (["a", "b"], ["b"])  # only probabilities are left out
    assert predictions(values[:, 1:2], number)[0] == predictions(np.array([[1.0]]), number)[0]
    assert predictions(values[:, 1:2], number)[0].label == 1.0


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_averaged_logits_have_the_mean_of_the_probabilities(kind: Kind) -> None:
    labels = () if kind == "regression" else ("a", "b", "c")
    task = Task(text=(("text",),), label="label", kind=kind, labels=labels)
    parts = [np.random.default_rng(seed).normal(scale=9, size=(5, task.outputs)) for seed in range(3)]
    mean = averaged_logits(parts, task)
    made = {"single_label": lambda x: scipy.special.softmax(x, axis=-1), "multi_label": scipy.special.expit}
    expected = np.mean([made.get(kind, np.asarray)(part) for part in parts], axis=0)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(made.get(kind, np.asarray)(mean.astype(np.float64)), expected, atol=1e-6)


def test_averaged_logits_are_finite_where_all_models_are_sure() -> None:
    sure = np.array([[1000.0, -1000.0, 0.0]])
    several = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
    for task in (SINGLE, several):
        assert np.isfinite(averaged_logits([sure, sure], task)).all()


def test_one_row_of_texts_stands_for_all() -> None:
    with pytest.raises(ValueError, match="each text must be a string for this model"):
        check_texts(Texts.of([("a", "b")]), SINGLE)
    check_texts(Texts.of(["a", "b"]), SINGLE)


def test_answers_need_no_torch() -> None:
    code = """
import sys
import numpy as np
from understudy.data.tasks import Task
from understudy.inference.answering import Answering

class Table(Answering):
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))

    def logits(self, texts):
        return np.array([[0.0, len(text)] for text in texts], np.float32)

assert [found.label for found in Table().predict(["", "a"])] == ["no", "yes"]
heavy = {"torch", "transformers", "tokenizers", "pyarrow", "sklearn", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_temperature_changes_probabilities_and_no_label() -> None:
    rng = np.random.default_rng(0)
    several = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
    values = rng.normal(size=(200, 3)) * 4
    for task, expected in (
        (SINGLE, scipy.special.softmax(values / 2.5, axis=1)),
        (several, scipy.special.expit(values / 2.5)),
    ):
        np.testing.assert_allclose(probabilities(values, task, temperature=2.5), expected, atol=1e-12)
        plain, cooled = predictions(values, task), predictions(values, task, temperature=2.5)
        assert [one.label for one in plain] == [one.label for one in cooled]
        assert list(cooled[0].probabilities.values()) == pytest.approx(expected[0])
    number = Task(text=(("text",),), label="label", kind="regression")
    assert probabilities(values, number, temperature=2.5) is values


def test_a_mean_is_that_of_the_probabilities_after_each_temperature() -> None:
    one, other = np.array([[6.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    mean = averaged_logits([one, other], SINGLE, temperatures=[6.0, 0.5])
    expected = (scipy.special.softmax(one / 6) + scipy.special.softmax(other / 0.5)) / 2
    np.testing.assert_allclose(probabilities(mean, SINGLE), expected, atol=1e-6)
