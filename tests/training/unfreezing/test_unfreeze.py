"""What learns when, in which stages, and that what is frozen costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from understudy.data.batches.contract import Batch
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.objectives.supervised import Supervised
from understudy.training.stages import Stage, may_learn
from understudy.training.unfreezing.plan import LearningPlan


@pytest.fixture(scope="module")
def bert() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    return transformers.BertForSequenceClassification(config)


@pytest.fixture
def objective(bert: Any) -> Iterator[Supervised]:
    yield Supervised(bert, "single_label")
    for parameter in bert.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 50, (4, 7), generator=generator)
    return Batch(inputs={"input_ids": ids}, counts={"rows": 4, "labelled": 4}, labels=torch.tensor([0, 1, 2, 0]))


def trainable(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_a_stage_sets_what_learns_and_builds_an_optimizer_for_that_alone(objective: Supervised, batch: Batch) -> None:
    plan = LearningPlan(objective, epochs=2, learning_rate=0.1, discriminative=2.0, unfreeze=["1", "2", "all"])
    head, pooler, everything = plan.stages(weight_decay=0.01)
    assert [(stage.name, stage.epochs) for stage in (head, pooler, everything)] == [
        ("head", 2),
        ("pooler, head", 2),
        ("all", 2),
    ]
    optimizer = pooler.optimizer()
    assert trainable(objective) == {
        f"model.{name}.{part}" for name in ("bert.pooler.dense", "classifier") for part in ("weight", "bias")
    }
    assert {group["name"]: group["initial_lr"] for group in optimizer.param_groups} == {"pooler": 0.05, "head": 0.1}
    (term,) = objective(batch)
    term.sum.backward()
    optimizer.step()
    moving = {parameter for parameter in objective.parameters() if parameter.requires_grad}
    assert set(optimizer.state) == moving  # no optimizer state for what is frozen, and no gradient either
    assert {parameter for parameter in objective.parameters() if parameter.grad is not None} == moving
    everything.optimizer()
    assert all(parameter.requires_grad for parameter in objective.parameters())


def test_below_the_lowest_layer_that_learns_there_is_no_backward_pass(objective: Supervised, batch: Batch) -> None:
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, freeze=["embeddings", "0-1"])
    (stage,) = plan.stages(weight_decay=0.0)
    stage.optimizer()
    assert plan.frozen == ["embeddings", "layer 0", "layer 1"]
    hidden = objective.model(**batch.inputs, output_hidden_states=True).hidden_states
    assert [states.grad_fn is None for states in hidden] == [True, True, True, False, False]


def test_a_frozen_layer_keeps_its_dropout(objective: Supervised, batch: Batch) -> None:
    (stage,) = LearningPlan(objective, epochs=1, learning_rate=0.1, freeze=["all-but-head"]).stages(weight_decay=0.0)
    stage.optimizer()
    objective.train()
    torch.manual_seed(0)
    one, other = (objective.model.bert(**batch.inputs).pooler_output for _ in range(2))
    assert not torch.equal(one, other)
    objective.eval()


def test_what_never_learns_by_nature_is_left_alone(objective: Supervised) -> None:
    table = objective.model.bert.embeddings.position_embeddings.weight
    table.requires_grad_(False)
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, unfreeze=["1", "all"])
    for stage in plan.stages(weight_decay=0.0):
        stage.optimizer()
        assert not table.requires_grad
    with plan.at_its_widest():
        assert not table.requires_grad
    assert not table.requires_grad


def test_frozen_layers_are_not_thawed_and_do_not_change_the_others_rates(objective: Supervised) -> None:
    plan = LearningPlan(
        objective, epochs=1, learning_rate=0.8, discriminative=2.0, freeze=["embeddings", "0"], unfreeze=["gradual"]
    )
    assert [part.name for part in plan.parts] == [
        "head",
        "pooler, head",
        "layer 3 and up",
        "layer 2 and up",
        "layer 1 and up",
    ]
    *_, last = plan.stages(weight_decay=0.0)
    rates = {group["name"]: group["lr"] for group in last.optimizer().param_groups}
    assert rates == {"layer 1": 0.05, "layer 2": 0.1, "layer 3": 0.2, "pooler": 0.4, "head": 0.8}
    assert plan.names == list(rates)


def test_a_stage_says_what_learns_in_it_whatever_requires_a_gradient_meanwhile(objective: Supervised) -> None:
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, freeze=["embeddings"], unfreeze=["1", "all"])
    first, last = plan.stages(weight_decay=0.0)
    first.optimizer()  # only the head requires a gradient now
    head = set(objective.model.classifier.parameters())
    assert set(first.learns or ()) == head
    assert set(last.learns or ()) == set(objective.parameters()) - set(objective.model.bert.embeddings.parameters())
    assert may_learn(objective, plan.stages(weight_decay=0.0)) == set(last.learns or ())
    assert may_learn(objective, [Stage("by hand", 1, first.optimizer)]) == head


def test_chain_thaw_goes_on_from_the_best_weights(objective: Supervised) -> None:
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, unfreeze=["chain-thaw"])
    assert [stage.from_best for stage in plan.stages(weight_decay=0.0)] == [False, *[True] * 7]
    gradual = LearningPlan(objective, epochs=1, learning_rate=0.1, unfreeze=["gradual"])
    assert not any(stage.from_best for stage in gradual.stages(weight_decay=0.0))


def test_the_widest_stage_is_the_one_with_most_that_learns_and_is_gone_afterwards(objective: Supervised) -> None:
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, freeze=["embeddings"], unfreeze=["1", "all"])
    with plan.at_its_widest() as learning:
        assert len(learning) == len([p for p in objective.parameters() if p.requires_grad])
        assert not any(p.requires_grad for p in objective.model.bert.embeddings.parameters())
        assert len(learning) == sum(1 for p in objective.parameters()) - 5
    assert all(p.requires_grad for p in objective.parameters())


def test_a_plain_plan_asks_nothing_of_the_architecture() -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)

    plan = LearningPlan(Unknown(), epochs=3, learning_rate=0.1)
    assert (plan.names, plan.by_layer, plan.epochs) == (["all"], False, 3)
    (stage,) = plan.stages(weight_decay=0.1, learning_rate=0.5)
    assert [group["lr"] for group in stage.optimizer().param_groups] == [0.5, 0.5]


def test_students_have_layers_too() -> None:
    model = BiLSTM(BiLSTMConfig(vocab_size=9, embedding_size=4, lstm_size=3, hidden_size=5))
    plan = LearningPlan(
        Supervised(model, "single_label"),
        epochs=1,
        learning_rate=(1e-4, 1e-2),
        unfreeze=["gradual"],
        unfreeze_epochs=[2, 1, 1],
    )
    assert plan.epochs == 4
    assert [group.learning_rate for group in plan.groups()] == [pytest.approx(rate) for rate in (1e-4, 1e-3, 1e-2)]
    assert [part.learns for part in plan.parts] == [("head",), ("layer 0", "head"), ("embeddings", "layer 0", "head")]


def test_another_optimizer_gets_the_same_groups(objective: Supervised) -> None:
    plan = LearningPlan(objective, epochs=1, learning_rate=0.1, discriminative=2.0)
    (stage,) = plan.stages(weight_decay=0.3, make=torch.optim.SGD)
    made = stage.optimizer()
    assert isinstance(made, torch.optim.SGD)
    assert {group["weight_decay"] for group in made.param_groups} == {0.3, 0.0}


@pytest.mark.parametrize("frozen", [[], ["head"], ["head", "pooler"], ["embeddings"]])
@pytest.mark.parametrize("rates", [{"learning_rate": 0.3, "discriminative": 2.0}, {"learning_rate": (1e-3, 0.1)}])
def test_the_highest_that_learns_gets_the_rate_that_a_sweep_found(
    objective: Supervised, frozen: list[str], rates: dict[str, Any]
) -> None:
    plan = LearningPlan(objective, epochs=1, freeze=frozen, **rates)
    groups = plan.groups(plan.with_highest(0.05))
    assert max(group.learning_rate for group in groups if group.name in plan.names) == pytest.approx(0.05)
    steps = [
        [high.learning_rate / low.learning_rate for low, high in pairwise(each)] for each in (groups, plan.groups())
    ]
    assert steps[0] == pytest.approx(steps[1])
