"""Parameter groups and their learning rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from torch import nn

from understudy.errors import ConfigError
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.training.optimizers.groups import Group, build_optimizer, layer_rates, layers_of, parameter_groups


class Whole(nn.Module):
    """An objective with a model and a layer of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.projection = nn.Linear(3, 2)


def test_a_group_is_cut_in_two_and_frozen_parameters_are_in_neither() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    groups = [Group("low", list(model[:2].parameters()), 0.01), Group("high", list(model[2].parameters()), 0.1)]
    made = parameter_groups(model, groups, weight_decay=0.05)
    assert [(g["name"], g["weight_decay"], g["lr"], g["initial_lr"], len(g["params"])) for g in made] == [
        ("low", 0.0, 0.01, 0.01, 3),
        ("high", 0.05, 0.1, 0.1, 1),
        ("high", 0.0, 0.1, 0.1, 1),
    ]
    frozen = [Group("low", [model[0].weight], 0.01)]
    assert parameter_groups(model, frozen, weight_decay=0.05) == []


def test_building_an_optimizer_needs_no_layers() -> None:
    (group,) = build_optimizer(nn.Embedding(10, 4, sparse=True), learning_rate=0.1).param_groups
    assert (group["name"], group["weight_decay"]) == ("all", 0.01)


def test_what_an_objective_learns_itself_belongs_to_the_last_layer() -> None:
    objective = Whole(StaticBag(StaticConfig(vocab_size=9, embedding_size=4, hidden_size=0)))
    embeddings, head = layers_of(objective)
    assert [name for name, _ in (embeddings, head)] == ["embeddings", "head"]
    assert {id(p) for p in head[1]} >= {id(p) for p in objective.projection.parameters()}
    objective.model.embeddings.weight.requires_grad_(False)
    assert [name for name, _ in layers_of(objective)] == ["head"]


def test_rates_fall_by_the_factor_from_layer_to_layer() -> None:
    rates = layer_rates(4, 1e-3, discriminative=2.6)
    assert rates[-1] == 1e-3
    for lower, upper in pairwise(rates):
        assert lower == pytest.approx(upper / 2.6)
    assert layer_rates(3, 0.5) == [0.5, 0.5, 0.5]


def test_a_range_is_geometric_as_numpy_has_it() -> None:
    np.testing.assert_allclose(layer_rates(8, (1e-5, 1e-3)), np.geomspace(1e-5, 1e-3, 8), rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "rate", "factor", "said"),
    [
        (3, (1e-3, 1e-5), 1.0, "must rise from the first layer to the last"),
        (3, (1e-5, 1e-3), 2.6, "cannot have a factor too"),
        (1, (1e-5, 1e-3), 1.0, "only one layer of this model learns. Give a single rate"),
    ],
)
def test_rates_that_make_no_sense(count: int, rate: tuple[float, float], factor: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        layer_rates(count, rate, discriminative=factor)
