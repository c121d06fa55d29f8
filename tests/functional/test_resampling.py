"""Metrics of resamples against scikit-learn and SciPy on the repeated rows, one resample after the other."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.functional import resampling
from understudy.functional.metrics import METRICS
from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import score


def _case(metric: str, kind: str, rows: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outputs = {"two": 2, "five": 5, "several": 3, "regression": 1}[kind]
    logits = rng.normal(size=(rows, outputs)).round(1).astype(np.float32)  # rounded: with ties
    if kind == "several":
        return logits, (logits + rng.normal(size=logits.shape) > 1).astype(np.float32)
    if kind == "regression":
        return logits, (logits[:, 0] + rng.normal(size=rows)).round(1).astype(np.float32)
    return logits, np.where(rng.random(rows) < 0.5, logits.argmax(1), rng.integers(outputs, size=rows))


CASES = [
    *[(metric, "two") for metric in METRICS if metric not in ("pearson", "spearman", "mse")],
    *[(metric, "five") for metric in ("accuracy", "f1_macro", "f1_micro", "matthews", "average_precision")],
    *[(metric, "several") for metric in ("accuracy", "f1_macro", "f1_micro", "average_precision")],
    *[(metric, "regression") for metric in ("pearson", "spearman", "mse")],
]


@pytest.mark.parametrize(("metric", "kind"), CASES)
@pytest.mark.parametrize("rows", [1, 2, 4, 50])
def test_as_the_plain_metric_on_the_drawn_rows(metric: str, kind: str, rows: int) -> None:
    """Tiny samples include degenerate resamples: one row drawn every time, a missing class."""
    logits, labels = _case(metric, kind, rows)
    (counts,) = resample_counts(rows, resamples=15, seed=3)
    drawn = [np.repeat(np.arange(rows), row.astype(int)) for row in counts]
    expected = [score(metric, logits[here], labels[here]) for here in drawn]
    np.testing.assert_allclose(resampler(metric, logits, labels)(counts), expected, atol=1e-9)


def test_counts_are_draws_with_replacement_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_counts(20, resamples=4000, seed=1)))
    assert whole.shape == (4000, 20)
    assert (whole.sum(1) == 20).all()
    assert whole.var(0) == pytest.approx(np.full(20, 0.95), abs=0.1)  # binomial: n p (1 - p)
    monkeypatch.setattr(resampling, "_BLOCK_CELLS", 60)
    blocks = list(resample_counts(20, resamples=10, seed=1))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    assert (next(iter(resample_counts(20, resamples=10, seed=2))) != blocks[0]).any()
