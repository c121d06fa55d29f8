"""What is copied of an objective, what is put back, and which evaluation is the best."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from understudy.training.best_weights import BestWeights
from understudy.training.weights import Weights


class Parts(nn.Module):
    """A frozen layer, one that learns under two names, buffers, and extra state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
        self.alias, self.norm = self.head, nn.BatchNorm1d(3)
        self.register_buffer("unsaved", torch.zeros(1), persistent=False)
        self.carried = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"carried": self.carried}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.carried = state["carried"]


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def weights(parts: Parts) -> Weights:
    return Weights(parts, parts.head.parameters())


CHANGING = {"head.weight", "head.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_what_learns_and_buffers_may_change_each_tied_tensor_once(parts: Parts, weights: Weights) -> None:
    assert set(weights.changing()) == CHANGING
    assert weights.changing()["head.weight"].data_ptr() == parts.head.weight.data_ptr()
    assert set(weights.extra()) == {"_extra_state"}
    kept = weights.copy()
    before = {name: value.clone() for name, value in parts.state_dict(keep_vars=True).items() if name in CHANGING}
    with torch.no_grad():
        for value in weights.changing().values():
            value.add_(1)
    places = [value.data_ptr() for value in weights.changing().values()]
    weights.put_back(kept)
    assert all(torch.equal(parts.state_dict()[name], value) for name, value in before.items())
    assert places == [value.data_ptr() for value in weights.changing().values()]  # in place


def test_extra_state_is_set_without_touching_the_weights(parts: Parts, weights: Weights) -> None:
    parts.carried = 7
    extra, before = weights.extra(), weights.copy()
    parts.carried = 0
    weights.set_extra(extra)
    assert parts.carried == 7
    assert all(torch.equal(weights.changing()[name], value) for name, value in before.items())


@pytest.mark.parametrize("change", ["bytes", "last bit", "name", "what learns"])
def test_the_fingerprint_is_that_of_the_frozen_parameters(change: str, weights: Weights) -> None:
    other = Parts()
    with torch.no_grad():
        other.head.weight.add_(1)  # it learns
        other.norm.running_mean.add_(1)
        assert Weights(other, other.head.parameters()).frozen_fingerprint == weights.frozen_fingerprint
        learns = list(other.head.parameters())
        if change == "bytes":
            other.norm.weight.mul_(2)
        elif change == "last bit":
            other.frozen.weight[0, 0] = torch.nextafter(other.frozen.weight[0, 0], torch.tensor(9.0))
        elif change == "name":
            other.renamed = other.frozen
            del other.frozen
        else:
            learns.append(other.frozen.bias)
    assert Weights(other, learns).frozen_fingerprint != weights.frozen_fingerprint


def test_the_fingerprint_takes_every_type() -> None:
    model = nn.Module()
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool):
        model.register_parameter(f"as_{str(dtype)[6:]}", nn.Parameter(torch.ones(2).to(dtype), requires_grad=False))
    model.scalar, model.empty = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.empty(0))
    assert len(Weights(model, []).frozen_fingerprint) == 64


def test_the_highest_score_wins_and_of_equal_ones_the_latest(parts: Parts, weights: Weights) -> None:
    best = BestWeights(weights)
    best.put_back()  # nothing to put back
    assert not best.found
    offers = [(0.5, True), (0.4, False), (0.9, True), (0.9, False), (0.1, False)]
    for step, (score, new) in enumerate(offers):
        with torch.no_grad():
            parts.head.bias.fill_(step)
            parts.norm.running_mean.fill_(step)
        assert best.offer(score, step, {"accuracy": score}) == new
    assert (best.score, best.step, best.metrics) == (0.9, 3, {"accuracy": 0.9})
    best.put_back()
    assert parts.head.bias.tolist() == [3, 3]
    assert parts.norm.running_mean.tolist() == [3, 3, 3]


def test_several_keepers_have_scores_of_their_own(parts: Parts, weights: Weights) -> None:
    one, other = BestWeights(weights), BestWeights(weights)
    for step, (first, second) in enumerate([(0.9, 0.1), (0.2, 0.8)]):
        with torch.no_grad():
            parts.head.bias.fill_(step)
        one.offer(first, step, {})
        other.offer(second, step, {})
    one.put_back()
    assert parts.head.bias.tolist() == [0, 0]
    other.put_back()
    assert parts.head.bias.tolist() == [1, 1]


def test_saved_and_loaded_it_is_the_same(parts: Parts, weights: Weights) -> None:
    best, file = BestWeights(weights), io.BytesIO()
    best.offer(0.7, 3, {"accuracy": 0.7})
    torch.save(best.state_dict(), file)
    file.seek(0)
    again = Parts()
    loaded = BestWeights(Weights(again, again.head.parameters()))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert (loaded.score, loaded.step, loaded.metrics, loaded.found) == (0.7, 3, {"accuracy": 0.7}, True)
    with torch.no_grad():
        again.head.weight.zero_()
    loaded.put_back()
    assert torch.equal(again.head.weight, parts.head.weight)
