"""Averaging against a slow loop and torch's own, its trigger against the paper's algorithm, and how it is resumed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from understudy.data.batches.contract import Batch
from understudy.errors import Interrupted
from understudy.objectives.supervised import Supervised
from understudy.training.loop import fit
from understudy.training.optimizers.nt_asgd import NTASGD, Averaging
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.stages import FitResult, Stage
from understudy.training.stop import Stop


def weights(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in ((3, 2), (4,))]


def walk(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int, seed: int) -> list[torch.Tensor]:
    """Take steps along random gradients; returns the first parameter after each step."""
    generator, path = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        optimizer.step()
        path.append(parameters[0].detach().clone())
    return path


def begin(optimizer: NTASGD) -> None:
    """Give scores that make averaging begin."""
    for score in range(optimizer.interval + 1, -1, -1):
        optimizer.evaluated(float(score))
    assert optimizer.iterates == 1


def test_the_mean_is_that_of_all_weights_since_the_trigger() -> None:
    parameters = weights()
    optimizer = NTASGD(parameters, lr=0.3, weight_decay=0.0)
    before = walk(optimizer, parameters, 3, seed=1)
    begin(optimizer)
    after = walk(optimizer, parameters, 6, seed=2)
    with optimizer.averaged():
        torch.testing.assert_close(parameters[0].detach(), torch.stack([before[-1], *after]).mean(0))
    assert torch.equal(parameters[0], after[-1])


def test_steps_and_means_are_those_of_torchs_asgd() -> None:
    ours, theirs = weights(), weights()
    mine = NTASGD(ours, lr=0.3, weight_decay=0.01)
    # with lambd 0 its rate is constant and its steps are SGD; its mean begins with the weights after step t0 + 2
    reference = torch.optim.ASGD(theirs, lr=0.3, lambd=0.0, weight_decay=0.01, t0=2)
    walk(mine, ours, 4, seed=3)
    begin(mine)
    walk(mine, ours, 5, seed=4)
    walk(reference, theirs, 4, seed=3)
    walk(reference, theirs, 5, seed=4)
    torch.testing.assert_close(ours, theirs)
    with mine.averaged():
        torch.testing.assert_close(ours[0].detach(), reference.state[theirs[0]]["ax"])
        torch.testing.assert_close(ours[1].detach(), reference.state[theirs[1]]["ax"])


def test_before_the_trigger_it_is_plain_sgd() -> None:
    ours, theirs = weights(), weights()
    walk(mine := NTASGD(ours, lr=0.1, weight_decay=0.02), ours, 5, seed=1)
    walk(torch.optim.SGD(theirs, lr=0.1, weight_decay=0.02), theirs, 5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    with mine.averaged():
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize(
    ("losses", "n", "at"),
    [
        # 3.1 is worse than 3.0, the best of all but the last two before it; 3.5 and 3.2 are not compared with 3.0
        ([5.0, 4.0, 3.0, 3.5, 3.2, 3.1], 2, 5),
        ([5.0, 4.0, 3.0, 3.5, 3.2, 2.9, 2.95, 2.8], 2, None),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 5, 6),  # not before n + 1 losses are known
        ([3.0, 3.0, 3.0, 3.0], 1, None),  # equal is not worse
        ([3.0, 2.0, 2.5, 1.0], 1, None),
        ([3.0, 2.0, 3.5, 1.0], 1, 2),  # averaging does not end
    ],
)
def test_the_trigger_on_losses_by_hand(losses: list[float], n: int, at: int | None) -> None:
    optimizer = NTASGD(weights(), lr=0.1, interval=n)
    fired = []
    for t, loss in enumerate(losses):
        optimizer.evaluated(-loss)
        fired += [t] if optimizer.iterates else []
    assert (fired or [None])[0] == at


@settings(deadline=None, derandomize=True, max_examples=60)
@given(losses=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), max_size=14), n=st.integers(1, 5))
def test_the_trigger_is_the_papers(losses: list[float], n: int) -> None:
    def algorithm_1() -> int | None:
        logs: list[float] = []
        for t, v in enumerate(losses):
            if t > n and v > min(logs[i] for i in range(t - n)):
                return t
            logs.append(v)
        return None

    optimizer = NTASGD(weights(), lr=0.1, interval=n)
    fired = None
    for t, loss in enumerate(losses):
        optimizer.evaluated(-loss)
        fired = t if fired is None and optimizer.iterates else fired
    assert fired == algorithm_1()


@pytest.mark.parametrize("cut", [2, 9])
def test_saved_and_loaded_it_goes_on_with_the_same_bits(cut: int) -> None:
    def run(optimizer: NTASGD, parameters: list[nn.Parameter], first: int, last: int) -> None:
        for i in range(first, last):
            walk(optimizer, parameters, 1, seed=i)
            optimizer.evaluated([5.0, 3.0, 4.0, 4.5, 4.2, 4.0, 3.0, 2.0, 1.0][i % 9])

    whole, begun = weights(), weights()
    run(undisturbed := NTASGD(whole, lr=0.1, interval=2), whole, 0, 12)
    run(killed := NTASGD(begun, lr=0.1, interval=2), begun, 0, cut)
    file = io.BytesIO()
    torch.save(killed.state_dict(), file)
    file.seek(0)
    resumed = NTASGD(begun, lr=0.1, interval=2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    run(resumed, begun, cut, 12)
    assert undisturbed.iterates == resumed.iterates > 1
    assert undisturbed.scores == resumed.scores
    for a, b in zip(whole, begun):
        assert torch.equal(a, b)
        assert torch.equal(undisturbed.state[a]["mean"], resumed.state[b]["mean"])


def test_the_weights_come_back_in_place_whatever_happens_meanwhile() -> None:
    parameters = weights()
    optimizer = NTASGD(parameters, lr=0.1)
    begin(optimizer)
    walk(optimizer, parameters, 2, seed=1)
    own, places = [p.detach().clone() for p in parameters], [p.data_ptr() for p in parameters]

    def evaluate() -> None:
        with optimizer.averaged():
            assert not torch.equal(parameters[0], own[0])
            raise KeyError

    with pytest.raises(KeyError):
        evaluate()
    assert all(torch.equal(a, b) for a, b in zip(parameters, own))
    assert [p.data_ptr() for p in parameters] == places


def test_the_loop_can_tell_it_from_others() -> None:
    assert isinstance(NTASGD(weights(), lr=0.1), Averaging)
    assert not isinstance(torch.optim.SGD(weights(), lr=0.1), Averaging)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="interval must be positive"):
        NTASGD(weights(), lr=0.1, interval=0)


class Toy(nn.Module):
    """A linear classifier that looks like a transformers model."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.drop, self.linear = nn.Dropout(0.2), nn.Linear(4, 3)

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.linear(self.drop(input_ids)))


class Rows:
    """Sixteen steps of four rows; a signal comes before step `stops_at`."""

    def __init__(self, stop: Stop | None = None, stops_at: int = -1) -> None:
        self.stop, self.stops_at = stop, stops_at

    def steps(self, epoch: int) -> int:
        return 16

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        generator = torch.Generator().manual_seed(5)
        x = torch.randn(64, 4, generator=generator)
        for i in range(start, 16):
            if self.stop and i == self.stops_at:
                self.stop.signal_number = 15
            rows = x[4 * i : 4 * i + 4]
            counts = {"rows": 4, "labelled": 4}
            yield [Batch(inputs={"input_ids": rows}, counts=counts, labels=(rows.sum(-1) > 0).long())]


SCORES = dict(zip(range(2, 18, 2), [0.1, 0.5, 0.4, 0.3, 0.45, 0.6, 0.9, 0.2]))
"""Scores by step. With an interval of one, averaging begins at step 8: 0.3 is worse than 0.5, two evaluations before."""


def train(folder: Path, model: Toy, batches: Rows, seen: list[torch.Tensor], **options: object) -> FitResult:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    log = ProgressLog(folder / "progress.csv", progress_columns(["label_loss"], ["accuracy"]))
    made: list[NTASGD] = []
    walked: list[torch.Tensor] = []

    class Recording(NTASGD):
        def step(self, closure: object = None) -> None:
            super().step(closure)
            walked.append(model.linear.weight.detach().clone())

    def optimizer() -> NTASGD:
        groups = [{"params": list(model.parameters()), "lr": 0.5, "initial_lr": 0.5}]
        made.append(Recording(groups, lr=0.5, interval=1))
        return made[0]

    def evaluate(given: nn.Module) -> dict[str, float]:
        seen.append(given.linear.weight.detach().clone())  # type: ignore[union-attr, operator]
        step = 2 * len(seen)
        assert made[0].iterates == max(0, step - 8 + 1 if step > 8 else 0)
        if not options.get("resume"):  # a resumed run has not seen all steps
            assert len(walked) == step
            torch.testing.assert_close(seen[-1], torch.stack(walked[-max(1, made[0].iterates) :]).mean(0))
        return {"accuracy": SCORES[step]}

    stages = [Stage("all", 1, optimizer)]
    return fit(
        Supervised(model, "single_label"),
        batches,
        stages,
        folder=folder,
        log=log,
        evaluate=evaluate,
        metric="accuracy",
        eval_steps=2,
        **options,  # type: ignore[arg-type]
    )


def test_the_loop_evaluates_and_keeps_the_mean(tmp_path: Path) -> None:
    model, seen = Toy(), list[torch.Tensor]()
    result = train(tmp_path, model, Rows(), seen)
    assert (result.steps, result.best_step, result.metrics) == (16, 14, {"accuracy": 0.9})
    assert torch.equal(model.linear.weight, seen[6])
    assert len(seen) == 8


@pytest.mark.parametrize("stops_at", [4, 8, 11])
def test_stopped_by_a_signal_and_resumed_the_mean_has_the_same_bits(tmp_path: Path, stops_at: int) -> None:
    whole, seen = Toy(), list[torch.Tensor]()
    undisturbed = train(tmp_path / "whole", whole, Rows(), seen)
    stop, begun, again = Stop(), Toy(), list[torch.Tensor]()
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", begun, Rows(stop, stops_at), again, stop=stop)
    resumed = Toy()
    result = train(tmp_path / "cut", resumed, Rows(), again, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(seen, again))
    assert torch.equal(whole.linear.weight, resumed.linear.weight)
    assert (result.best_step, result.metrics) == (undisturbed.best_step, undisturbed.metrics)
