"""How long to fine-tune, in which steps, at which rate and how far, where the settings leave it open: by rows, classes and size."""

from __future__ import annotations

import math
from typing import NamedTuple

_STEPS, _STEPS_A_CLASS, _MOST_EPOCHS, _FEWEST_EPOCHS = 120, 2, 20, 3
_SMALL_BATCH, _LARGE_BATCH, _MANY_ROWS = 16, 32, 5_000
_RATES = ((60_000_000, 1e-4), (200_000_000, 5e-5), (math.inf, 2e-5))
"""The largest number of parameters, and the peak rate up to there."""
_RECURRENT_RATE = 3e-3
_ENOUGH_TO_CHOOSE, _ENOUGH_FROM_PROBE = 50, 400
"""Validation rows from which they choose among the evaluations; of a transformer that begins as a probe. With fewer, the last
weights are better."""
_FEW_ROWS, _HALFWAY = 150, 0.5
"""Labelled rows up to which weights halfway between a probe and the end are better than the end."""
_PATIENT_EPOCHS = 6


class Amount(NamedTuple):
    """What was chosen."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int | None
    """Evaluations without a new best after which training ends; None for no such end."""
    chooses: bool
    """Whether the best evaluation's weights are kept, rather than the last."""
    why: str
    """In words, for the plan."""
    share: float
    """How much of the way from a probe to the end of training is kept."""


def usual_rate(parameters: int, *, recurrent: bool = False) -> float:
    """The peak rate of a pretrained model that is trained further, by its number of parameters.

    Example:
        >>> usual_rate(22_000_000), usual_rate(110_000_000), usual_rate(340_000_000)
        (0.0001, 5e-05, 2e-05)
    """
    return _RECURRENT_RATE if recurrent else next(rate for most, rate in _RATES if parameters <= most)


def training_amount(
    rows: int,
    *,
    classes: int,
    parameters: int,
    validation: int,
    recurrent: bool = False,
    adapts: bool = False,
    probed: bool = False,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Amount:
    """Epochs, batch size, peak rate and patience of a fine-tuning.

    Few rows get the number of steps that many would have: what goes wrong with few rows is mostly that training ends too
    early. Small models take, and need, higher rates. An adapter has twice the passes, because with as many as all weights have it
    ends too early; they take about a third longer, not twice as long, because nothing is computed for the gradients of the other
    weights.

    Args:
        rows: labelled training rows.
        classes: outputs of the model.
        parameters: of the model.
        validation: labelled validation rows.
        recurrent: whether it is an AWD-LSTM.
        adapts: whether only an adapter and the head learn.
        probed: whether it begins as a probe, and nobody asked for evaluations to decide.
        epochs, batch_size: taken as they are where they are given.

    References:
        Wortsman et al. 2022, arXiv 2109.01903: weights between a model that answers and what fine-tuning makes of it.
        Mosbach et al. 2021, arXiv 2006.04884; Zhang et al. 2021, arXiv 2006.05987: few-sample fine-tuning needs more steps.

    Example:
        >>> training_amount(900, classes=2, parameters=22_000_000, validation=100)[:4]
        (3, 16, 0.0001, None)
        >>> training_amount(90, classes=2, parameters=110_000_000, validation=10)[:5]
        (20, 16, 5e-05, None, False)
    """
    rate = usual_rate(parameters, recurrent=recurrent)
    size = batch_size or (_SMALL_BATCH if rows < _MANY_ROWS else _LARGE_BATCH)
    a_pass = math.ceil(max(rows, 1) / size)
    wanted = _STEPS + _STEPS_A_CLASS * classes
    several = min(max(_FEWEST_EPOCHS, math.ceil(wanted / a_pass)), _MOST_EPOCHS)
    passes = epochs or (min(2 * several, _MOST_EPOCHS) if adapts else several)
    far = probed and not adapts and not recurrent  # of others neither was measured
    chooses = validation >= (_ENOUGH_FROM_PROBE if far else _ENOUGH_TO_CHOOSE)
    share = _HALFWAY if far and rows <= _FEW_ROWS else 1.0
    patience = max(2, passes // 2) if chooses and epochs is None and passes >= _PATIENT_EPOCHS else None
    reasons = []
    if epochs is None:
        more = f"{rows:,} rows and {classes} outputs: at least {wanted} steps, but at most {_MOST_EPOCHS} passes"
        enough = f"{rows:,} rows: {several} passes are enough steps"
        reasons.append(more if several > _FEWEST_EPOCHS else enough)
        if adapts:
            reasons.append(f"of an adapter {passes}, which take about a third longer")
    if batch_size is None:
        reasons.append(f"steps of {size} rows {'below' if size == _SMALL_BATCH else 'from'} {_MANY_ROWS:,} rows")
    return Amount(passes, size, rate, patience, chooses, "; ".join(reasons), share)
