"""The masked-LM objective against transformers' own loss over all positions, and its laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM

from understudy.data.batches.contract import Batch
from understudy.data.batches.masked import MaskedBlocks, MaskedLines, fixed_batches, masked_batch
from understudy.data.batches.masking import Masking
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.objectives.masked_lm import MaskedLM, masked_scores

NAMES = ("input_ids", "attention_mask")
MASKING = Masking(mask_id=4, maskable=np.arange(50) >= 5, probability=0.3, seed=0)


@pytest.fixture
def model() -> BertForMaskedLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=50, max_position_embeddings=40, **sizes)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    made = BertForMaskedLM(config).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


@pytest.fixture
def encoded() -> Encoded:
    rng = np.random.default_rng(5)
    texts = [[2, *rng.integers(5, 50, rng.integers(1, 16)).tolist(), 3] for _ in range(24)]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    return Encoded(np.concatenate(texts).astype(np.int32), offsets, None, 0, "right", "")


def gradient(model: BertForMaskedLM, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("chunk", [None, 7])
def test_loss_and_gradient_are_transformers_own_over_all_positions(
    model: BertForMaskedLM, encoded: Encoded, chunk: int | None
) -> None:
    batch = masked_batch(encoded, np.arange(24), MASKING, epoch=0, names=NAMES)
    (term,) = MaskedLM(model, chunk=chunk)(batch)
    assert (term.name, term.weight, term.per) == ("masked_lm", 1.0, "masked")
    expected = model(**batch.inputs, labels=batch.labels).loss
    mean = term.sum / batch.counts[term.per]
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=0)
    for found, wanted in zip(gradient(model, mean), gradient(model, expected), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-12)


def total(model: BertForMaskedLM, batches: list[Batch]) -> torch.Tensor:
    objective = MaskedLM(model)
    masked = sum(batch.counts["masked"] for batch in batches)
    return torch.stack([objective(batch)[0].sum for batch in batches]).sum() / masked


def test_cuts_and_blocks_change_nothing(model: BertForMaskedLM, encoded: Encoded) -> None:
    """All texts at once, in micro-batches, in buckets, or packed: one loss, one gradient."""
    options = {"names": NAMES, "batch_size": 24, "max_tokens": 64, "seed": 0}
    whole = [masked_batch(encoded, np.arange(24), MASKING, epoch=1, names=NAMES)]
    ways = {
        "three pieces": [
            masked_batch(encoded, rows, MASKING, epoch=1, names=NAMES) for rows in np.array_split(np.arange(24), 3)
        ],
        "lines": [b for w in MaskedLines(encoded, MASKING, **options).windows(1) for b in w],  # type: ignore[arg-type]
        "blocks": [
            b
            for w in MaskedBlocks(encoded, MASKING, max_length=20, **options).windows(1)  # type: ignore[arg-type]
            for b in w
        ],
    }
    expected = total(model, whole)
    wanted = gradient(model, expected)
    for name, batches in ways.items():
        found = total(model, batches)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0, msg=name)
        for one, other in zip(gradient(model, found), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12, msg=name)


def test_nothing_masked_is_a_finite_nothing(model: BertForMaskedLM, encoded: Encoded) -> None:
    batch = masked_batch(encoded, np.arange(3), replace(MASKING, probability=1e-9), epoch=0, names=NAMES)
    assert batch.counts["masked"] == 0
    (term,) = MaskedLM(model)(batch)
    assert term.sum == 0
    assert not any(part.any() for part in torch.autograd.grad(term.sum, list(model.cls.parameters())))


def test_an_objective_saves_the_model_once(model: BertForMaskedLM) -> None:
    assert set(MaskedLM(model).state_dict()) == {f"model.{name}" for name in model.state_dict()}


def test_scores_are_those_of_a_slow_loop(model: BertForMaskedLM, encoded: Encoded) -> None:
    everything = masked_batch(encoded, np.arange(24), MASKING, epoch=0, names=NAMES).labels
    assert everything is not None
    frequent = everything[everything != NO_LABEL].mode().values
    losses, hits = [], []
    with torch.no_grad():
        model.cls.predictions.decoder.bias[frequent] += 30  # so that some guesses are right
        for row in range(24):
            batch = masked_batch(encoded, np.array([row]), MASKING, epoch=0, names=NAMES)
            assert batch.labels is not None
            for place in range(batch.labels.shape[1]):
                word = int(batch.labels[0, place])
                if word != NO_LABEL:
                    logits = model.eval()(**batch.inputs).logits[0, place]
                    losses.append(F.cross_entropy(logits, torch.tensor(word)).item())
                    hits.append(int(logits.argmax()) == word)
    model.train()
    batches = fixed_batches(encoded, MASKING, names=NAMES, max_tokens=64)
    scores = masked_scores(model, batches, device="cpu", chunk=5)
    assert scores["loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert scores["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-9)
    assert scores["accuracy"] == pytest.approx(np.mean(hits))
    assert 0 < scores["accuracy"] < 1
    assert model.training


def test_scores_of_nothing_are_no_number(model: BertForMaskedLM) -> None:
    assert all(math.isnan(value) for value in masked_scores(model, [], device="cpu").values())
