"""The optimizer against torch's own, dense and sparse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from understudy.training.groups import LazyAdamW, build_optimizer, clip_gradients, parameter_groups


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


def test_biases_and_norms_do_not_decay_and_frozen_parameters_are_in_no_group() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    decaying, plain = parameter_groups(model, learning_rate=0.1, weight_decay=0.05)
    assert [p.shape for p in decaying["params"]] == [(2, 4)]
    assert len(plain["params"]) == 4
    assert (decaying["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)


def test_building_an_optimizer_needs_no_norms() -> None:
    assert len(build_optimizer(tables(True), learning_rate=0.1).param_groups) == 1
