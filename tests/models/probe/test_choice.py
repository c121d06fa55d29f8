"""The probe's choice of penalty and pooling, against scikit-learn, closed forms and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from understudy.data.tasks import Task
from understudy.models.folds import FOLDS, deal_folds
from understudy.models.probe.choice import (
    Probe,
    choose_pooling,
    cross_validated,
    drawn_rows,
    paired,
    serves_apart,
)

CLASSES = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c"))
TWO = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b"))
SEVERAL = Task(text=(("text",),), label="label", kind="multi_label", labels=("a", "b", "c"))
NUMBERS = Task(text=(("text",),), label="score", kind="regression")
RNG = np.random.default_rng(0)


def separable(rows: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % 3
    return np.eye(width)[labels] + 0.3 * np.random.default_rng(1).normal(size=(rows, width)), labels


def test_held_out_losses_are_those_of_a_slow_loop() -> None:
    """Ridge regression, fold by fold, by scikit-learn."""
    vectors = RNG.normal(size=(40, 5))
    labels = (vectors @ RNG.normal(size=5) + 0.5 * RNG.normal(size=40)).astype(np.float32)
    found = cross_validated(vectors, labels, NUMBERS, seed=0, grid=(0.1,))
    dealt, expected = deal_folds(labels, FOLDS, 0), np.zeros(40)
    for fold in range(FOLDS):
        inside = vectors[dealt != fold]
        standard = (vectors - inside.mean(0)) / inside.std(0)
        ridge = Ridge(alpha=10.0).fit(standard[dealt != fold], labels[dealt != fold].astype(np.float64))
        expected[dealt == fold] = (ridge.predict(standard[dealt == fold]) - labels[dealt == fold]) ** 2
    np.testing.assert_allclose(found.losses, expected, rtol=1e-8)
    assert found.weight.shape == (1, 5)


def test_the_penalty_with_the_lowest_loss_is_chosen() -> None:
    vectors, labels = separable(60)
    grid = (1e-4, 0.01, 1.0)
    each = {strength: cross_validated(vectors, labels, CLASSES, seed=0, grid=(strength,)) for strength in grid}
    found = cross_validated(vectors, labels, CLASSES, seed=0, grid=grid)
    assert found.strength == min(each, key=lambda strength: each[strength].losses.mean())
    noise = cross_validated(RNG.normal(size=(60, 30)), labels, CLASSES, seed=0, grid=grid)
    assert noise.strength == 1e-4
    assert found.scores["accuracy"] > 0.9 > 0.6 > noise.scores["accuracy"]


@pytest.mark.parametrize("task", [TWO, CLASSES, SEVERAL, NUMBERS], ids=lambda task: f"{task.kind} {task.outputs}")
@pytest.mark.parametrize("rows", [2, 3, 16])
def test_few_rows_of_any_kind(task: Task, rows: int) -> None:
    labels = np.arange(rows) % task.outputs if task.kind == "single_label" else np.arange(rows, dtype=np.float32)
    if task.kind == "multi_label":
        labels = (np.arange(rows)[:, None] % 3 == np.arange(3)).astype(np.float32)
    found = cross_validated(np.random.default_rng(2).normal(size=(rows, 4)), labels, task, seed=0)
    assert np.isfinite(found.losses).all()
    assert np.isfinite(found.weight).all()
    assert found.weight.shape == (task.outputs, 4)


def test_rows_without_a_label_and_dead_dimensions_count_for_nothing() -> None:
    vectors, labels = separable(30)
    more = np.vstack([vectors, 100 * np.ones((2, 6))])
    dead = np.hstack([more, 1e-30 * RNG.normal(size=(32, 1)), np.ones((32, 1))])
    found = cross_validated(dead, np.append(labels, [-100, -100]), CLASSES, seed=0)
    assert len(found.losses) == 30
    assert np.abs(found.weight).max() < 1e3


def test_a_paired_interval_is_one_standard_error() -> None:
    one, other = RNG.normal(size=50), RNG.normal(size=50)
    found = paired(one, other)
    error = (one - other).std(ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(
        found, [(one - other).mean(), (one - other).mean() - error, (one - other).mean() + error]
    )


def probe(losses: np.ndarray) -> Probe:
    return Probe(np.zeros((1, 1)), np.zeros(1), 0.1, losses, {})


def test_the_head_is_read_where_it_is_shown_to_serve_as_well() -> None:
    losses = RNG.uniform(0.3, 0.9, size=400)
    noise = 0.01 * RNG.normal(size=400)
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + noise)})[0] == "head"
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + 0.1 + noise)})[0] == "mean"
    shuffled = RNG.permutation(losses)[:10]
    assert choose_pooling({"mean": probe(losses[:10]), "head": probe(shuffled)})[0] == "mean", "ten rows show little"
    assert choose_pooling({"mean": probe(losses), "head": probe(losses + 1), "linear head": probe(losses)})[0] == (
        "linear head"
    )
    assert choose_pooling({"head": probe(losses)}) == ("head", None)


def test_a_probe_learns_where_it_beats_answers_that_do_not_look_at_the_text() -> None:
    vectors, labels = separable(60)
    found = cross_validated(vectors, labels, CLASSES, seed=0)
    assert found.learns
    assert found.beyond is not None
    # each class has 20 of 60 rows, and 16 of 48 where a fold is left out: the blind answer is a third each
    np.testing.assert_allclose(found.beyond.mean, np.log(3) - found.losses.mean(), atol=1e-4)
    noise = np.random.default_rng(2).normal(size=(60, 6))
    assert not cross_validated(noise, labels, CLASSES, seed=0).learns


def test_copies_of_a_row_teach_nothing_about_themselves() -> None:
    """Labels by chance: with copies dealt into several folds, each is known from its copies."""
    rng = np.random.default_rng(5)
    vectors, labels = rng.normal(size=(60, 60)), rng.integers(0, 2, 60)
    alone = cross_validated(vectors, labels, TWO, seed=0)
    several, texts = (np.repeat(part, 5, axis=0) for part in (vectors, np.arange(60)))
    apart = cross_validated(several, np.repeat(labels, 5), TWO, seed=0)
    together = cross_validated(several, np.repeat(labels, 5), TWO, seed=0, groups=texts)
    assert not alone.learns
    assert not together.learns
    assert apart.learns
    assert together.scores["accuracy"] < 0.7 < apart.scores["accuracy"]
    assert not len(cross_validated(vectors[:3], labels[:3], TWO, seed=0, groups=np.zeros(3)).losses.nonzero()[0])


def test_a_single_row_compares_nothing() -> None:
    one = probe(np.array([0.5]))
    assert paired(one.losses, one.losses) is None
    assert choose_pooling({"mean": one, "head": one}) == ("mean", None)
    assert serves_apart(one, one) == (False, None)


@pytest.mark.parametrize("several", [0, 10])
def test_rows_whose_class_no_other_fold_has_judge_nothing(several: int) -> None:
    """Their losses, above 20 whatever is read, once made a margin of 2 % wide enough for a head of noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(50), np.where(np.arange(50) < several, 6, 1))
    task = Task(text=(("text",),), label="label", kind="single_label", labels=tuple(map(str, range(50))))
    centres = rng.normal(size=(50, 20))
    vectors = {
        "mean": centres[labels] + 0.3 * rng.normal(size=(len(labels), 20)),
        "head": rng.normal(size=(len(labels), 20)),
    }
    probes = {way: cross_validated(part, labels, task, seed=0) for way, part in vectors.items()}
    assert {len(found.losses) for found in probes.values()} == {6 * several}
    if several:  # the other classes are certainly wrong, and say nothing of the probe
        alone = labels < several
        same = cross_validated(vectors["mean"][alone], labels[alone], task, seed=0)
        assert probes["mean"].scores["accuracy"] > 0.9
        assert same.scores["accuracy"] > 0.9
        assert probes["mean"].learns
    pooling, difference = choose_pooling(probes)
    assert pooling == "mean"
    assert (difference is None) == (several == 0)
    assert serves_apart(probes["mean"], probes["head"])[0] == (several > 0), "joined pairs where nothing tells"
    assert choose_pooling({"head": probes["head"], "linear head": probes["mean"]}) == (
        "linear head" if several else "head",
        None,
    )


@pytest.mark.parametrize("kind", ["classes", "several", "numbers"])
def test_of_many_rows_every_class_has_some(kind: str) -> None:
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.repeat([0, 1, 2], [19_980, 12, 8]))
    labels: np.ndarray = classes
    if kind == "several":
        labels = np.eye(3, dtype=np.float32)[classes]
        labels[:3] = np.nan
    elif kind == "numbers":
        labels = classes.astype(np.float32)
    for seed in range(3):
        rows = drawn_rows(labels, seed)
        assert 5_000 <= len(rows) < 5_100
        assert len(np.unique(rows)) == len(rows)
        if kind != "numbers":
            known = np.flatnonzero(~np.isnan(labels).reshape(len(labels), -1).any(1)) if kind == "several" else rows
            wanted = set(np.flatnonzero(classes > 0)) & set(known.tolist() if kind == "several" else range(20_000))
            assert wanted <= set(rows.tolist())
    assert 900 <= len(drawn_rows(labels, 0, most=900)) < 1_000
    assert drawn_rows(labels[:900], 0).tolist() == [row for row in range(900) if kind != "several" or row > 2]
