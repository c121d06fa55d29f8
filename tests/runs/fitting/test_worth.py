"""Whether fine-tuning was worth it: limits, and agreement with the posterior mean."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.runs.fitting.worth import worth

RNG = np.random.default_rng(0)


def right(share: float, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits of a model that is right on this share of the rows."""
    labels = RNG.integers(2, size=rows)
    wrong = np.arange(rows) >= round(share * rows)
    return labels, np.eye(2)[np.where(wrong, 1 - labels, labels)]


def models(before: float, after: float, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, start = right(before, rows)
    order = RNG.permutation(rows)
    wrong = np.zeros(rows, bool)
    wrong[order[: rows - round(after * rows)]] = True
    return start, np.eye(2)[np.where(wrong, 1 - labels, labels)], labels


def test_of_many_rows_the_better_model_is_kept() -> None:
    assert worth(*models(0.80, 0.82, 20_000), "accuracy").keeps_end
    assert not worth(*models(0.82, 0.80, 20_000), "accuracy").keeps_end


def test_of_few_rows_only_a_clear_loss_counts() -> None:
    assert worth(*models(0.8, 0.7, 10), "accuracy").keeps_end
    assert worth(*models(0.8, 0.76, 50), "accuracy").keeps_end
    assert not worth(*models(0.95, 0.6, 100), "accuracy").keeps_end


@pytest.mark.parametrize(("before", "after", "rows"), [(1.0, 0.2, 5), (1.0, 0.5, 10), (1.0, 0.5, 8)])
def test_a_loss_of_more_than_two_errors_counts_on_any_rows(before: float, after: float, rows: int) -> None:
    assert not worth(*models(before, after, rows), "accuracy").keeps_end


def test_losing_more_than_the_variance_is_not_excused() -> None:
    labels = RNG.normal(size=20).astype(np.float32)
    start, end = (labels + RNG.normal(size=20) * size for size in (0.1, 2.0))
    assert not worth(start[:, None], end[:, None], labels, "mse").keeps_end


def test_where_the_probe_learns_nothing_training_must_prove_itself() -> None:
    few = models(0.8, 0.7, 10)
    assert worth(*few, "accuracy").keeps_end
    found = worth(*few, "accuracy", learns=False)
    assert found.needed == 0
    assert not found.keeps_end
    assert worth(*models(0.7, 0.8, 10), "accuracy", learns=False).keeps_end


def test_the_same_model_is_no_gain() -> None:
    start, _, labels = models(0.8, 0.8, 100)
    found = worth(start, start, labels, "accuracy")
    assert (found.gain, found.error) == (0.0, 0.0)
    assert not found.keeps_end


def test_a_draw_on_a_handful_of_rows_is_no_proof() -> None:
    labels = np.array([0, 1] * 5)
    start = np.eye(2)[labels]
    assert worth(start, 2 * start, labels, "accuracy").keeps_end


def test_the_rule_is_the_sign_of_the_posterior_mean() -> None:
    for rows in (20, 100, 500):
        for after in (0.6, 0.7, 0.75, 0.8):
            found = worth(*models(0.8, after, rows), "accuracy")
            posterior = (0.02 / 0.03**2 + found.gain / found.error**2) / (1 / 0.03**2 + 1 / found.error**2)
            assert found.keeps_end == (posterior > 0)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "mse"])
def test_numbers(metric: str) -> None:
    labels = 40 + 10 * RNG.normal(size=300).astype(np.float32)
    near, far = (labels[:, None] + 10 * noise * RNG.normal(size=(300, 1)) for noise in (0.2, 0.9))
    found = worth(far, near, labels, metric)
    assert found.keeps_end
    assert 0 < found.gain < 2
    assert not worth(near, far, labels, metric).keeps_end


def test_a_loss_in_mse_is_said_as_a_share_of_the_variance() -> None:
    labels = 40 + 10 * RNG.normal(size=300).astype(np.float32)
    near, far = (labels[:, None] + noise for noise in (0.0, 5.0))
    found = worth(near, far, labels, "mse")
    share = 25 / np.var(labels)
    assert (
        found.said(300) == f"lost {share:.3f} ± {found.error:.3f} of the labels' variance in mse on 300 validation rows"
    )
    assert found.on_record() == {
        "gain": pytest.approx(-share, rel=1e-4),
        "gain_error": found.error,
        "gain_of": "the labels' variance",
    }
    other = worth(*models(0.95, 0.6, 100), "accuracy")
    assert other.said(100) == f"changed accuracy on 100 validation rows by -0.350 ± {other.error:.3f}"
    assert list(other.on_record()) == ["gain", "gain_error"]


def test_a_training_in_mse_that_diverged_is_not_kept() -> None:
    """Its error is as large as its loss, which excuses nothing."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=60).astype(np.float32)
    start, end = labels[:, None] + 0.05, 300 * rng.normal(size=(60, 1))
    found = worth(start, end, labels, "mse")
    assert found.gain < -1000
    assert not found.keeps_end


def test_rows_without_a_label_are_left_out() -> None:
    start, end, labels = models(0.5, 0.9, 200)
    known = worth(start, end, labels, "accuracy")
    more = worth(np.vstack([start, start]), np.vstack([end, -end]), np.append(labels, np.full(200, -100)), "accuracy")
    assert more.gain == known.gain
