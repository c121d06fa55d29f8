"""Stages of the loop: what continues from one to the next, what restarts, and that a kill changes neither."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn import functional as F
from toys import Rows, read, rewrite, rows

from understudy.data.batches.contract import Batch
from understudy.errors import ConfigError, Interrupted
from understudy.objectives.supervised import Supervised
from understudy.training import loop
from understudy.training.loop import fit
from understudy.training.progress.log import ProgressLog, progress_columns
from understudy.training.schedules import linear, one_cycle, one_cycle_momentum
from understudy.training.stages import FitResult, Stage
from understudy.training.stop import Stop

HALVES = ("low", "head")


class Deep(nn.Module):
    """Two layers with dropout between, in the shape of a transformers model."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.head, self.dropout = nn.Linear(4, 6), nn.Linear(6, 3), nn.Dropout(0.3)

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.dropout(self.low(input_ids).tanh())))


def deep(dtype: torch.dtype = torch.float32) -> Deep:
    torch.manual_seed(1)
    return Deep().to(dtype)


def stage(
    model: Deep, *learns: str, epochs: int = 1, kind: Callable[..., Any] = torch.optim.AdamW, **options: Any
) -> Stage:
    """A stage in which these halves learn, the lower one at half the rate."""

    def begin() -> torch.optim.Optimizer:
        for name in HALVES:
            getattr(model, name).requires_grad_(name in learns)
        rates = {"low": 0.05, "head": 0.1}
        return kind(
            [
                {
                    "params": list(getattr(model, name).parameters()),
                    "lr": rates[name],
                    "initial_lr": rates[name],
                    "name": name,
                }
                for name in learns
            ]
        )

    return Stage(" and ".join(learns), epochs, begin, **options)


def train(folder: Path, model: Deep, source: Any, stages: list[Stage], **options: Any) -> FitResult:
    folder.mkdir(exist_ok=True)
    columns = progress_columns(["label_loss"], ["accuracy"], groups=HALVES, momentum=True)
    log = ProgressLog(folder / "progress.csv", columns)
    options = {"clip": 0.0} | options
    return fit(Supervised(model, "single_label"), source, stages, folder=folder, log=log, **options)


def scripted(scores: list[float]) -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation that returns these scores, one after the other."""
    told = iter(scores)
    return lambda model: {"accuracy": next(told)}


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values()):
        assert torch.equal(mine, theirs), name


# head alone for an epoch of 4 steps, both for two, head again: 16 steps
PLAN: list[dict[str, Any]] = [
    {"learns": ["head"], "epochs": 1},
    {"learns": ["low", "head"], "epochs": 2},
    {"learns": ["head"], "epochs": 1, "from_best": True},
]


def planned(model: Deep) -> list[Stage]:
    return [
        stage(model, *part["learns"], epochs=part["epochs"], from_best=part.get("from_best", False)) for part in PLAN
    ]


class Options:
    """Options of the training that is resumed; the scores are fixed, in the order of the evaluations."""

    def __init__(self, patience: int | None) -> None:
        self.calls = 0
        self.patience = patience

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.calls += 1
        return {"accuracy": {1: 0.1, 2: 0.5, 4: 0.6}.get(self.calls, 0.3)}

    def __call__(self) -> dict[str, Any]:
        return {
            "evaluate": self.evaluate,
            "metric": "accuracy",
            "eval_steps": 2,
            "schedule": linear,
            "patience": self.patience,
            "clip": 1.0,
        }


@pytest.fixture(scope="module", params=[None, 1])
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int | None, Path, Deep, FitResult]:
    """A run that is not stopped; with patience its second stage ends at step 6, in the middle of an epoch."""
    model, folder = deep(), tmp_path_factory.mktemp("whole")
    torch.manual_seed(5)
    result = train(
        folder, model, Rows(*rows(64, dtype=torch.float32), [4, 12]), planned(model), **Options(request.param)()
    )
    assert result.epochs == (4 if request.param is None else 3)
    ends = ["epochs", "epochs", "epochs"] if request.param is None else ["epochs", "patience", "patience"]
    assert [part["stopped_by"] for part in result.stages] == ends
    return request.param, folder, model, result


@pytest.mark.parametrize("dies_at", [1, 4, 6, 7, 10])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(
    tmp_path: Path, dies_at: int, undisturbed: tuple[int | None, Path, Deep, FitResult]
) -> None:
    """The first stage ends at step 4."""
    patience, folder, whole, expected = undisturbed
    source, options = Rows(*rows(64, dtype=torch.float32), [4, 12]), Options(patience)
    taken = itertools.count(1)

    class Dies(Rows):
        def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
            for window in super().windows(epoch, start):
                if next(taken) == dies_at:
                    stop.signal_number = signal.SIGTERM
                yield window

    stop, begun = Stop(), deep()
    torch.manual_seed(5)
    with pytest.raises(Interrupted):
        train(tmp_path, begun, Dies(source.x, source.y, [4, 12]), planned(begun), stop=stop, **options())
    resumed = deep()
    torch.manual_seed(99)  # a new process has another state of the generator
    result = train(tmp_path, resumed, source, planned(resumed), resume=True, **options())
    assert_same(resumed, whole)
    kept = ("steps", "epochs", "rows", "best_step", "metrics", "stopped_by", "stages")
    assert [getattr(result, key) for key in kept] == [getattr(expected, key) for key in kept]
    scored = [
        [(row["epoch"], row["step"]) for row in read(where / "progress.csv") if row["validation_accuracy"]]
        for where in (folder, tmp_path)
    ]
    assert scored[0] == scored[1]


def test_a_parameter_that_stays_keeps_its_moments_and_a_new_one_begins_without(tmp_path: Path) -> None:
    x, y = rows(64)
    model, by_hand = deep(torch.float64), deep(torch.float64)
    for toy in (model, by_hand):
        toy.dropout.p = 0.0
    train(tmp_path, model, Rows(x, y, [16]), [stage(model, "head"), stage(model, "low", "head")])
    # AdamW treats each parameter alone: the head's optimizer continues, the lower layer gets a new one
    head, low = (
        torch.optim.AdamW(by_hand.head.parameters(), lr=0.1),
        torch.optim.AdamW(by_hand.low.parameters(), lr=0.05),
    )
    for epoch, optimizers in enumerate([[head], [head, low]]):
        for (batch,) in Rows(x, y, [16]).windows(epoch):
            by_hand.zero_grad()
            F.cross_entropy(by_hand(**batch.inputs).logits, batch.labels).backward()
            for optimizer in optimizers:
                optimizer.step()
    for (name, mine), theirs in zip(model.state_dict().items(), by_hand.state_dict().values()):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


def test_what_is_frozen_stands_still_and_has_neither_gradient_nor_state(tmp_path: Path) -> None:
    x, y = rows(64, dtype=torch.float32)
    model = deep()
    before = weights(model)
    states: list[set[str]] = []
    gradients: list[set[str]] = []

    class Watching(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:
            super().step(closure)
            names = {parameter: name for name, parameter in model.named_parameters()}
            states.append({names[parameter] for parameter in self.state})
            gradients.append({name for name, parameter in model.named_parameters() if parameter.grad is not None})

    stages = [stage(model, *learns, kind=Watching) for learns in (["low", "head"], ["head"])]
    train(tmp_path, model, Rows(x, y, [16]), stages)
    both, head = {"low.weight", "low.bias", "head.weight", "head.bias"}, {"head.weight", "head.bias"}
    assert states == gradients == [both] * 4 + [head] * 4
    assert not torch.equal(model.low.weight, before["low.weight"])
    again = deep()
    train(tmp_path / "head", again, Rows(x, y, [16]), [stage(again, "head")])
    assert torch.equal(again.low.weight, before["low.weight"])


def test_another_kind_of_optimizer_begins_anew(tmp_path: Path) -> None:
    x, y = rows(32, dtype=torch.float32)
    model = deep()
    seen: list[dict[str, Any]] = []

    class Recording(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.append({key for known in self.state.values() for key in known})  # type: ignore[arg-type]
            super().step(closure)

    train(tmp_path, model, Rows(x, y, [16]), [stage(model, "head"), stage(model, "head", kind=Recording)])
    assert seen[0] == set()  # no state of AdamW


def test_the_schedule_begins_anew_and_every_groups_rate_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.training.progress.reporter._EVERY_S", 0.0)
    x, y = rows(64, dtype=torch.float32)
    model = deep()
    train(
        tmp_path,
        model,
        Rows(x, y, [16]),
        [stage(model, "head"), stage(model, "low", "head", epochs=2)],
        schedule=linear,
    )
    found = read(tmp_path / "progress.csv")
    expected = [0.1 * linear(i, 4) for i in range(4)] + [0.1 * linear(i, 8) for i in range(8)]
    assert [float(row["learning_rate_head"]) for row in found] == pytest.approx(expected)
    assert [row["learning_rate"] for row in found] == [row["learning_rate_head"] for row in found]
    assert [row["learning_rate_low"] for row in found[:4]] == [""] * 4  # frozen
    assert [float(row["learning_rate_low"]) for row in found[4:]] == pytest.approx([rate / 2 for rate in expected[4:]])
    assert [row["epoch"] for row in found] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4


def test_momentum_cycles_as_under_torchs_one_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.training.progress.reporter._EVERY_S", 0.0)
    x, y = rows(64)
    model, by_hand = deep(torch.float64), deep(torch.float64)
    for toy in (model, by_hand):
        toy.dropout.p = 0.0
    source = Rows(x, y, [8])
    options = {"schedule": one_cycle, "momentum": one_cycle_momentum}
    train(tmp_path, model, source, [stage(model, "low", "head", epochs=2)], **options)
    reference = torch.optim.AdamW([{"params": by_hand.low.parameters()}, {"params": by_hand.head.parameters()}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(reference, max_lr=[0.05, 0.1], total_steps=16)
    momenta = []
    for (batch,) in itertools.chain(source.windows(0), source.windows(1)):
        momenta.append(reference.param_groups[0]["betas"][0])
        reference.zero_grad()
        F.cross_entropy(by_hand(**batch.inputs).logits, batch.labels).backward()
        reference.step()
        schedule.step() if len(momenta) < 16 else None
    torch.testing.assert_close(model.low.weight, by_hand.low.weight, rtol=1e-5, atol=1e-8)
    assert [float(row["momentum"]) for row in read(tmp_path / "progress.csv")] == pytest.approx(momenta)
    assert min(momenta) == pytest.approx(0.85, abs=0.01)


def test_momentum_of_sgd_is_set_too(tmp_path: Path) -> None:
    x, y = rows(64, dtype=torch.float32)
    model = deep()
    seen: list[float] = []

    class Recording(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.extend(group["momentum"] for group in self.param_groups)
            super().step(closure)

    train(tmp_path, model, Rows(x, y, [16]), [stage(model, "head", kind=Recording)], momentum=one_cycle_momentum)
    assert seen == [one_cycle_momentum(i, 4) for i in range(4)]


def test_the_best_of_all_stages_is_kept(tmp_path: Path) -> None:
    x, y = rows(32, dtype=torch.float32)
    model = deep()
    kept: list[dict[str, torch.Tensor]] = []
    told = scripted([0.1, 0.9, 0.3, 0.8])

    def evaluate(scored: nn.Module) -> dict[str, float]:
        kept.append(weights(scored))
        return told(scored)

    stages = [stage(model, "head", epochs=2), stage(model, "low", "head", epochs=2)]
    result = train(tmp_path, model, Rows(x, y, [16]), stages, evaluate=evaluate, metric="accuracy")
    assert (result.best_step, result.metrics, result.steps) == (4, {"accuracy": 0.9}, 8)
    assert torch.equal(model.head.weight, kept[1]["head.weight"])
    assert torch.equal(model.low.weight, kept[0]["low.weight"])


def test_what_a_later_stage_unfroze_goes_back_to_the_best_too(tmp_path: Path) -> None:
    """The best evaluation is that of the first stage, in which the lower half was frozen."""
    x, y = rows(32, dtype=torch.float32)
    model, begun = deep(), weights(deep())
    stages = [stage(model, "head"), stage(model, "low", "head"), stage(model, "head")]
    result = train(tmp_path, model, Rows(x, y, [16]), stages, evaluate=scripted([0.9, 0.1, 0.1]), metric="accuracy")
    assert result.best_step == 2
    assert torch.equal(model.low.weight, begun["low.weight"])
    assert not torch.equal(model.head.weight, begun["head.weight"])


def test_a_stage_that_trains_what_was_frozen_at_first_must_name_it(tmp_path: Path) -> None:
    x, y = rows(32, dtype=torch.float32)
    model = deep()
    model.low.requires_grad_(False)
    with pytest.raises(ValueError, match="'low' trains parameters that are frozen at first; name them in `learns`"):
        train(tmp_path, model, Rows(x, y, [16]), [stage(model, "head"), stage(model, "low")])
    model = deep()
    model.low.requires_grad_(False)
    named = [stage(model, "head"), stage(model, "low", learns=list(model.low.parameters()))]
    assert train(tmp_path, model, Rows(x, y, [16]), named).steps == 4


def test_patience_ends_a_stage_and_the_next_has_its_own(tmp_path: Path) -> None:
    x, y = rows(32, dtype=torch.float32)
    model = deep()
    stages = [
        stage(model, "head", epochs=9),
        stage(model, "low", "head", epochs=9),
        stage(model, "low", "head", epochs=2),
    ]
    scores = [0.5, 0.4, 0.3, *(0.2, 0.6, 0.1, 0.1), *(0.1, 0.1)]
    result = train(tmp_path, model, Rows(x, y, [16]), stages, evaluate=scripted(scores), metric="accuracy", patience=2)
    assert result.stages == [
        {"name": "head", "steps": 6, "stopped_by": "patience"},
        {"name": "low and head", "steps": 8, "stopped_by": "patience"},
        {"name": "low and head", "steps": 4, "stopped_by": "patience"},
    ]
    assert (result.best_step, result.steps, result.epochs, result.stopped_by) == (10, 18, 9, "patience")


def test_a_stage_may_begin_with_the_best_weights(tmp_path: Path) -> None:
    x, y = rows(32, dtype=torch.float32)
    best: dict[bool, Any] = {}
    begun: dict[bool, Any] = {}
    for from_best in (True, False):
        model = deep()
        told = scripted([0.9, 0.1, 0.1])

        def evaluate(scored: nn.Module, told: Any = told, from_best: bool = from_best) -> dict[str, float]:
            best.setdefault(from_best, weights(scored))
            return told(scored)

        def watch(window: Any, model: Deep = model, from_best: bool = from_best) -> None:
            begun.setdefault(from_best, weights(model))

        class Source(Rows):
            def windows(self, epoch: int, start: int = 0, watch: Any = watch) -> Iterator[list[Batch]]:
                for window in super().windows(epoch, start):
                    if epoch == 2:
                        watch(window)
                    yield window

        stages = [stage(model, "head", epochs=2), stage(model, "low", from_best=from_best)]
        train(tmp_path / str(from_best), model, Source(x, y, [16]), stages, evaluate=evaluate, metric="accuracy")
    assert torch.equal(begun[True]["head.weight"], best[True]["head.weight"])
    assert not torch.equal(begun[False]["head.weight"], best[False]["head.weight"])


def test_a_budget_is_shared_by_the_steps_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second. The first stage has 4 of the 16 steps, so it gets 3 of the 12 seconds."""
    x, y = rows(64, dtype=torch.float32)
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(Rows):
        def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
            for window in super().windows(epoch, start):
                clock[0] += seconds
                yield window

    model = deep()
    seconds = 1.0
    stages = [stage(model, "head", epochs=1), stage(model, "low", "head", epochs=3)]
    result = train(tmp_path / "short", model, Slow(x, y, [16]), stages, budget_s=11.9)
    assert [part["steps"] for part in result.stages] == [3, 9]  # 2.975 s of 11.9 s, then the rest
    assert result.stopped_by == "time budget"
    assert result.epochs == 1 + 2  # a stage begins a new epoch

    clock[0] = 0.0
    result = train(tmp_path / "enough", model, Slow(x, y, [16]), stages, budget_s=16.5)
    assert [part["steps"] for part in result.stages] == [4, 12]
    assert result.stopped_by == "epochs"

    clock[0], seconds = 0.0, 100.0
    result = train(tmp_path / "none", model, Slow(x, y, [16]), stages, budget_s=1.0)
    assert [part["steps"] for part in result.stages] == [1]  # no time for a second stage


def test_what_was_learnt_since_the_last_evaluation_counts_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a second, four are an epoch, and the score rises: the sixth step's weights are the best."""
    x, y = rows(64, dtype=torch.float32)
    clock, scores = [0.0], [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(Rows):
        def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
            for window in super().windows(epoch, start):
                clock[0] += 1.0
                yield window

    def evaluate(model: nn.Module) -> dict[str, float]:
        scores[0] += 1.0
        return {"accuracy": scores[0]}

    given: dict[str, Any] = {"evaluate": evaluate, "metric": "accuracy"}
    model = deep()
    stages = [stage(model, "head", epochs=3)]
    result = train(tmp_path / "cut", model, Slow(x, y, [16]), stages, budget_s=5.5, **given)
    assert (result.steps, result.best_step, result.metrics) == (6, 6, {"accuracy": 2.0})

    clock[0], scores[0], model = 0.0, 0.0, deep()
    stages = [stage(model, "head", epochs=3), stage(model, "low", "head")]
    result = train(tmp_path / "two", model, Slow(x, y, [16]), stages, budget_s=5.5, **given)
    assert result.stages[0] == {"name": "head", "steps": 5, "stopped_by": "time budget"}
    assert scores[0] == 3.0  # at the end of an epoch, of the first stage, and of the second


def test_a_training_that_reached_its_end_was_not_ended_by_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rows(64, dtype=torch.float32)
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def evaluate(model: nn.Module) -> dict[str, float]:
        clock[0] += 100.0
        return {"accuracy": 1.0}

    model, given = deep(), {"evaluate": evaluate, "metric": "accuracy", "budget_s": 50.0}
    result = train(tmp_path / "one", model, Rows(x, y, [16]), [stage(model, "head", epochs=1)], **given)
    assert (result.steps, result.stopped_by) == (4, "epochs")
    model = deep()
    stages = [stage(model, "head", epochs=1), stage(model, "low", "head", epochs=1)]
    result = train(tmp_path / "two", model, Rows(x, y, [16]), stages, **given)
    assert [part["stopped_by"] for part in result.stages] == ["time budget"]  # there was none for the second


@pytest.fixture
def half_precision() -> Iterator[Accelerator]:
    """Autocast to bf16; the settings of accelerate are global, so they are put back."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True, mixed_precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_every_stage_computes_in_mixed_precision_wrapped_once(tmp_path: Path, half_precision: Accelerator) -> None:
    x, y = rows(32, dtype=torch.float32)
    model = deep()
    objective = Supervised(model, "single_label")
    depth: list[int] = []
    seen: list[torch.dtype] = []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))

    def wrappers() -> int:
        function: Any = objective.forward
        count = 0
        while hasattr(function, "__wrapped__"):
            function, count = function.__wrapped__, count + 1
        return count

    class Watching(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:
            depth.append(wrappers())
            super().step(closure)

    stages = [stage(model, *learns, kind=Watching) for learns in (["head"], ["low", "head"], ["head"])]
    log = ProgressLog(tmp_path / "progress.csv", progress_columns(["label_loss"]))
    fit(objective, Rows(x, y, [16]), stages, folder=tmp_path, log=log, accelerator=half_precision)
    assert set(depth) == {depth[0]}
    assert depth[0] > 0
    assert set(seen) == {torch.bfloat16}


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    x, y = rows(64, dtype=torch.float32)
    stop = Stop()
    stop.signal_number = signal.SIGTERM
    model = deep()
    with pytest.raises(Interrupted):
        train(tmp_path, model, Rows(x, y, [16]), planned(model), stop=stop)
    path = tmp_path / "train.pt"
    rewrite(path, torch.load(path, weights_only=True) | {"format": 1})
    with pytest.raises(ConfigError, match="written by another version of understudy"):
        train(tmp_path, model, Rows(x, y, [16]), planned(model), resume=True)
