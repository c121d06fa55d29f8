"""What learns when: names of layers, stages, and that what is frozen costs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from understudy.data.batches.bucketed import Batch
from understudy.errors import ConfigError
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.objectives.supervised import Supervised
from understudy.training.unfreeze import LearningPlan
from understudy.training.unfreeze_words import epochs_of, frozen_layers, thawing, unfreeze_faults

NAMES = ["embeddings", *(f"layer {i}" for i in range(6)), "pooler", "head"]


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


@pytest.mark.parametrize(
    ("freeze", "meant"),
    [
        (["embeddings", "0-2"], NAMES[:4]),
        (["0-5", "embeddings"], NAMES[:7]),
        (["3"], ["layer 3"]),
        (["layer 3", "2-4"], ["layer 2", "layer 3", "layer 4"]),
        (["head"], ["head"]),
        (["all-but-head"], NAMES[:-1]),
        ([], []),
    ],
)
def test_layers_by_name_number_and_range(freeze: list[str], meant: list[str]) -> None:
    assert frozen_layers(freeze, NAMES) == meant


def test_every_unknown_layer_is_named_together_with_what_there_is() -> None:
    with pytest.raises(ConfigError) as raised:
        frozen_layers(["embedings", "0-7", "5-3", "pooler", "0-99999999999"], NAMES)
    first, second, third, _ = raised.value.faults
    assert "there is no 'embedings' in this model" in first
    assert first.endswith("Did you mean 'embeddings'?")
    assert "'0-7'" in second
    assert "embeddings, layers 0-5, pooler, head" in second
    assert "'5-3'" in third
    with pytest.raises(ConfigError, match="all-but-head"):
        frozen_layers(["all-but-head"], NAMES[:-1])


@pytest.mark.parametrize("freeze", [["embeddings", "0-5", "pooler", "head"], ["all-but-head", "head"]])
def test_freezing_everything_is_refused(freeze: list[str]) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        frozen_layers(freeze, NAMES)


def test_gradual_unfreezing_adds_a_layer_a_stage_from_the_top() -> None:
    stages = thawing(["gradual"], NAMES)
    assert stages[0] == ("head",)
    assert stages[-1] == tuple(NAMES)
    assert [len(stage) for stage in stages] == list(range(1, 10))
    assert all(set(lower) < set(upper) for lower, upper in itertools.pairwise(stages))


def test_chain_thaw_is_the_new_layer_then_each_alone_then_all() -> None:
    # Felbo et al., figure 2: (a) the last layer, (b-d) one layer after another from the first on, (e) all
    assert thawing(["chain-thaw"], ["a", "b", "c", "d"]) == [
        ("d",),
        ("a",),
        ("b",),
        ("c",),
        ("a", "b", "c", "d"),
    ]


def test_numbers_count_from_the_top() -> None:
    assert thawing(["1", "2", "all"], NAMES) == [("head",), ("pooler", "head"), tuple(NAMES)]
    assert thawing(["2"], NAMES) == [("pooler", "head")]


@pytest.mark.parametrize(
    ("unfreeze", "names", "said"),
    [
        (["12", "all"], NAMES, r"only 9 groups can learn \(embeddings, layers 0-5, pooler, head\)"),
        (["9", "all"], NAMES, "numbers up to 8, then 'all'"),
        (["2", "1"], NAMES, "numbers of layers from the top that rise"),
        (["0", "all"], NAMES, "that rise"),
        (["all"], NAMES, "that rise"),
        (["all", "1"], NAMES, "that rise"),
        (["1", "1"], NAMES, "that rise"),
        (["gradualy"], NAMES, "Did you mean 'gradual'"),
        (["gradual", "all"], NAMES, "must be gradual, chain-thaw, or"),
        (["gradual"], ["head"], "only head to learn, in one stage"),
    ],
)
def test_unfreezing_that_cannot_be(unfreeze: list[str], names: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        thawing(unfreeze, names)


def test_epochs_of_stages() -> None:
    assert epochs_of([3], 4) == [3, 3, 3, 3]
    assert epochs_of([1, 2], 2) == [1, 2]
    with pytest.raises(ConfigError, match="one for each of the 3 stages, but are 2: 1 2"):
        epochs_of([1, 2], 3)
    assert unfreeze_faults([], [1]) == ["--unfreeze_epochs belongs to --unfreeze: give that too, or --epochs."]
    assert unfreeze_faults([], []) == unfreeze_faults(["gradual"], [1, 1, 1]) == []
    (fault,) = unfreeze_faults(["1", "all"], [1, 1, 1])
    assert "each of the 2 stages, but are 3" in fault


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
