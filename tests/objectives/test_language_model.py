"""Next tokens: losses against a loop in plain Python, and states that go on where they should."""

from __future__ import annotations

import copy
import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from understudy.data.batches.blocks import CausalBlocks, scoring_blocks
from understudy.data.batches.contract import Batch
from understudy.data.batches.streams import StreamBatch, StreamBatches, scoring_batches
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.objectives import language_model
from understudy.objectives.language_model import CausalLM, RecurrentLM, language_scores
from understudy.objectives.terms import Term

VOCABULARY = 13


def corpus(texts: int = 30, seed: int = 0) -> Encoded:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, texts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = rng.integers(1, VOCABULARY, offsets[-1]).astype(np.int32)
    return Encoded(ids, offsets, None, 0, "right", "")


def awd(*, dropout: bool = False, **options: Any) -> AWDLSTMForCausalLM:
    torch.manual_seed(0)
    config = AWDLSTMConfig(
        vocab_size=VOCABULARY, embedding_size=6, hidden_size=7, drop_mult=1.0 if dropout else 0.0, **options
    )
    model = AWDLSTMForCausalLM(config).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.train()


def gpt2(**options: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, **options
    )
    return transformers.GPT2LMHeadModel(config).double()


def loss_of(terms: list[Term], window: list[Batch]) -> Tensor:
    """As the loop adds them up, in float64."""
    totals = {name: sum(batch.counts[name] for batch in window) for name in window[0].counts}
    return torch.stack([term.weight * term.sum / max(totals[term.per], 1) for term in terms]).sum()


def step(objective: nn.Module, window: list[Any]) -> dict[str, Tensor]:
    """The gradient of a window of micro-batches."""
    objective.zero_grad()
    for batch in window:
        loss_of(objective(batch), window).backward()
    return {name: p.grad.clone() for name, p in objective.model.named_parameters()}  # type: ignore[union-attr]


def slow(model: AWDLSTMForCausalLM, ids: list[int]) -> tuple[list[float], list[bool], list[Tensor]]:
    """Token by token through ``torch.nn.LSTMCell``: losses, hits and the last layer's states."""
    encoder = model.awd_lstm
    cells = []
    for lstm in encoder.layers:
        cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size, dtype=torch.float64)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
        cells.append(cell)
    states = [(torch.zeros(1, cell.hidden_size, dtype=torch.float64),) * 2 for cell in cells]
    losses, hits, outs = [], [], []
    for token, target in itertools.pairwise(ids):
        out = encoder.embeddings.weight[token][None]
        for i, cell in enumerate(cells):
            states[i] = cell(out, states[i])
            out = states[i][0]
        scores = out @ model.lm_head.weight.T + model.lm_head.bias
        losses.append(-scores.log_softmax(-1)[0, target].item())
        hits.append(scores.argmax().item() == target)
        outs.append(out[0].detach())
    return losses, hits, outs


def test_terms_are_those_of_a_loop_over_tokens() -> None:
    model, encoded = awd(), corpus()
    objective = RecurrentLM(model, alpha=2.0, beta=1.0)
    batches = StreamBatches(encoded, streams=1, bptt=10, seed=4)
    windows = [window[0] for window in batches.windows(0)]
    ids = [token for batch in windows for token in batch.inputs["input_ids"][0].tolist()]
    assert windows[-1].labels is not None
    ids.append(int(windows[-1].labels[0, -1]))
    losses, _, outs = slow(model, ids)
    place = 0
    for batch in windows:
        length = batch.counts["tokens"]
        terms = {term.name: term for term in objective(batch)}
        states = torch.stack(outs[place : place + length])
        assert terms["cross_entropy"].sum.item() == pytest.approx(sum(losses[place : place + length]), rel=1e-5)
        assert terms["activation"].sum.item() == pytest.approx(states.pow(2).mean(1).sum().item(), rel=1e-5)
        changes = (states[1:] - states[:-1]).pow(2).mean(1).sum().item()
        assert terms["temporal"].sum.item() == pytest.approx(changes, rel=1e-5)
        assert [(term.weight, term.per) for term in terms.values()] == [
            (1.0, "tokens"),
            (2.0, "tokens"),
            (1.0, "transitions"),
        ]
        assert batch.counts["transitions"] == length - 1
        place += length
    assert place == len(encoded.ids) - 1


def test_sizes_are_those_of_the_dropped_states_and_changes_those_of_the_raw_ones() -> None:
    """Merity et al. 2018, section 4.7."""
    model = awd(dropout=True)
    batch = next(iter(StreamBatches(corpus(), streams=1, bptt=10, seed=4).windows(0)))[0]
    torch.manual_seed(3)
    terms = {term.name: term.sum.item() for term in RecurrentLM(model, alpha=2.0, beta=1.0)(batch)}
    torch.manual_seed(3)
    out = model(batch.inputs["input_ids"])
    raw, dropped = out.raw[0], out.dropped[0]
    assert not torch.equal(raw, dropped)
    size = sum(value * value for row in dropped.tolist() for value in row) / dropped.shape[1]
    changes = sum((b - a) ** 2 for one, other in itertools.pairwise(raw.tolist()) for a, b in zip(one, other))
    assert terms["activation"] == pytest.approx(size, rel=1e-5)
    assert terms["temporal"] == pytest.approx(changes / raw.shape[1], rel=1e-5)


def test_scores_are_those_of_a_loop_over_tokens() -> None:
    model, encoded = awd(), corpus(400)
    ids = encoded.ids.tolist()
    assert 2000 < len(ids) < 3000  # two streams
    middle = -(-(len(ids) - 1) // 2)
    losses, hits = [], []
    for part in (ids[: middle + 1], ids[middle:]):
        found = slow(model, part)
        losses += found[0]
        hits += found[1]
    scores = language_scores(model, scoring_batches(encoded, window=50), device="cpu")
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert scores["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    assert scores["accuracy"] == np.mean(hits)
    assert model.training


def test_scores_do_not_touch_the_state_of_training() -> None:
    model, encoded = awd(dropout=True), corpus()
    objective = RecurrentLM(model)
    first, second, *_ = StreamBatches(encoded, streams=2, bptt=10, seed=0).windows(0)
    objective(first[0])
    before = copy.deepcopy(objective.carried)
    language_scores(model, scoring_batches(encoded), device="cpu")
    for (h, c), (old_h, old_c) in zip(objective.carried[0], before[0]):
        assert torch.equal(h, old_h)
        assert torch.equal(c, old_c)
    assert not any(part.requires_grad for pair in objective.carried[0] for part in pair)
    assert any(not torch.equal(a, b) for a, b in zip(objective.carried[0][0], _state_after(objective, second)))


def _state_after(objective: RecurrentLM, window: list[StreamBatch]) -> tuple[Tensor, Tensor]:
    objective(window[0])
    return objective.carried[0][0]


def test_an_epoch_begins_without_a_memory() -> None:
    model, encoded = awd(), corpus()
    objective, fresh = RecurrentLM(model), RecurrentLM(model)
    batches = StreamBatches(encoded, streams=2, bptt=10, seed=0)
    for window in batches.windows(0):
        objective(window[0])
    first = next(iter(batches.windows(1)))[0]
    assert [term.sum.item() for term in objective(first)] == [term.sum.item() for term in fresh(first)]


def test_micro_batches_of_streams_give_the_gradient_of_the_whole() -> None:
    encoded = corpus(60)
    options = {"streams": 6, "bptt": 12, "seed": 0}
    whole, cut = RecurrentLM(awd()), RecurrentLM(awd())
    pieces = StreamBatches(encoded, **options, max_tokens=24)
    for one, several in zip(StreamBatches(encoded, **options).windows(0), pieces.windows(0)):
        assert (len(one), len(several)) == (1, 3)
        expected, found = step(whole, one), step(cut, several)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_two_ranks_give_the_gradient_of_one() -> None:
    encoded = corpus(60)
    options = {"streams": 5, "bptt": 12, "seed": 0}
    whole = RecurrentLM(awd())
    ranks = [RecurrentLM(awd()) for _ in range(2)]
    parts = [StreamBatches(encoded, **options, world_size=2, rank=rank) for rank in range(2)]
    for one, first, second in zip(StreamBatches(encoded, **options).windows(0), *(part.windows(0) for part in parts)):
        together = [*first, *second]
        expected = step(whole, one)
        found: dict[str, Tensor] = {}
        for objective, window in zip(ranks, (first, second)):
            objective.zero_grad()
            for batch in window:
                loss_of(objective(batch), together).backward()
            for name, parameter in objective.model.named_parameters():
                assert parameter.grad is not None
                found[name] = found.get(name, torch.zeros(())) + parameter.grad
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_going_on_from_a_saved_state_is_going_on() -> None:
    encoded = corpus(60)
    windows = list(StreamBatches(encoded, streams=4, bptt=10, seed=0, max_tokens=20).windows(0))
    objective = RecurrentLM(awd())
    for window in windows[:3]:
        step(objective, window)
    stored = io.BytesIO()
    torch.save(objective.state_dict(), stored)
    stored.seek(0)
    other = RecurrentLM(awd())
    for batch in windows[0]:
        other(batch)  # a memory that has to go
    other.load_state_dict(torch.load(stored, weights_only=True))
    assert set(other.carried) == {0, 2}
    for window in windows[3:]:
        expected, found = step(objective, window), step(other, window)
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


def test_the_gradient_ends_with_its_window() -> None:
    encoded = corpus()
    objective = RecurrentLM(awd())
    first, second, *_ = (window[0] for window in StreamBatches(encoded, streams=2, bptt=10, seed=0).windows(0))
    objective(first)
    alone = RecurrentLM(objective.model)
    alone.carried = {0: [(h.clone(), c.clone()) for h, c in objective.carried[0]]}
    expected, found = step(alone, [second]), step(objective, [second])
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


def test_unpredicted_places_count_for_nothing() -> None:
    objective = RecurrentLM(awd())
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    labels = torch.tensor([[2, 3, 4, 5], [6, 7, NO_LABEL, NO_LABEL]])
    both = StreamBatch({"input_ids": ids}, {"rows": 2, "tokens": 6, "transitions": 4}, labels=labels, begins=True)
    alone = [
        StreamBatch({"input_ids": ids[:1]}, {}, labels=labels[:1], begins=True),
        StreamBatch({"input_ids": ids[1:, :2]}, {}, labels=labels[1:, :2], begins=True),
    ]
    expected = [[term.sum.item() for term in objective(batch)] for batch in alone]
    assert [term.sum.item() for term in objective(both)] == pytest.approx([a + b for a, b in zip(*expected)])


def test_blocks_of_a_transformer_have_its_own_loss() -> None:
    model, encoded = gpt2().eval(), corpus()
    objective = CausalLM(model)
    total, tokens = 0.0, 0
    for window in CausalBlocks(encoded, length=8, batch_size=3, max_tokens=100, seed=0).windows(0):
        for batch in window:
            assert batch.labels is not None
            (term,) = objective(batch)
            expected = 0.0
            for ids, labels in zip(batch.inputs["input_ids"], batch.labels):
                # transformers shifts by itself: a row with the last target at its end
                real = int((labels != NO_LABEL).sum())
                row = torch.cat([ids[:real], labels[real - 1 : real]])[None]
                expected += model(input_ids=row, labels=row).loss.item() * real
            assert (term.name, term.per, term.weight) == ("cross_entropy", "tokens", 1.0)
            assert term.sum.item() == pytest.approx(expected, rel=1e-5)
            total, tokens = total + term.sum.item(), tokens + batch.counts["tokens"]
    assert tokens == len(encoded.ids) - 1


def cohere() -> Any:
    """A model that scales its scores, so that they are more than a head makes of states."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.CohereConfig(vocab_size=VOCABULARY, logit_scale=0.3, pad_token_id=0, **sizes)
    return transformers.CohereForCausalLM(config).double()


@pytest.mark.parametrize("make", [gpt2, cohere])
@pytest.mark.parametrize("at_once", [5, 1000])
def test_scores_in_chunks_change_nothing(make: Any, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(language_model._SCORES, "cpu", at_once * VOCABULARY)
    model = make().eval()
    objective, batches = CausalLM(model), CausalBlocks(corpus(), length=8, batch_size=3, max_tokens=100, seed=0)
    assert (objective.head is None) == (make is cohere)
    ((batch,), *_) = batches.windows(0)
    found = step(objective, [batch])
    whole = model(**batch.inputs, use_cache=False).logits
    model.zero_grad()
    nn.functional.cross_entropy(whole.flatten(0, 1), batch.labels.flatten(), ignore_index=NO_LABEL).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-7)


def test_scores_of_blocks_are_those_of_each_alone() -> None:
    model, encoded = gpt2().eval(), corpus()
    ids = torch.from_numpy(encoded.ids.astype(np.int64))
    losses, hits = [], []
    for start in range(0, len(ids) - 1, 16):
        scores = model(input_ids=ids[None, start : start + 16]).logits[0, : len(ids) - 1 - start]
        targets = ids[start + 1 : start + 17]
        losses.append(-scores.log_softmax(-1)[torch.arange(len(targets)), targets])
        hits.append(scores.argmax(-1) == targets)
    expected = torch.cat(losses).mean().item()
    scored = language_scores(model, scoring_blocks(encoded, length=16, max_tokens=40), device="cpu")
    assert scored["loss"] == pytest.approx(expected, rel=1e-6)
    assert scored["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert scored["accuracy"] == torch.cat(hits).double().mean().item()


def test_a_loss_beyond_all_numbers_stays_one() -> None:
    model = gpt2().eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(1e6)
    scores = language_scores(model, scoring_blocks(corpus(), length=8, max_tokens=64), device="cpu")
    assert math.isfinite(scores["perplexity"])
    assert scores["loss"] > 700
