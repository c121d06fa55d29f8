"""The sweep against training by hand and against closed forms, and that it leaves no trace."""

from __future__ import annotations

import copy
import itertools
import math
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from understudy.data.batches.contract import Batch
from understudy.errors import ConfigError, Interrupted
from understudy.objectives.terms import Term
from understudy.training.lr_finder.suggestion import suggest
from understudy.training.lr_finder.sweep import sweep
from understudy.training.optimizers.lazy_adamw import LazyAdamW
from understudy.training.stop import Stop


class Bowl(nn.Module):
    """Half a squared distance to the origin, each direction with a curvature of its own."""

    def __init__(self, *curvatures: float) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.place = nn.Parameter(torch.full((len(curvatures),), 3.0, dtype=torch.float64))
        self.curvatures = torch.tensor(curvatures, dtype=torch.float64)

    def forward(self, batch: Batch) -> list[Term]:
        return [Term("loss", 1.0, 0.5 * (self.curvatures * self.model.place.square()).sum(), per="rows")]


class One:
    """Always the same single row, three steps an epoch."""

    def steps(self, epoch: int) -> int:
        return 3

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        for _ in range(3):
            yield [Batch(inputs={}, counts={"rows": 1})]


def sgd(module: nn.Module, lr: float = 1.0, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": list(module.parameters()), "lr": lr, "initial_lr": lr}], **options)


@pytest.mark.parametrize("curvature", [1.0, 7.0, 50.0, 300.0, 2000.0])
def test_on_a_bowl_the_suggestion_lies_within_a_factor_of_three_of_the_best_rate(curvature: float) -> None:
    bowl = Bowl(curvature)
    found = suggest(sweep(bowl, One(), sgd(bowl), clip=0.0))
    best = 1 / curvature  # one step of gradient descent reaches the bottom
    assert best / 3 < found.rate < best * 3
    assert found.cap is None
    assert found.warning() is None


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_on_an_elongated_bowl_too(scale: float) -> None:
    curvatures = [scale * 2**-i for i in range(5)]
    bowl = Bowl(*curvatures)
    found = suggest(sweep(bowl, One(), sgd(bowl), clip=0.0))
    best = 2 / (curvatures[0] + curvatures[-1])  # the constant rate with the smallest worst factor a step
    assert best / 3 < found.rate < best * 3


def test_a_new_start_for_the_rates_of_all_groups_leaves_the_suggestion_alone() -> None:
    bowls = [Bowl(10.0), Bowl(10.0)]
    found = [suggest(sweep(bowl, One(), sgd(bowl, lr), clip=0.0)).rate for bowl, lr in zip(bowls, (1e-5, 20.0))]
    assert found[0] == pytest.approx(found[1])


class Regression(nn.Module):
    """Least squares with everything that has state or draws numbers: dropout, norms, a recurrent state, buffers."""

    def __init__(self, dropout: float = 0.3, noise: float = 1e-3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.noise = noise
        self.model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(dropout), nn.Linear(6, 1))
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.register_buffer("replaced", torch.zeros(2))
        self.carried: list[torch.Tensor] = [torch.tensor([0.5])]

    def get_extra_state(self) -> dict[str, Any]:
        return {"carried": self.carried}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.carried = state["carried"]

    def forward(self, batch: Batch) -> list[Term]:
        x, y = batch.inputs["x"], batch.inputs["y"]
        self.seen += len(x)
        self.replaced = torch.ones(len(x))
        self.carried[0].mul_(0.9).add_(x.mean())
        self.carried.append(x[0])
        noise = self.noise * (np.random.rand() + random.random())  # noqa: NPY002
        return [Term("loss", 1.0, (self.model(x).squeeze(-1) - y).square().sum() * (1 + noise), per="rows")]


class Pairs:
    """Two micro-batches of different sizes a step."""

    def steps(self, epoch: int) -> int:
        return 4

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        generator = torch.Generator().manual_seed(epoch)
        x = torch.randn(40, 4, generator=generator)
        y = x.sum(-1)
        for i in range(0, 40, 10):
            parts = [slice(i, i + 3), slice(i + 3, i + 10)]
            yield [Batch(inputs={"x": x[p], "y": y[p]}, counts={"rows": len(x[p])}) for p in parts]


def everything(objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy(
        {
            "state": objective.state_dict(),
            "buffers": dict(objective.named_buffers()),
            "gradients": [p.grad for p in objective.parameters()],
            "learns": [p.requires_grad for p in objective.parameters()],
            "modes": [m.training for m in objective.modules()],
            "optimizer": optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),  # noqa: NPY002
            "python": random.getstate(),
        }
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def used(objective: nn.Module) -> LazyAdamW:
    """An optimizer that has taken steps; the gradients of the last one are still there."""
    parameters = list(objective.parameters())
    parameters[0].requires_grad_(False)
    groups = [{"params": parameters[1:3], "name": "low"}, {"params": parameters[3:], "name": "high"}]
    optimizer = LazyAdamW([{**group, "lr": 1e-3, "initial_lr": 2e-3} for group in groups], fused=True)
    for window in Pairs().windows(9):
        objective(window[0])[0].sum.backward()
        optimizer.step()
    objective.model[1].eval()
    return optimizer


@pytest.mark.parametrize("ends", ["divergence", "a signal", "an error", "the time"])
def test_everything_is_put_back_bit_by_bit(ends: str) -> None:
    objective = Regression()
    optimizer = used(objective)
    before, parameters = everything(objective, optimizer), list(objective.parameters())
    moved = []
    step = LazyAdamW.step

    def counted(self: LazyAdamW, closure: Any = None) -> Any:
        moved.append(not torch.equal(parameters[-1], before["state"]["model.3.bias"]))
        if ends == "an error" and len(moved) == 20:
            raise ZeroDivisionError
        return step(self, closure)

    optimizer.step = counted.__get__(optimizer)  # type: ignore[method-assign]
    stop = Stop()
    if ends == "a signal":
        stop.signal_number = 15
    error = {"a signal": Interrupted, "an error": ZeroDivisionError, "the time": ConfigError}.get(ends)
    budget_s = 0.0 if ends == "the time" else None
    if error is None:
        assert sweep(objective, Pairs(), optimizer, highest=1e4).diverged
    else:
        with pytest.raises(error):
            sweep(objective, Pairs(), optimizer, stop=stop, budget_s=budget_s)
    assert moved[-1] or ends in ("a signal", "the time")
    after = everything(objective, optimizer)
    assert [key for key in before if not same(before[key], after[key])] == []
    assert all(a is b for a, b in zip(parameters, objective.parameters()))
    assert not hasattr(objective, "_original_forward")


def test_tables_with_sparse_gradients_are_put_back_too() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Embedding(10, 2, sparse=True)

        def forward(self, batch: Batch) -> list[Term]:
            words = (batch.inputs["x"] * 3).long().abs().clamp(max=9)
            return [Term("loss", 1.0, (self.model(words) - 1).square().sum(), per="rows")]

    torch.manual_seed(0)
    objective = Table()
    optimizer = LazyAdamW([{"params": list(objective.parameters()), "lr": 0.1, "initial_lr": 0.1}], fused=True)
    before = everything(objective, optimizer)
    curve = sweep(objective, Pairs(), optimizer, steps=40)
    assert curve.losses.max() > 1.2 * curve.losses.min()  # it did train
    assert same(before, everything(objective, optimizer))


def test_training_goes_on_as_if_there_had_been_no_sweep() -> None:
    ends = []
    for looks in (False, True):
        objective = Regression()
        torch.manual_seed(7), np.random.seed(7), random.seed(7)  # noqa: NPY002
        optimizer = used(objective)
        if looks:
            sweep(objective, Pairs(), optimizer, steps=30)
        for window in Pairs().windows(1):
            optimizer.zero_grad()
            objective(window[0])[0].sum.backward()
            optimizer.step()
        ends.append(everything(objective, optimizer))
    assert same(*ends)


def test_its_steps_are_those_of_the_loop_with_rates_that_grow() -> None:
    objective, reference = (Regression(dropout=0.0, noise=0.0).double() for _ in range(2))
    low, high = [*objective.model[0].parameters()], [*objective.model[3].parameters()]
    seen = []

    class Recording(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    groups = [{"params": low, "lr": 0.2, "initial_lr": 0.2}, {"params": high, "lr": 0.5, "initial_lr": 0.5}]
    pairs = Doubles()
    curve = sweep(objective, pairs, Recording(groups), lowest=1e-4, highest=1e-2, steps=20, clip=0.7)
    rates = [1e-4 * 100 ** (i / 19) for i in range(20)]
    assert seen == [pytest.approx([0.4 * rate, rate]) for rate in rates]

    losses = []
    learns = [*reference.model[0].parameters(), *reference.model[3].parameters()]
    windows = (window for epoch in range(9) for window in pairs.windows(epoch))
    for rate, window in zip(rates, windows):
        rows = sum(batch.counts["rows"] for batch in window)
        loss = sum(reference(batch)[0].sum for batch in window) / rows
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, learns)
        norm = torch.stack([g.norm() for g in gradients]).norm()
        with torch.no_grad():
            for i, (parameter, gradient) in enumerate(zip(learns, gradients)):
                parameter -= (0.4 if i < 2 else 1.0) * rate * gradient * min(1.0, 0.7 / (norm.item() + 1e-6))
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-6)  # terms are added up in float32
    np.testing.assert_allclose(curve.rates, rates)


class Doubles(Pairs):
    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        for window in super().windows(epoch, start):
            for batch in window:
                batch.inputs = {name: tensor.double() for name, tensor in batch.inputs.items()}
            yield window


def test_it_stops_where_the_average_loss_is_four_times_its_best() -> None:
    bowl = Bowl(20.0)
    curve = sweep(bowl, One(), sgd(bowl), clip=0.0)
    assert curve.diverged
    assert len(curve.rates) < curve.planned == 100
    best = np.minimum.accumulate(curve.smoothed)
    assert (curve.smoothed > 4 * best).tolist() == [False] * (len(curve.rates) - 1) + [True]


def test_a_loss_that_is_no_number_ends_it_and_a_first_one_is_an_error() -> None:
    class Breaks(Bowl):
        def forward(self, batch: Batch) -> list[Term]:
            self.model.calls = getattr(self.model, "calls", 0) + 1
            (term,) = super().forward(batch)
            return [term._replace(sum=term.sum * (math.nan if self.model.calls == self.at else 1.0))]

    bowl = Breaks(0.01)
    bowl.at = 31
    curve = sweep(bowl, One(), sgd(bowl))
    assert (len(curve.rates), curve.diverged, bool(np.isfinite(curve.losses).all())) == (30, True, True)
    bowl = Breaks(0.01)
    bowl.at = 1
    with pytest.raises(ConfigError, match="loss is nan before the first step"):
        sweep(bowl, One(), sgd(bowl))


def test_a_sweep_ends_with_its_time_unless_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("understudy.training.lr_finder.sweep.time", clock)
    bowl = Bowl(0.01)
    with pytest.raises(ConfigError, match=r"ended after 6 of 20 steps of the sweep\. Name a --learning_rate, or give"):
        sweep(bowl, One(), sgd(bowl), highest=1e-3, steps=20, budget_s=5.5)
    assert len(sweep(bowl, One(), sgd(bowl), highest=1e-3, steps=20, budget_s=19.5).rates) == 20
