"""The optimizer against torch's own, dense and sparse; groups and their rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from understudy.errors import ConfigError
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.training.optimizers.groups import Group, build_optimizer, layer_rates, layers_of, parameter_groups
from understudy.training.optimizers.lazy_adamw import LazyAdamW, clip_gradients, sparse_gradients


def tables(sparse: bool) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(10, 4, sparse=sparse, dtype=torch.float64)


def run(optimizer: torch.optim.Optimizer, table: nn.Embedding, words: list[list[int]]) -> None:
    for step in words:
        optimizer.zero_grad()
        table(torch.tensor(step)).square().sum().backward()
        optimizer.step()


def test_sparse_rows_step_as_torchs_sparse_adam() -> None:
    words = [[1, 2, 2], [2, 5], [1, 9, 9, 9]]
    ours, reference = tables(True), tables(True)
    run(LazyAdamW(ours.parameters(), lr=0.1, weight_decay=0.0, fused=True), ours, words)
    run(torch.optim.SparseAdam(reference.parameters(), lr=0.1), reference, words)
    # SparseAdam adds eps before the bias correction of the second moment, AdamW after it
    torch.testing.assert_close(ours.weight, reference.weight, rtol=1e-5, atol=1e-6)


def test_rows_used_in_every_step_move_as_under_adamw_with_decay() -> None:
    words = [[3, 4]] * 5
    ours, reference = tables(True), tables(False)
    run(LazyAdamW(ours.parameters(), lr=0.1, weight_decay=0.1, fused=True), ours, words)
    run(torch.optim.AdamW(reference.parameters(), lr=0.1, weight_decay=0.1), reference, words)
    torch.testing.assert_close(ours.weight[3:5], reference.weight[3:5], rtol=1e-9, atol=1e-12)
    assert torch.equal(ours.weight[5:], tables(True).weight[5:])  # never used: neither moved nor decayed


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_a_table_that_is_not_lazy_steps_as_under_adamw(limit: float) -> None:
    """Rows that are away decay and move on by their moments, as they do with dense gradients."""
    words = [[1, 2, 2], [2, 5], [1, 9, 9, 9], [3], [3]]
    ours, reference = tables(True), tables(False)
    group = {"params": list(ours.parameters()), "lr": 0.1, "weight_decay": 0.1, "lazy": False}
    optimizer = LazyAdamW([group], fused=True)
    other = torch.optim.AdamW(reference.parameters(), lr=0.1, weight_decay=0.1)
    for step in words:
        for table, stepped in ((ours, optimizer), (reference, other)):
            table(torch.tensor(step)).square().sum().backward()
            clip_gradients(list(table.parameters()), limit)
            stepped.step()
            stepped.zero_grad()
        assert ours.weight.grad is None
    torch.testing.assert_close(ours.weight, reference.weight, rtol=1e-9, atol=1e-12)
    assert set(optimizer.state_dict()["state"][0]) == set(other.state_dict()["state"][0])


def test_tables_that_the_input_alone_reads_have_sparse_gradients() -> None:
    student = StaticBag(StaticConfig(vocab_size=10, embedding_size=4, num_labels=2))
    sizes = {
        "vocab_size": 10,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    encoder, tied = BertForSequenceClassification(BertConfig(**sizes)), BertForMaskedLM(BertConfig(**sizes))
    inputs = {"input_ids": torch.tensor([[1, 2, 2]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    for model, wanted in ((student, True), (encoder, True), (tied, False)):
        table, gradients = model.get_input_embeddings().weight, []
        for asked in (False, True):
            sparse_gradients(model, asked)
            model.zero_grad()
            torch.manual_seed(0)
            model(**inputs).logits.square().sum().backward()
            assert table.grad.is_sparse == (asked and wanted)
            gradients.append(table.grad.to_dense())
        torch.testing.assert_close(*gradients)
    (first, *_), (other, *_) = (
        parameter_groups(model, [Group("all", list(model.parameters()), 0.1)], weight_decay=0.1)
        for model in (student, encoder)
    )
    assert (first["lazy"], other["lazy"]) == (True, False)
    sparse_gradients(nn.Linear(2, 2), True)  # no table, nothing to do


def test_dense_parameters_are_left_to_torch() -> None:
    ours, reference = tables(False), tables(False)
    run(LazyAdamW(ours.parameters(), lr=0.1, fused=True), ours, [[1], [2, 3]])
    run(torch.optim.AdamW(reference.parameters(), lr=0.1, fused=True), reference, [[1], [2, 3]])
    assert torch.equal(ours.weight, reference.weight)


def test_its_state_survives_saving() -> None:
    whole, cut = tables(True), tables(True)
    words = [[1, 2], [2, 5], [1, 9], [2, 2]]
    run(LazyAdamW(whole.parameters(), lr=0.1, fused=True), whole, words)
    first = LazyAdamW(cut.parameters(), lr=0.1, fused=True)
    run(first, cut, words[:2])
    second = LazyAdamW(cut.parameters(), lr=0.1, fused=True)
    second.load_state_dict(first.state_dict())
    run(second, cut, words[2:])
    assert torch.equal(cut.weight, whole.weight)


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_is_torchs_and_counts_sparse_gradients(limit: float) -> None:
    def gradients(sparse: bool) -> list[nn.Parameter]:
        table, layer = tables(sparse), nn.Linear(4, 2, dtype=torch.float64)
        nn.init.constant_(layer.weight, 0.3)
        layer(table(torch.tensor([1, 1, 7]))).sum().backward()
        return [table.weight, layer.weight]

    ours, reference = gradients(True), gradients(False)
    norm = clip_gradients(ours, limit)
    expected = torch.nn.utils.clip_grad_norm_(reference, limit)
    torch.testing.assert_close(norm, expected)
    for mine, theirs in zip(ours, reference):
        torch.testing.assert_close(mine.grad.to_dense(), theirs.grad)


class Whole(nn.Module):
    """An objective around a model, as the loop takes it, with a part of its own that learns."""

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
    (group,) = build_optimizer(tables(True), learning_rate=0.1).param_groups
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
