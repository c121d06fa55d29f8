"""Schedules against transformers, torch and the ULMFiT paper's equation."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from understudy.training.schedules import (
    constant,
    cosine,
    linear,
    one_cycle,
    one_cycle_momentum,
    slanted_triangular,
)

TOTALS = [1, 2, 3, 10, 97]


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(linear, get_linear_schedule_with_warmup), (cosine, get_cosine_schedule_with_warmup)]
)
def test_as_transformers(ours, theirs, total: int, warmup: float) -> None:
    optimizer = _optimizer()
    rising = min(math.ceil(total * warmup), total - 1)  # otherwise a run of one step would learn nothing
    reference = theirs(optimizer, num_warmup_steps=rising, num_training_steps=total)
    for step in range(total):
        assert ours(step, total, warmup=warmup) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()
    assert ours(total, total, warmup=warmup) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("total", [2, 3, 10, 97])
@pytest.mark.parametrize("pct_start", [0.25, 0.3, 0.77])
def test_one_cycle_as_torch(total: int, pct_start: float) -> None:
    optimizer = _optimizer()
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=total,
        pct_start=pct_start,
        div_factor=10.0,
        final_div_factor=50.0,
        base_momentum=0.8,
        max_momentum=0.9,
    )
    for step in range(total):
        group = optimizer.param_groups[0]
        assert one_cycle(step, total, div=10, final_div=50, pct_start=pct_start) == pytest.approx(
            group["lr"], abs=1e-12
        )
        momentum = one_cycle_momentum(step, total, high=0.9, low=0.8, pct_start=pct_start)
        assert momentum == pytest.approx(group["momentum"], abs=1e-12)
        optimizer.step()
        if step < total - 1:
            reference.step()


def test_one_cycle_where_torch_divides_by_zero() -> None:
    assert one_cycle(0, 10, pct_start=0.1) == 1.0
    assert one_cycle(10, 10) == one_cycle(9, 10) == pytest.approx(1 / 25e4)
    assert one_cycle(0, 1) == 1.0


@pytest.mark.parametrize("total", [50, 100, 1000])
def test_slanted_triangular_is_equation_3(total: int) -> None:
    cut_frac, ratio = 0.1, 32
    cut = math.floor(total * cut_frac)
    for t in range(total):
        if t < cut:
            p = t / cut
        else:
            p = 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        assert slanted_triangular(t, total) == pytest.approx((1 + p * (ratio - 1)) / ratio, abs=1e-12)


@pytest.mark.parametrize("total", [1, 2, 5, 19, 29])
def test_slanted_triangular_never_falls_below_its_floor(total: int) -> None:
    values = [slanted_triangular(step, total) for step in range(total + 1)]
    assert min(values) == 1 / 32
    assert max(values) == 1.0


def test_constant_is_one() -> None:
    assert [constant(step, 5) for step in range(6)] == [1.0] * 6


@pytest.mark.parametrize("schedule", [constant, linear, cosine, slanted_triangular, one_cycle, one_cycle_momentum])
@pytest.mark.parametrize(("step", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_steps_outside_are_refused(schedule, step: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"are {step} and {total}"):
        schedule(step, total)


def test_options_outside_are_refused() -> None:
    with pytest.raises(ValueError, match=r"warmup must lie between 0 and 1, but is 1\.5"):
        linear(0, 5, warmup=1.5)
    with pytest.raises(ValueError, match="cut_frac must lie between 0 and 1, but is 0"):
        slanted_triangular(0, 5, cut_frac=0)
    with pytest.raises(ValueError, match=r"ratio must be at least 1, but is 0\.5"):
        slanted_triangular(0, 5, ratio=0.5)
    with pytest.raises(ValueError, match="div and final_div must be positive"):
        one_cycle(0, 5, div=0)
    with pytest.raises(ValueError, match="pct_start must lie between 0 and 1, but is 2"):
        one_cycle(0, 5, pct_start=2)
