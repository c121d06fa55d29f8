"""The contract between an objective and the loop: a batch in, a list of terms out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from understudy.data.batches.contract import Batch


class Term(NamedTuple):
    """One summand of an objective: ``weight * sum / count``, where ``per`` names the count of the batch."""

    name: str
    """A column of ``progress.csv``."""
    weight: float
    sum: Tensor
    """The sum over the micro-batch, not a mean."""
    per: str
    """The name of the count that the loop divides by; the loop adds it up over the whole optimizer step."""


class Objective(Protocol):
    """What :func:`understudy.training.loop.fit` trains: an ``nn.Module`` with these members.

    It owns the student and everything else that learns, such as a projection between two widths.
    """

    model: Any
    """The model that is saved at the end."""

    @property
    def terms(self) -> Sequence[str]:
        """The names of the terms that every call returns, in order. They are known before any batch."""
        ...

    def __call__(self, batch: Batch) -> list[Term]:
        """The terms of one micro-batch, all of them; a term without a row is the sum of an empty selection."""
        ...

    def parameters(self) -> Any:
        """As :meth:`torch.nn.Module.parameters`."""
        ...


def term_names(*objectives: Objective | nn.Module) -> list[str]:
    """The names of the terms of several objectives, each once and in order: the columns of ``progress.csv``."""
    return list(dict.fromkeys(name for objective in objectives for name in objective.terms))  # type: ignore[union-attr]
