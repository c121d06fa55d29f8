"""Heads and neurons cut out of every family, against the same model with gates at zero; importance against differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from understudy.errors import ModelError
from understudy.models.files.pretrained import load_pretrained, read_pretrained
from understudy.models.shrink.cut import cut_layers
from understudy.models.shrink.narrow import narrow
from understudy.models.shrink.prune.blocks import headed_blocks
from understudy.models.shrink.prune.choice import normalised, removed_by, strongest
from understudy.models.shrink.prune.gates import gated
from understudy.models.shrink.prune.importance import importance
from understudy.models.shrink.prune.magnitude import (
    compressed_bytes,
    keep_zeros,
    magnitude_prune,
    smallest_to_zero,
    zero_share,
)
from understudy.models.shrink.prune.sizes import built, loads_alone, prune
from understudy.models.structure.blocks import PRUNED
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.shapes import meta_model
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag, StaticConfig

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "num_labels": 3,
}
OF_DISTILBERT = {"vocab_size": 50, "dim": 16, "hidden_dim": 24, "n_layers": 3, "n_heads": 4, "num_labels": 3}
MAKERS: dict[str, Callable[[], Any]] = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES)),
    "xlm-roberta": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES)),
    "electra": lambda: ElectraForSequenceClassification(ElectraConfig(embedding_size=8, **SIZES)),
    "mpnet": lambda: MPNetForSequenceClassification(MPNetConfig(**SIZES)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(max_position_embeddings=20, **OF_DISTILBERT)
    ),
    "pooled": lambda: PooledClassifier.assemble(BertModel(BertConfig(**SIZES)), torch.randn(3, 16), torch.zeros(3)),
}
HEADS = [[0, 2], [1], [0, 1, 2, 3]]
NEURONS = [list(range(0, 24, 2)), list(range(5)), list(range(24))]
ALL_HEADS, ALL_NEURONS = [list(range(4))] * 3, [list(range(24))] * 3


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest) -> Any:
    """A model of each family, with weights large enough for every part to matter."""
    torch.manual_seed(0)
    made = MAKERS[request.param]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    """Five rows, two of them padded."""
    torch.manual_seed(1)
    mask = torch.ones(5, 9, dtype=torch.long)
    mask[:2, 6:] = 0
    return {"input_ids": torch.randint(4, 50, (5, 9)), "attention_mask": mask}


def answers(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Logits."""
    with torch.no_grad():
        found: Tensor = model(**inputs).logits
    return found


def open_gates(kept: list[list[int]], count: int, **kind: Any) -> list[Tensor]:
    """One for what is kept, zero for the rest."""
    return [torch.tensor([float(i in layer) for i in range(count)], **kind) for layer in kept]


def zeroed(model: Any, inputs: dict[str, Tensor], heads: list[list[int]], neurons: list[list[int]]) -> Tensor:
    """The logits with the gates of everything else closed."""
    with gated(model, heads=open_gates(heads, 4), neurons=open_gates(neurons, 24)):
        return answers(model, inputs)


def reloaded(folder: Path) -> Any:
    """A model as understudy reads it."""
    found = load_pretrained(str(folder), *read_pretrained(str(folder)))
    assert not found.lacking
    return found.model.eval()


def test_a_removed_head_is_a_closed_gate(model: Any, inputs: dict[str, Tensor]) -> None:
    small = prune(model, heads=HEADS, neurons=NEURONS)
    expected = zeroed(model, inputs, HEADS, NEURONS)
    assert (answers(model, inputs) - expected).abs().max() > 1e-3
    torch.testing.assert_close(answers(small, inputs), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(classifier_logits(small, inputs), expected, rtol=0, atol=1e-5)
    sizes = [(tuple(b.query.weight.shape), tuple(b.output.weight.shape), b.neurons) for b in headed_blocks(small)]
    assert sizes == [((8, 16), (16, 8), 12), ((4, 16), (16, 4), 5), ((16, 16), (16, 16), 24)]
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_what_is_saved_is_read_back_to_the_bit(model: Any, inputs: dict[str, Tensor], tmp_path: Path) -> None:
    small = prune(model, heads=HEADS, neurons=NEURONS)
    small.save_pretrained(tmp_path)
    found = reloaded(tmp_path)
    assert type(found) is type(model)
    assert not loads_alone(found)
    assert torch.equal(answers(found, inputs), answers(small, inputs))
    again = built(type(found), found.config)
    again.load_state_dict(found.state_dict())
    assert torch.equal(answers(again.eval(), inputs), answers(small, inputs))
    assert torch.equal(answers(copy.deepcopy(found), inputs), answers(small, inputs))


def test_pruning_twice_is_pruning_once(model: Any, inputs: dict[str, Tensor], tmp_path: Path) -> None:
    prune(model, heads=HEADS, neurons=NEURONS).save_pretrained(tmp_path)
    twice = prune(reloaded(tmp_path), heads=[[1], [0], [0, 3]], neurons=[[0, 3], [1], [2]])
    expected = zeroed(model, inputs, [[2], [1], [0, 3]], [[0, 6], [1], [2]])
    torch.testing.assert_close(answers(twice, inputs), expected, rtol=0, atol=3e-6)


def test_its_parameters_are_known_without_its_weights(model: Any, tmp_path: Path) -> None:
    small = prune(model, heads=HEADS, neurons=NEURONS)
    small.save_pretrained(tmp_path)
    assert sum(p.numel() for p in meta_model(str(tmp_path)).parameters()) == sum(p.numel() for p in small.parameters())


def test_even_neurons_need_nothing_of_ours(model: Any, inputs: dict[str, Tensor], tmp_path: Path) -> None:
    even = prune(model, heads=ALL_HEADS, neurons=[[0, 5, 7]] * 3)
    even.save_pretrained(tmp_path)
    assert loads_alone(even) != isinstance(model, PooledClassifier)
    assert PRUNED not in (tmp_path / "config.json").read_text()
    if isinstance(model, PooledClassifier):  # which transformers does not have
        return
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(answers(found, inputs), answers(even, inputs))


def test_transformers_refuses_uneven_layers(model: Any, tmp_path: Path) -> None:
    if isinstance(model, PooledClassifier):
        pytest.skip("is of ours")
    prune(model, heads=HEADS, neurons=ALL_NEURONS).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_layers_of_a_pruned_model_are_cut_with_their_sizes(model: Any, inputs: dict[str, Tensor]) -> None:
    small = prune(model, heads=HEADS, neurons=NEURONS)
    expected = prune(cut_layers(model, [0, 2]), heads=[HEADS[0], HEADS[2]], neurons=[NEURONS[0], NEURONS[2]])
    torch.testing.assert_close(answers(cut_layers(small, [0, 2]), inputs), answers(expected, inputs), rtol=0, atol=1e-6)


def test_importance_is_the_slope_of_the_loss(model: Any, inputs: dict[str, Tensor]) -> None:
    exact, labels = copy.deepcopy(model).double(), torch.tensor([0, 1, 2, 0, 1])

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    halves = [({name: part[rows] for name, part in inputs.items()}, labels[rows]) for rows in (slice(3), slice(3, 5))]
    found = importance(exact, halves, loss)
    kind = {"dtype": torch.float64}

    def at(layer: int, unit: int, value: float, *, heads: bool) -> Tensor:
        gates = open_gates(ALL_HEADS, 4, **kind) if heads else open_gates(ALL_NEURONS, 24, **kind)
        gates[layer][unit] = value
        with torch.no_grad(), gated(exact, **{"heads" if heads else "neurons": gates}):
            return loss(exact(**inputs).logits, labels)

    for heads, layer, unit in ((True, 0, 1), (True, 2, 3), (False, 1, 7), (False, 2, 0)):
        slope = (at(layer, unit, 1 + 1e-5, heads=heads) - at(layer, unit, 1 - 1e-5, heads=heads)) / 2e-5
        known = (found.heads if heads else found.neurons)[layer][unit]
        torch.testing.assert_close(known, slope.abs().mean(), rtol=1e-6, atol=1e-9)


def test_gates_are_gone_afterwards(model: Any, inputs: dict[str, Tensor]) -> None:
    before = answers(model, inputs)
    zeroed(model, inputs, HEADS, NEURONS)
    assert torch.equal(answers(model, inputs), before)


def test_other_models_are_refused() -> None:
    albert = AlbertForSequenceClassification(AlbertConfig(embedding_size=8, **SIZES))
    with pytest.raises(ModelError, match="'albert' model is of a family that is not known"):
        headed_blocks(albert)
    with pytest.raises(ModelError, match="'static' model has no attention heads"):
        headed_blocks(StaticBag(StaticConfig(vocab_size=9, num_labels=2)))


@pytest.mark.parametrize(
    ("heads", "neurons", "message"),
    [
        ([[0], [], [1]], ALL_NEURONS, "layer 1: all 4 heads would go"),
        ([[0], [4], [1]], ALL_NEURONS, "layer 1: the heads to keep must be rising numbers from 0 to 3"),
        ([[0], [1]], ALL_NEURONS, "for 3 layers, but are for 2"),
        (ALL_HEADS, [[0], [1, 0], [1]], "layer 1: the neurons to keep must be rising"),
    ],
)
def test_what_cannot_be_kept_is_refused(heads: Any, neurons: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        prune(MAKERS["bert"](), heads=heads, neurons=neurons)


@pytest.mark.parametrize("told", [[1], {"heads": [[0]]}, {"heads": [[0], [9], [1]], "neurons": [1, 1, 1]}])
def test_a_damaged_configuration_is_refused(told: Any) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        built(BertForSequenceClassification, BertConfig(**SIZES, **{PRUNED: told}))


def test_a_pruned_model_is_not_narrowed() -> None:
    with pytest.raises(ModelError, match="heads or neurons of it were pruned"):
        narrow(prune(MAKERS["bert"](), heads=HEADS, neurons=NEURONS), 8)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(st.floats(0, 9), min_size=1, max_size=6), min_size=1, max_size=5), st.floats(0, 1))
def test_the_least_important_go(scores: list[list[float]], share: float) -> None:
    arrays = [np.array(part) for part in scores]
    total, layers = sum(map(len, arrays)), len(arrays)
    remove = min(removed_by(total, share), total - layers)
    kept = strongest(arrays, remove=remove)
    assert sum(map(len, kept)) == total - remove
    assert all(kept)
    gone = [part[i] for part, some in zip(arrays, kept) for i in range(len(part)) if i not in some]
    free = [part[i] for part, some in zip(arrays, kept) if len(some) > 1 for i in some]
    assert not gone or not free or max(gone) <= min(free)


def test_layers_are_compared_by_their_norms() -> None:
    parts = normalised([np.array([3.0, 4.0]), np.array([300.0, 400.0]), np.zeros(2)])
    np.testing.assert_allclose(parts[0], parts[1])
    np.testing.assert_allclose(np.linalg.norm(parts[0]), 1)


@pytest.mark.parametrize(("remove", "even"), [(7, False), (9, False), (3, True), (-1, False)])
def test_more_than_there_is_is_refused(remove: int, even: bool) -> None:
    with pytest.raises(ModelError, match="cannot be removed"):
        strongest([np.ones(4), np.ones(4)], remove=remove, even=even)


def test_magnitude_zeroes_the_smallest_and_shrinks_nothing() -> None:
    torch.manual_seed(0)
    model = MAKERS["bert"]()
    made = magnitude_prune(model, 0.5)
    assert zero_share(made) == pytest.approx(0.5, abs=0.01)
    assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in model.parameters())
    assert compressed_bytes(made) < 0.95 * compressed_bytes(model)
    weight = torch.randn(7, 5)
    gone = smallest_to_zero(weight, 0.4) == 0
    assert int(gone.sum()) == 14
    assert weight[gone].abs().max() <= weight[~gone].abs().min()


def test_zeros_stay_zeros_in_training(inputs: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    model = magnitude_prune(MAKERS["bert"](), 0.5)
    before = zero_share(model)
    keep_zeros(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(**inputs, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
        optimizer.step()
    assert zero_share(model) == before
