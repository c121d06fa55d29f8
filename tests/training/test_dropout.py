import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from understudy.training.dropout import FastDropout, attention, fast_dropout


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked(p):
    count = 400_003
    dropped = (fast_dropout(torch.ones(count), p) == 0).sum().item()
    assert abs(dropped - p * count) < 4 * math.sqrt(count * p * (1 - p))


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    values = torch.full((400_000,), 2.0, dtype=torch.float64)
    kept = fast_dropout(values, 0.3)
    scale = kept.max().item() / 2
    assert set(kept.tolist()) == {0.0, 2 * scale}
    assert scale == pytest.approx(1 / (1 - 0.3), rel=1e-4)
    assert abs(kept.mean().item() - 2) < 4 * 2 * math.sqrt(0.3 / 0.7 / len(values))


def test_neighbours_that_share_a_random_number_are_independent():
    kept = (fast_dropout(torch.ones(400_000), 0.5) > 0).double().view(-1, 4)
    correlation = torch.corrcoef(kept.T)
    off_diagonal = correlation[~torch.eye(4, dtype=torch.bool)]
    assert off_diagonal.abs().max() < 4 / math.sqrt(len(kept))


def test_the_gradient_passes_where_the_value_did():
    values = torch.randn(31, 7, requires_grad=True)
    out = fast_dropout(values, 0.4)
    out.sum().backward()
    torch.testing.assert_close(values.grad * values.detach(), out.detach())


def test_the_ends_of_the_range():
    values = torch.randn(5)
    assert torch.equal(fast_dropout(values, 0.0), values)
    assert torch.equal(fast_dropout(values, 1.0), torch.zeros(5))
    with pytest.raises(ValueError, match=r"p must lie between 0 and 1, but is 1\.5"):
        fast_dropout(values, 1.5)


def test_the_seed_decides():
    def draw():
        torch.manual_seed(3)
        return fast_dropout(torch.ones(100), 0.5)

    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("kind", ["none", "boolean", "added"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_without_dropout_is_torchs(kind, scale):
    query, key, value = (torch.randn(2, 3, tokens, 8, dtype=torch.float64) for tokens in (5, 6, 6))
    real = torch.rand(2, 1, 5, 6) < 0.7
    real[..., 0] = True
    mask = {"none": None, "boolean": real, "added": torch.randn(2, 1, 5, 6, dtype=torch.float64)}[kind]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    torch.testing.assert_close(attention(query, key, value, mask, dropout=0.0, scale=scale), expected)


def test_attention_with_dropout_has_torchs_expectation():
    query, key, value = (torch.randn(1, 1, 4, 8, dtype=torch.float64) for _ in range(3))
    many = [tensor.expand(4000, 1, 4, 8) for tensor in (query, key, value)]
    with FastDropout():
        drawn = F.scaled_dot_product_attention(*many, dropout_p=0.2)
    expected = F.scaled_dot_product_attention(query, key, value)[0]
    assert ((drawn.mean(0) - expected).abs() < 5 * drawn.std(0) / math.sqrt(4000)).all()
    assert (drawn.std(0) > 0).all()


def test_a_model_inside_draws_the_fast_way_and_outside_torchs(monkeypatch):
    drawn = []
    monkeypatch.setattr("understudy.training.dropout.fast_dropout", lambda values, p: drawn.append(p) or values)
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.25))
    with FastDropout():
        model(torch.ones(2, 3))
        assert drawn == [0.25]
        model.eval()(torch.ones(2, 3))
        query = torch.ones(1, 1, 2, 4)
        F.scaled_dot_product_attention(query, query, query)
        F.scaled_dot_product_attention(query, query, query, dropout_p=0.1, is_causal=True)
        assert drawn == [0.25]
    model.train()(torch.ones(2, 3))
    assert drawn == [0.25]


def test_a_transformer_trains_with_it():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    model = BertForSequenceClassification(config)
    calls = 0
    original = fast_dropout

    def counted(values, p):
        nonlocal calls
        calls += 1
        return original(values, p)

    with pytest.MonkeyPatch.context() as patch, FastDropout():
        patch.setattr("understudy.training.dropout.fast_dropout", counted)
        out = model(input_ids=torch.randint(0, 20, (3, 7)), labels=torch.tensor([0, 1, 0]))
    out.loss.backward()
    assert calls == 1 + 2 * 3 + 1  # embeddings; weights, attention and feed-forward of each layer; before the head
    assert all(parameter.grad is not None for parameter in model.parameters())
