"""The static student against a slow loop."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.students.static import StaticBag, StaticConfig


def student(**options: object) -> StaticBag:
    torch.manual_seed(0)
    return StaticBag(
        StaticConfig(**{"vocab_size": 30, "embedding_size": 6, "hidden_size": 5, "num_labels": 3, **options})
    ).eval()


def slow_logits(model: StaticBag, rows: list[list[int]]) -> torch.Tensor:
    table = model.embeddings.weight
    pooled = torch.stack([sum(table[token] for token in row) / len(row) for row in rows])
    return model.classifier(model.hidden(pooled).relu() if model.hidden is not None else pooled)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    rows=st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=7), min_size=1, max_size=4),
    extra=st.integers(0, 4),
    hidden=st.sampled_from([0, 5]),
)
def test_mean_of_the_real_tokens(rows: list[list[int]], extra: int, hidden: int) -> None:
    model = student(hidden_size=hidden)
    width = max(map(len, rows)) + extra
    ids = torch.tensor([row + [9] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    torch.testing.assert_close(model(ids, mask).logits, slow_logits(model, rows), rtol=0, atol=1e-5)


def test_without_mask_all_tokens_count() -> None:
    model = student()
    rows = [[1, 2, 3], [4, 5, 6]]
    torch.testing.assert_close(model(torch.tensor(rows)).logits, slow_logits(model, rows))


def test_pair_is_u_v_difference_product() -> None:
    model = student(pair=True, hidden_size=0)
    ids, mask = torch.tensor([[1, 2, 3, 4, 9]]), torch.tensor([[1, 1, 1, 1, 0]])
    segments = torch.tensor([[0, 0, 1, 1, 0]])
    table = model.embeddings.weight
    u, v = table[[1, 2]].mean(0), table[[3, 4]].mean(0)
    expected = model.classifier(torch.cat([u, v, (u - v).abs(), u * v]))
    torch.testing.assert_close(model(ids, mask, segments).logits[0], expected)


def test_half_precision_of_a_long_text_does_not_overflow() -> None:
    model = student(hidden_size=0).to(torch.float16)
    with torch.no_grad():
        model.embeddings.weight.fill_(1000.0)
    ids = torch.ones(2, 500, dtype=torch.long)
    pooled = model.pool(ids, torch.ones_like(ids), None)[0]
    torch.testing.assert_close(pooled, torch.full_like(pooled, 1000.0), rtol=5e-3, atol=0)
