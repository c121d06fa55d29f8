"""The head of an AWD-LSTM that begins as a linear model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.head import PoolingHead
from understudy.models.awd_lstm.start import start_pooling_head


@pytest.mark.parametrize("outputs", [1, 2, 7])
def test_starting_logits_are_the_linear_models(outputs: int) -> None:
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=4, head_size=7, num_labels=outputs)
    head = PoolingHead(config).eval()
    rng = np.random.default_rng(0)
    vectors = (3 + rng.normal(size=(30, 12)) * rng.uniform(0.1, 2, size=12)).astype(np.float32)
    weight = rng.normal(size=(outputs, 12)).astype(np.float32)
    weight[0] *= outputs != 2  # a model of two classes scores the first with 0
    bias = rng.normal(size=outputs).astype(np.float32)
    assert start_pooling_head(head, vectors, weight, bias)
    expected = vectors @ weight.T + bias
    with torch.no_grad():
        np.testing.assert_allclose(head(torch.from_numpy(vectors)).numpy(), expected, atol=1e-3)
        # in training the batch's own statistics come in: of all rows at once they are those of evaluation
        config.drop_mult = 0.0
        head.train()
        np.testing.assert_allclose(head(torch.from_numpy(vectors)).numpy(), expected, atol=0.05)


def test_more_outputs_than_hidden_units_are_left_alone() -> None:
    head = PoolingHead(AWDLSTMConfig(embedding_size=4, head_size=3, num_labels=4))
    before = {name: value.clone() for name, value in head.state_dict().items()}
    assert not start_pooling_head(head, np.ones((5, 12)), np.ones((4, 12)), np.ones(4))
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_norms_that_begin_with_rows_treat_them_alike_in_training_and_in_evaluation() -> None:
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=4, head_size=3, num_labels=4, drop_mult=0.0)
    head, rows = PoolingHead(config), 5 + 0.1 * torch.randn(30, 12)
    assert not head.carries_linear
    with torch.no_grad():
        head(9 * torch.randn(7, 12))  # rows seen before, to be forgotten
        read = head.begin_with(rows)
        torch.testing.assert_close(read.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(head.eval()(rows), head.output(read))
        torch.testing.assert_close(head.train()(rows), head.output(read), atol=1e-3, rtol=1e-3)
