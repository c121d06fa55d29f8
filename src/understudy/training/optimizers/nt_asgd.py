"""SGD that begins to average its weights where the validation score stops getting better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

INTERVAL = 5
"""Evaluations that may pass without a new best (the paper's n)."""


@runtime_checkable
class Averaging(Protocol):
    """An optimizer whose result is a mean of the weights it went through: what the loop asks of it."""

    def evaluated(self, score: float) -> None:
        """Hear of an evaluation; more is better."""
        ...

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the parameters are the mean: to be evaluated, kept and shipped."""
        ...


class NTASGD(torch.optim.SGD):
    r"""Non-monotonically triggered averaged SGD.

    Plain SGD steps throughout. At an evaluation whose score v is worse than the best of all but the last n before it,
    averaging begins, for good:

    .. math:: t > n \;\wedge\; v < \max_{l < t - n} v_l, \qquad \bar w = \frac{1}{K - T + 1} \sum_{i=T}^{K} w_i

    where T is the step of that evaluation and K the step reached. The trigger is the one of the authors' code and of
    the conference's version of the paper; the first preprint has the last n for all but the last n, a slip that the
    authors own to (github.com/salesforce/awd-lstm-lm, issue 13).

    Buffers are not averaged. It is meant for a constant learning rate: a mean over steps that die away is their last.

    Args:
        params: as any optimizer of torch takes them.
        lr: learning rate; 30 in the paper, with gradients clipped to a 2-norm of 0.25.
        weight_decay: added to the gradient, not decoupled, so that it is multiplied by the large rate.
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
        """Of the evaluations before averaging began."""
        self.iterates = 0
        """How many weights are in the mean, K - T + 1; 0 as long as there is none."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One SGD update; the new weights enter the mean once there is one."""
        result = super().step(closure)
        if self.iterates:
            self.iterates += 1
            torch._foreach_lerp_(self._means(), self._parameters(), 1 / self.iterates)
        return result

    def evaluated(self, score: float) -> None:
        """Hear of an evaluation (more is better), and begin to average if it shows that the time has come."""
        if self.iterates:
            return
        if len(self.scores) > self.interval and score < max(self.scores[: -self.interval]):
            self.iterates = 1
            for parameter in self._parameters():
                self.state[parameter]["mean"] = parameter.detach().clone()
        self.scores.append(score)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the parameters are the mean; before averaging has begun, themselves."""
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
        """The state of SGD, the means, and what the trigger has heard."""
        return super().state_dict() | {"scores": list(self.scores), "iterates": self.iterates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self.scores, self.iterates = list(state_dict["scores"]), state_dict["iterates"]

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _means(self) -> list[Tensor]:
        return [self.state[parameter]["mean"] for parameter in self._parameters()]


def nt_asgd(groups: list[dict[str, Any]]) -> NTASGD:
    """:class:`NTASGD` over groups that have rates and decays of their own."""
    return NTASGD(groups, lr=groups[0]["lr"])


@torch.no_grad()
def _fill(parameters: list[Tensor], values: list[Tensor]) -> None:
    # in place: the weights of an LSTM lie in one block of memory, which cuDNN wants to find whole
    for parameter, value in zip(parameters, values):
        parameter.copy_(value)
