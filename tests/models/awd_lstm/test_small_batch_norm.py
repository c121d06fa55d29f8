"""The head's norm against torch's batch-norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from understudy.models.awd_lstm.head import SmallBatchNorm


class TestSmallBatchNorm:
    def test_the_first_batch_and_evaluation_are_batch_norms(self) -> None:
        torch.manual_seed(0)
        ours, theirs = SmallBatchNorm(4), nn.BatchNorm1d(4, momentum=None)
        rows = torch.randn(30, 4) * 3 + 1
        torch.testing.assert_close(ours(rows), theirs(rows))
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        theirs.running_var.copy_(ours.running_var)
        other = torch.randn(5, 4)
        torch.testing.assert_close(ours.eval()(other), theirs.eval()(other))

    @pytest.mark.parametrize("count", [1, 2, 7, 40])
    def test_it_is_batch_norm_with_four_rows_of_the_running_statistics(self, count: int) -> None:
        torch.manual_seed(0)
        ours, theirs = SmallBatchNorm(3).double(), nn.BatchNorm1d(3).double()
        with torch.no_grad():
            for norm in (ours, theirs):
                norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
                norm.bias.copy_(torch.tensor([0.0, 1.0, 3.0]))
            ours.running_mean.copy_(torch.tensor([1.0, -2.0, 0.0]))
            ours.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
            ours.rows_seen.fill_(50)
        deviation = ours.running_var.sqrt()
        four = torch.stack([ours.running_mean + sign * deviation for sign in (1, -1, 1, -1)])
        rows = torch.randn(count, 3, dtype=torch.float64, requires_grad=True)
        same = rows.detach().clone().requires_grad_()
        found, expected = ours(rows), theirs(torch.cat([same, four]))[:count]
        torch.testing.assert_close(found, expected)
        found.pow(3).sum().backward()
        expected.pow(3).sum().backward()
        torch.testing.assert_close(rows.grad, same.grad)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)

    def test_no_row_is_far_out_however_far_a_batch_has_moved(self) -> None:
        norm = SmallBatchNorm(1)
        norm(torch.randn(100, 1) * 1e-4)
        for count in (1, 2, 32):
            moved = norm(torch.full((count, 1), 1e3) + torch.randn(count, 1))
            assert moved.abs().max() <= (count + 4) ** 0.5

    @pytest.mark.parametrize("cut", [[30], [1, 1, 28], [15, 15], [29, 1], [1] * 30])
    def test_the_statistics_are_those_of_all_rows_however_they_are_cut(self, cut: list[int]) -> None:
        rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
        norm = SmallBatchNorm(4)
        for part in rows.split(cut):
            assert norm(part).isfinite().all()
        assert norm.rows_seen == 30
        torch.testing.assert_close(norm.running_mean, rows.mean(0))
        torch.testing.assert_close(norm.running_var, rows.var(0, correction=0))

    def test_two_forwards_may_come_before_the_backward(self) -> None:
        norm = SmallBatchNorm(2)
        first, second = (torch.randn(4, 2, requires_grad=True) for _ in range(2))
        (norm(first).square().sum() + norm(second).square().sum()).backward()
        assert first.grad.abs().sum() > 0

    def test_old_rows_fade(self) -> None:
        norm = SmallBatchNorm(1)
        norm(torch.zeros(1000, 1))
        for _ in range(100):
            norm(torch.tensor([[4.0], [6.0]] * 16))
        torch.testing.assert_close(norm.running_mean, torch.tensor([5.0]), rtol=0, atol=0.01)
        torch.testing.assert_close(norm.running_var, torch.tensor([1.0]), rtol=0, atol=0.05)

    def test_evaluation_leaves_the_statistics_alone(self) -> None:
        norm = SmallBatchNorm(2).eval()
        norm(torch.randn(3, 2))
        assert norm.rows_seen == 0
        assert torch.equal(norm.running_mean, torch.zeros(2))
