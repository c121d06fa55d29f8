"""The optimizer against torch's own, for dense and sparse gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from understudy.models.students.static import StaticBag, StaticConfig
from understudy.training.optimizers.groups import Group, parameter_groups
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
    """Rows that a batch does not use still decay and move by their moments, as with dense gradients."""
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
