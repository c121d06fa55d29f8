"""Whether a training was worth it: what it ends with against what it began with, on the validation rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import higher_is_better, scored_rows

_RESAMPLES = 400
_USUAL_GAIN, _SPREAD_OF_GAINS = 0.02, 0.03
"""What fine-tuning gains over its probe, as known before: two points, give or take three. Where not even the probe learns, no
gain is to be expected: with 100 labels of CoLA, training lost 6 points to the probe, which ten validation rows do not show."""

_CLEAR = 2.0
"""Standard errors of a loss that counts whatever gain is usual."""
_MOST_ERROR = 0.5
"""Of shares no error is larger; that of a mean square has no bound, and a large one would excuse any loss."""


class Worth(NamedTuple):
    """A comparison of two models on the same rows."""

    gain: float
    """How much better the end scores than the start; of ``mse``, as a share of the labels' variance."""
    error: float
    """The standard error of the gain over resampled rows, and at least one row's share of it."""
    needed: float
    """The gain from which the end is kept; not above 0."""
    metric: str

    @property
    def keeps_end(self) -> bool:
        """Whether the end is kept."""
        return self.gain > self.needed

    def on_record(self) -> dict[str, Any]:
        """The gain and its error; of ``mse`` also what they are shares of."""
        shares = {"gain_of": "the labels' variance"} if self.metric == "mse" else {}
        return {"gain": self.gain, "gain_error": self.error, **shares}

    def said(self, rows: int) -> str:
        """What a training did that is not kept.

        Example:
            >>> Worth(-0.1786, 0.0512, 0.0, "mse").said(40)
            "lost 0.179 ± 0.051 of the labels' variance in mse on 40 validation rows"
        """
        if self.metric == "mse":
            return f"lost {abs(self.gain):.3f} ± {self.error:.3f} of the labels' variance in mse on {rows:,} validation rows"
        return f"changed {self.metric} on {rows:,} validation rows by {self.gain:+.3f} ± {self.error:.3f}"


def worth(
    start: np.ndarray, end: np.ndarray, labels: np.ndarray, metric: str, *, learns: bool = True, seed: int = 0
) -> Worth:
    r"""Compare the end of a training with its start.

    Few validation rows say little, and training usually helps. So the end is kept if the gain that is to be expected after
    seeing these rows is above zero: with a usual gain :math:`m \pm \tau` and an observed gain :math:`g` of standard error
    :math:`e`,

    .. math:: \frac{m / \tau^2 + g / e^2}{1 / \tau^2 + 1 / e^2} > 0 \iff g > -m\,e^2 / \tau^2

    With many rows the error vanishes, and any loss counts. A loss of more than two errors counts whatever was expected. A draw keeps the end, unless m is 0. The error is at least that of
    one row in all, so that a draw on a handful of rows is no proof.

    Args:
        start, end: logits ``(rows, outputs)``.
        labels: rows without one are left out.
        metric: a key of :data:`understudy.functional.metrics.METRICS`. Of ``mse``, what counts is its share of the variance.
        learns: whether the start is shown to be better than answers that do not look at the text; else :math:`m = 0`.
        seed: of the resampling.

    Example:
        >>> labels = np.array([0, 1] * 20)
        >>> sure, unsure = np.eye(2)[labels], np.zeros((40, 2))
        >>> worth(unsure, sure, labels, "accuracy").keeps_end, worth(sure, unsure, labels, "accuracy").keeps_end
        (True, False)
    """
    (start, known), (end, _) = scored_rows(start, labels), scored_rows(end, labels)
    one, other = resampler(metric, start, known), resampler(metric, end, known)
    sign = 1.0 if higher_is_better(metric) else -1.0
    if metric == "mse":
        sign /= float(np.var(known)) or 1.0
    everything = np.ones((1, len(known)))
    gain = sign * float((other(everything) - one(everything))[0])
    blocks = resample_counts(len(known), resamples=_RESAMPLES, seed=seed)
    error = float(np.concatenate([other(counts) - one(counts) for counts in blocks]).std()) * abs(sign)
    if not np.array_equal(start, end):  # a handful of rows on which both are right does not make the gain certain
        error = max(error, 1 / len(known))
    error = min(error, _MOST_ERROR)
    usual = _USUAL_GAIN if learns else 0.0
    needed = max(-usual * error**2 / _SPREAD_OF_GAINS**2, -_CLEAR * error)
    return Worth(gain, error, needed, metric)
