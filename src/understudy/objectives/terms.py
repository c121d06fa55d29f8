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
    """Over the micro-batch, not a mean."""
    per: str
    """The count that the loop divides by, once it is known for the whole optimizer step."""


class Objective(Protocol):
    """What :func:`understudy.training.loop.fit` trains: an ``nn.Module`` with these members.

    It owns the student and whatever else learns, such as a projection between two widths.
    """

    model: Any
    """What is saved in the end."""

    @property
    def terms(self) -> Sequence[str]:
        """The names of the terms that every call returns, in order; known before any batch."""
        ...

    def __call__(self, batch: Batch) -> list[Term]:
        """The terms of one micro-batch. Each is always there; without a row it is the sum of an empty selection."""
        ...

    def parameters(self) -> Any:
        """As :meth:`torch.nn.Module.parameters`."""
        ...


def term_names(*objectives: Objective | nn.Module) -> list[str]:
    """The names of the terms of several objectives, each once, in order: the columns of ``progress.csv``."""
    return list(dict.fromkeys(name for objective in objectives for name in objective.terms))  # type: ignore[union-attr]
