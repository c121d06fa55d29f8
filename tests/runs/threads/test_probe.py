"""A step is measured on several numbers of threads, and nothing is left behind."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, mse_loss

from understudy.data.batches.contract import Batch
from understudy.objectives.terms import Term
from understudy.runs.threads import probe
from understudy.runs.threads.probe import fewest_of_the_fast, step_seconds
from understudy.training.unfreezing.plan import LearningPlan


class Remembering(nn.Module):
    """A model with dropout, running statistics, and a state from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)
        self.seen, self.modes, self.threads = 0, list[bool](), list[int]()

    def get_extra_state(self) -> int:
        return self.seen

    def set_extra_state(self, state: int) -> None:
        self.seen = state

    def forward(self, values: Tensor) -> Tensor:
        self.seen += 1
        self.modes.append(self.training)
        self.threads.append(torch.get_num_threads())
        random.random()
        np.random.rand()  # noqa: NPY002
        return self.last(dropout(self.norm(self.first(values)), 0.5, self.training))


class Objective(nn.Module):
    terms = ("distance",)

    def __init__(self) -> None:
        super().__init__()
        self.model = Remembering()

    def forward(self, batch: Batch) -> list[Term]:
        out = self.model(batch.inputs["values"])
        return [Term("distance", 1.0, mse_loss(out, torch.ones_like(out), reduction="sum"), per="rows")]


class Batches:
    def steps(self, epoch: int) -> int:
        return 6

    def windows(self, epoch: int, start: int = 0):  # type: ignore[no-untyped-def]
        return iter([[Batch(inputs={"values": torch.randn(5, 4)}, counts={"rows": 5})] for _ in range(6)])

    def padding_ratio(self) -> float:
        return 1.0


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_HOPELESS", float("inf"))
    torch.manual_seed(0)
    objective, batches = Objective(), Batches()
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1)
    model = objective.model.eval()
    some = [window[0] for window in batches.windows(0)]
    monkeypatch.setattr(batches, "windows", lambda epoch, start=0: iter([[batch] for batch in some]))
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    generators = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002

    found = step_seconds(plan, batches, [1, 2, 3])

    assert list(found) == [3, 2, 1]
    assert all(seconds > 0 for seconds in found.values())
    assert set(model.threads) == {1, 2, 3}
    assert torch.get_num_threads() == 1
    assert all(model.modes)
    assert not any(module.training for module in model.modules())
    assert model.seen == 0
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.random.get_state()[1].tolist() == generators[1][1].tolist()  # type: ignore[index] # noqa: NPY002
    assert random.getstate() == generators[2]


def test_numbers_that_are_clearly_too_low_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Slow(Objective):
        def forward(self, batch: Batch) -> list[Term]:
            clock[0] += {16: 1.0, 8: 1.1, 4: 2.0}[torch.get_num_threads()]  # two would need a very long time
            return super().forward(batch)

    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock[0])
    plan = LearningPlan(Slow(), epochs=1, learning_rate=0.1)
    found = step_seconds(plan, Batches(), [1, 2, 4, 8, 16])
    assert found == pytest.approx({16: 1.0, 8: 1.1, 4: 2.0})
    assert fewest_of_the_fast(found) == 8


def test_contenders_take_turns_and_a_long_step_is_not_measured_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], list[int]()

    class Slow(Objective):
        def forward(self, batch: Batch) -> list[Term]:
            clock[0] += 10.0
            order.append(torch.get_num_threads())
            return super().forward(batch)

    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock[0])
    plan = LearningPlan(Slow(), epochs=1, learning_rate=0.1)
    assert step_seconds(plan, Batches(), [1, 2]) == pytest.approx({2: 10.0, 1: 10.0})
    assert order == [2, 1, 2, 1]
