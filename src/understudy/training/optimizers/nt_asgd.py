"""SGD that begins to average its weights when the validation score stops improving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from understudy.training.optimizers.trigger import INTERVAL, averaging_begins


@runtime_checkable
class Averaging(Protocol):
    """An optimizer whose result is a mean of the weights of several steps, as the loop uses it."""

    def evaluated(self, score: float) -> None:
        """Take note of the score of an evaluation; higher is better."""
        ...

    def averaged(self) -> AbstractContextManager[None]:
        """Inside ``with``, the parameters have the averaged values, to be evaluated and saved."""
        ...


class NTASGD(torch.optim.SGD):
    r"""Non-monotonically triggered averaged SGD.

    All steps are plain SGD. Averaging begins at an evaluation whose score is worse than the best of all but the last n
    scores before it (:func:`.trigger.averaging_begins`), and goes on until the end of training:

    .. math:: \bar w = \frac{1}{K - T + 1} \sum_{i=T}^{K} w_i

    where T is the step of that evaluation and K the latest step. Buffers are not averaged. Use a constant learning
    rate: with a rate that falls to zero, the mean is little more than the last weights.

    Args:
        params: parameters or groups, as for any optimizer of torch.
        lr: learning rate; 30 in the paper, with gradients clipped to a 2-norm of 0.25.
        weight_decay: added to the gradient (not decoupled), so that the learning rate multiplies it.
        interval: n, the evaluations that may pass without a new best before averaging begins.

    Raises:
        ValueError: if the interval is not positive.

    Reference:
        Merity, Keskar & Socher 2018, ICLR, arXiv 1708.02182, section 3, algorithm 1.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([4.0]))
        >>> optimizer = NTASGD([weight], lr=1.0, weight_decay=0.0, interval=1)
        >>> for score in (2.0, 1.0, 1.5):  # the third is worse than the first, and the second does not count
        ...     optimizer.evaluated(score)
        >>> for _ in range(2):
        ...     weight.grad = torch.tensor([1.0])
        ...     _ = optimizer.step()
        >>> with optimizer.averaged():
        ...     weight.item()
        3.0
        >>> weight.item()
        2.0
    """

    def __init__(self, params: ParamsT, lr: float, *, weight_decay: float = 1.2e-6, interval: int = INTERVAL) -> None:
        if interval < 1:
            raise ValueError(f"interval must be positive, but is {interval}")
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.interval = interval
        self.scores: list[float] = []
        """Scores of the evaluations before averaging began."""
        self.iterates = 0
        """How many weights are in the mean, K - T + 1; 0 before averaging begins."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One SGD update. Once averaging has begun, the new weights enter the mean."""
        result = super().step(closure)
        if self.iterates:
            self.iterates += 1
            torch._foreach_lerp_(self._means(), self._parameters(), 1 / self.iterates)
        return result

    def evaluated(self, score: float) -> None:
        """Take note of the score of an evaluation (higher is better), and begin to average if it says so."""
        if self.iterates:
            return
        if averaging_begins(self.scores, score, interval=self.interval):
            self.iterates = 1
            for parameter in self._parameters():
                self.state[parameter]["mean"] = parameter.detach().clone()
        self.scores.append(score)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside ``with``, the parameters have the averaged values; before averaging begins, their own."""
        if not self.iterates:
            yield
            return
        parameters = self._parameters()
        own = [parameter.detach().clone() for parameter in parameters]
        try:
            _fill(parameters, self._means())
            yield
        finally:
            _fill(parameters, own)

    def state_dict(self) -> dict[str, Any]:
        """The state of SGD with the means, and the scores so far."""
        return super().state_dict() | {"scores": list(self.scores), "iterates": self.iterates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state_dict)
        self.scores, self.iterates = list(state_dict["scores"]), state_dict["iterates"]

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _means(self) -> list[Tensor]:
        return [self.state[parameter]["mean"] for parameter in self._parameters()]


def nt_asgd(groups: list[dict[str, Any]]) -> NTASGD:
    """:class:`NTASGD` over groups that have learning rates and weight decays of their own."""
    return NTASGD(groups, lr=groups[0]["lr"])


@torch.no_grad()
def _fill(parameters: list[Tensor], values: list[Tensor]) -> None:
    # in place, because cuDNN wants the weights of an LSTM in one block of memory
    for parameter, value in zip(parameters, values):
        parameter.copy_(value)
