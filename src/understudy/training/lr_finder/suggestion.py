"""The learning rate that the curve of a sweep suggests, and where it is not to be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from understudy.adapters.inject import encoder_tensors
from understudy.errors import ConfigError
from understudy.models.structure.layers import base_model
from understudy.training.lr_finder.curve import Curve, memory

TRANSFORMER_CAP = 1e-4
"""The highest learning rate that is suggested for the pretrained blocks of a transformer under Adam.

A sweep has about a hundred steps. It shows how the loss falls, but not what the model forgets. For pretrained
transformers it points to about 1e-3, where long training fails or ends worse (huggingface/transformers, issue 16013;
Mosbach et al. 2021, arXiv 2006.04884). The authors of base models fine-tune with at most 1e-4: 2e-5 to 5e-5 for BERT
(Devlin et al. 2019, appendix A.3), 1e-5 to 3e-5 for RoBERTa (Liu et al. 2019, arXiv 1907.11692, table 10), 1e-4 for
ELECTRA (Clark et al. 2020, arXiv 2003.10555, appendix B).
"""

_HALF_WINDOW = 0.05
"""A slope is taken over this share of the sweep to either side."""

_SURE = 3.0
"""The average loss counts as falling if it falls by so many of its standard errors."""


@dataclass(frozen=True)
class Suggestion:
    """The learning rates that a curve suggests for the highest group.

    Attributes:
        steepest: the rate at which the average loss falls fastest.
        tenth: a tenth of the rate at which the average loss is lowest.
        cap: the highest rate that may be suggested; None for no limit.
    """

    steepest: float
    tenth: float
    cap: float | None = None

    @property
    def between(self) -> float:
        """The geometric mean of ``steepest`` and ``tenth``."""
        return float(np.sqrt(self.steepest * self.tenth))

    @property
    def rate(self) -> float:
        """The rate to train with: :attr:`between`, but at most the cap; to two digits."""
        rate = self.between if self.cap is None else min(self.between, self.cap)
        return float(f"{rate:.1e}")

    def warning(self) -> str | None:
        """A warning if the cap lowers the suggestion; else None."""
        if self.cap is None or self.between <= self.cap:
            return None
        return (
            f"the sweep points to a learning rate of {self.between:.1e}, but on pretrained transformers it overshoots: "
            f"{self.cap:.0e} is suggested instead. Name a rate with --learning_rate to go beyond."
        )


def suggest(curve: Curve, *, cap: float | None = None) -> Suggestion:
    r"""Suggest a learning rate from a curve.

    .. math:: \eta_{steep} = \arg\min_\eta \frac{d \bar\ell}{d \log \eta}, \qquad
              \eta_{tenth} = \tfrac1{10} \arg\min_\eta \bar\ell(\eta)

    The slope is that of the least-squares line over a twentieth of the sweep to either side; between neighbours it
    would be the noise of single batches. It is taken from where the average has its full memory, up to the minimum. On
    a quadratic bowl the first rate is too low, and lower with more steps, because the loss has fallen before. The second
    depends on how early divergence shows. The suggestion lies between them.

    Args:
        curve: of a sweep.
        cap: the highest rate to suggest; None for no limit.

    Raises:
        ConfigError: if the loss did not fall, or if the curve is too short to tell.

    Reference:
        Smith 2017, arXiv 1506.01186, section 3.3 (the sweep); both rates are those of fast.ai's course.
    """
    start = round(memory(curve.planned))
    lowest = start + int(curve.smoothed[start:].argmin()) if len(curve.rates) > start else 0
    if lowest <= start + 1 or curve.smoothed[start] - curve.smoothed[lowest] < _SURE * _noise(curve, start):
        raise ConfigError(
            f"the loss did not fall while the learning rate went from {curve.rates[0]:.0e} to {curve.rates[-1]:.0e}: "
            "there is no rate to suggest. Begin lower or take more steps (understudy lr-find has --lowest and --steps), "
            "or name a --learning_rate."
        )
    half, logs = max(1, round(_HALF_WINDOW * curve.planned)), np.log(curve.rates)

    def slope(i: int) -> float:
        window = slice(max(0, i - half), i + half + 1)
        return float(np.polyfit(logs[window], curve.smoothed[window], 1)[0])

    steepest = min(range(start, lowest + 1), key=slope)
    return Suggestion(steepest=float(curve.rates[steepest]), tenth=float(curve.rates[lowest]) / 10, cap=cap)


def _noise(curve: Curve, start: int) -> float:
    """The standard error of the average loss, from the first losses, when nothing has been learned yet."""
    return float(np.std(curve.losses[:start]) / np.sqrt(start))


def rate_cap(model: nn.Module, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> float | None:
    """:data:`TRANSFORMER_CAP` if Adam trains pretrained blocks of a transformer; else None, for no limit.

    There is no limit if only a new head or an adapter learns, for this package's own architectures, and for plain SGD.

    Args:
        model: the model to train.
        parameters: all that learn in any stage.
        optimizer: the optimizer, for its class.
    """
    base = base_model(model)
    foreign = isinstance(base, PreTrainedModel) and not base.config.model_type.startswith("understudy_")
    if not (isinstance(optimizer, torch.optim.Adam) and foreign):
        return None
    own = {tensor.data_ptr() for _, tensor in encoder_tensors(model)}
    return TRANSFORMER_CAP if any(parameter.data_ptr() in own for parameter in parameters) else None
