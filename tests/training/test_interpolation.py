"""Weights between two points of a training."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from understudy.training.interpolation import interpolate


def trained(model: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    found = copy.deepcopy(model)
    for parameter in found.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator)
    return found


@given(share=st.floats(0, 1), seed=st.integers(0, 50))
def test_it_is_the_weighted_mean(share: float, seed: int) -> None:
    start = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    start[0].requires_grad_(False)
    end = trained(start, seed)
    model = copy.deepcopy(end)
    interpolate(model, start, share)
    for found, one, other in zip(model.parameters(), start.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(found, (1 - share) * one + share * other)
    assert torch.equal(model[0].weight, start[0].weight)


def test_the_ends_are_exact() -> None:
    start = nn.Linear(7, 5)
    end = trained(start, 0)
    for share, wanted in ((0.0, start), (1.0, end)):
        model = copy.deepcopy(end)
        interpolate(model, start, share)
        assert torch.equal(model.weight, wanted.weight)


def test_tied_weights_move_once_and_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.other.weight = self.one.weight
            nn.init.constant_(self.one.weight, value)

    model = Tied(8.0)
    interpolate(model, Tied(0.0), 0.25)
    assert model.other.weight is model.one.weight
    assert model.one.weight.unique().item() == 2.0


def test_stored_statistics_move_too_and_masks_of_infinities_stay() -> None:
    class Norm(nn.Module):
        def __init__(self, mean: float) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([mean]))
            self.register_buffer("mask", torch.tensor([-torch.inf]))
            self.register_buffer("rows", torch.tensor([3]))
            self.register_buffer("angles", torch.tensor([mean]), persistent=False)

    model = Norm(3.0)
    interpolate(model, Norm(1.0), 0.5)
    assert (model.mean.item(), model.mask.item(), model.rows.item()) == (2.0, -torch.inf, 3)
    assert model.angles.item() == 3.0


def test_another_model_is_no_start() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(KeyError, match="weight"):
        interpolate(model, nn.Sequential(nn.Linear(2, 2)), 0.5)
