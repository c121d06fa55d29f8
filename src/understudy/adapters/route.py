"""Which of an encoder's adapters compute."""

from __future__ import annotations

from torch import Tensor


class Route:
    """Which adapters the states pass through: one stack for all rows, or for each row an adapter of its own.

    All sites of an encoder have the same one.
    """

    def __init__(self) -> None:
        self.stack: tuple[str, ...] = ()
        """Names in the order in which the adapters are applied; empty for the encoder alone."""
        self.names: tuple[str, ...] = ()
        """The adapters of a mixed batch; empty where there is a stack."""
        self.numbers: Tensor | None = None
        """For each row of a mixed batch the number of its adapter among the names; -1 for none, ``(rows,)``."""

    def through(self, *stack: str) -> None:
        """All rows pass through these adapters, one after the other."""
        self.stack, self.names, self.numbers = stack, (), None

    def by_row(self, names: tuple[str, ...], numbers: Tensor) -> None:
        """Each row passes through the adapter of its number; through none where the number is -1."""
        self.stack, self.names, self.numbers = (), names, numbers
