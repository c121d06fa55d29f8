"""How long to fine-tune: a table, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.runs.fitting.amount import training_amount

SMALL, BASE, LARGE = 22_000_000, 110_000_000, 335_000_000


@pytest.mark.parametrize(
    ("rows", "classes", "parameters", "epochs", "batch_size", "rate"),
    [
        (14, 2, SMALL, 20, 16, 1e-4),
        (90, 2, SMALL, 20, 16, 1e-4),
        (900, 2, SMALL, 3, 16, 1e-4),
        (900, 77, SMALL, 5, 16, 1e-4),
        (900, 2, BASE, 3, 16, 5e-5),
        (900, 2, LARGE, 3, 16, 2e-5),
        (9_000, 4, BASE, 3, 32, 5e-5),
        (1_000_000, 4, BASE, 3, 32, 5e-5),
    ],
)
def test_what_is_chosen(rows: int, classes: int, parameters: int, epochs: int, batch_size: int, rate: float) -> None:
    found = training_amount(rows, classes=classes, parameters=parameters, validation=rows // 10)
    assert (found.epochs, found.batch_size, found.learning_rate) == (epochs, batch_size, rate)
    assert found.why


@pytest.mark.parametrize(
    ("rows", "validation", "others", "chooses", "share"),
    [
        (90, 10, {}, False, 0.5),
        (150, 399, {}, False, 0.5),
        (151, 399, {}, False, 1.0),
        (4_000, 400, {}, True, 1.0),
        (90, 50, {"adapts": True}, True, 1.0),
        (90, 50, {"recurrent": True}, True, 1.0),
    ],
)
def test_how_far_from_a_probe(rows: int, validation: int, others: dict[str, bool], chooses: bool, share: float) -> None:
    found = training_amount(rows, classes=2, parameters=SMALL, validation=validation, probed=True, **others)
    assert (found.chooses, found.share) == (chooses, share)
    assert training_amount(rows, classes=2, parameters=SMALL, validation=validation, **others).share == 1.0


def test_few_validation_rows_choose_nothing() -> None:
    few, many = (training_amount(90, classes=2, parameters=SMALL, validation=rows) for rows in (10, 300))
    assert (few.chooses, few.patience) == (False, None)
    assert many.chooses
    assert many.patience
    assert training_amount(900, classes=2, parameters=SMALL, validation=100, recurrent=True).learning_rate == 3e-3


@given(rows=st.integers(1, 10**6), classes=st.integers(1, 500), epochs=st.integers(1, 50), size=st.integers(1, 500))
def test_numbers_given_are_taken_as_they_are(rows: int, classes: int, epochs: int, size: int) -> None:
    found = training_amount(rows, classes=classes, parameters=BASE, validation=rows, epochs=epochs, batch_size=size)
    assert (found.epochs, found.batch_size, found.patience) == (epochs, size, None)


@given(rows=st.integers(1, 10**5), classes=st.integers(1, 500))
def test_more_rows_never_take_fewer_steps_than_a_third(rows: int, classes: int) -> None:
    def steps(count: int) -> int:
        found = training_amount(count, classes=classes, parameters=BASE, validation=0)
        return found.epochs * -(-count // found.batch_size)

    assert steps(2 * rows) * 3 >= steps(rows)
    assert training_amount(rows, classes=classes, parameters=BASE, validation=0).epochs >= 3


def test_an_adapter_has_twice_the_passes() -> None:
    whole, adapter = (
        training_amount(2500, classes=2, parameters=SMALL, validation=250, adapts=adapts) for adapts in (False, True)
    )
    assert (whole.epochs, adapter.epochs) == (3, 6)
    assert whole.patience is None
    assert adapter.patience == 3
    assert "of an adapter 6, which take about a third longer" in adapter.why
    assert training_amount(90, classes=2, parameters=SMALL, validation=10, adapts=True).epochs == 20
    assert training_amount(2500, classes=2, parameters=SMALL, validation=250, adapts=True, epochs=3).epochs == 3
