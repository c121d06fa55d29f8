"""Batches at another pace: the same windows, counted in epochs of other lengths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from understudy.data.batches.bucketed import PacedBatches


class Numbered:
    """Three windows an epoch, each with its own name."""

    def steps(self, epoch: int) -> int:
        return 3

    def windows(self, epoch: int, start: int = 0) -> Iterator[str]:
        return iter([f"{epoch}{letter}" for letter in "abc"[start:]])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_another_pace_changes_no_window_and_not_their_order(steps: int) -> None:
    paced = PacedBatches(Numbered(), steps)  # type: ignore[arg-type]
    own = [f"{epoch}{letter}" for epoch in range(12) for letter in "abc"]
    found = [window for epoch in range(4) for window in paced.windows(epoch)]
    assert found == own[: 4 * steps]
    assert paced.steps(2) == steps
    for start in range(steps):
        assert list(paced.windows(2, start)) == own[2 * steps + start : 3 * steps]
