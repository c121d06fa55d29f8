"""What makes a toy run quick: no plots, costs measured on a few texts; where it is asked for, penalties of two folds."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

_QUICK, _FOLDS = "UNDERSTUDY_TESTS_QUICK", "UNDERSTUDY_TESTS_FOLDS"
"""The environment variables that ask it of processes that are forked too: they must end with the same bits."""


def ask(patch: pytest.MonkeyPatch) -> None:
    """No plots and little measuring, in this process and in those that are forked for it."""
    patch.setenv(_QUICK, "1")
    _draw_and_measure_little(patch.setattr)


def ask_for_two_folds(patch: pytest.MonkeyPatch) -> None:
    """Probes and linear models that choose their penalty over two folds: five are most of a toy run's time."""
    patch.setenv(_FOLDS, "2")
    _fold_twice(patch.setattr)


def begin_if_asked() -> None:
    """Do it in a forked process if it was asked of the one that wants it."""
    if _QUICK in os.environ:
        _draw_and_measure_little(setattr)
    if _FOLDS in os.environ:
        _fold_twice(setattr)


def in_this_process(run: Any, recipe: Any, members: Any, *, parallel: int, budget_s: float | None) -> Any:
    """Takes the place of ``run_apart``: the runs of a family one after another, without processes of their own."""
    from understudy.runs.seeds import run_members

    return run_members(run, recipe, members)


def _draw_and_measure_little(put: Callable[[Any, str, Any], None]) -> None:
    from understudy.evaluation import cost
    from understudy.report import plots

    put(plots, "draw_all", lambda folder, record: [])
    put(cost, "measure", partial(cost.measure, latency_texts=2, throughput_texts=8, warmup=1))


def _fold_twice(put: Callable[[Any, str, Any], None]) -> None:
    from understudy.models import linear

    put(linear, "FOLDS", 2)
