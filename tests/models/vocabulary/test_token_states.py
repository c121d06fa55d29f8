"""What an encoder makes of each token: against a slow loop, against scikit-learn, and at its two ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError
from understudy.inference.logits import logits
from understudy.models.probe.vectors import WithMeans
from understudy.models.structure.layers import watched
from understudy.models.vocabulary.token_states import TokenStates, contextual_table, states_of_words, token_states

TEXTS = ["a good film", "the film was bad, very bad", "good", "a song and a play", "the cast was lovely"]


@pytest.fixture
def encoder(tiny_bert: Path) -> Any:
    return AutoModel.from_pretrained(tiny_bert).eval()


@pytest.fixture
def encoded(tiny_bert: Path) -> Encoded:
    return encode(TEXTS, AutoTokenizer.from_pretrained(tiny_bert), max_length=16, cache=False)


@pytest.fixture
def states(encoder: Any, encoded: Encoded) -> TokenStates:
    names = ["input_ids", "attention_mask"]
    return token_states(encoder, encoded, names=names, tokens=encoder.config.vocab_size, max_tokens=24)


def test_states_are_those_of_a_loop_over_texts_and_places(encoder: Any, encoded: Encoded, states: TokenStates) -> None:
    sums = torch.zeros_like(states.sums)
    counts = torch.zeros_like(states.counts)
    for row in range(len(encoded)):
        ids = encoded.row(row)
        with torch.inference_mode():
            found = encoder(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0]
        for token, state in zip(ids, found):
            sums[token] += state
            counts[token] += 1
    torch.testing.assert_close(states.counts, counts)
    torch.testing.assert_close(states.sums, sums, rtol=1e-4, atol=1e-5)


def test_several_threads_add_up_the_same_and_the_answers_come_along(
    encoder: Any, encoded: Encoded, tiny_bert: Path
) -> None:
    """Bit for bit: what the batches give is added up in their order."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3).eval()
    size, names, rows = encoder.config.vocab_size, ["input_ids", "attention_mask"], np.array([4, 0, 1, 3])
    answers = np.zeros((4, 3 + encoder.config.hidden_size), np.float32)

    def keep(batch: np.ndarray, output: Any) -> None:
        answers[batch] = output.logits.numpy()

    one = token_states(encoder, encoded, names=names, tokens=size, rows=rows, max_tokens=12)
    with watched(model) as last:
        both, more = WithMeans(model, last), {"workers": 3, "on_batch": keep}
        several = token_states(both, encoded, names=names, tokens=size, rows=rows, max_tokens=12, **more)
    assert torch.equal(one.sums, several.sums)
    assert torch.equal(one.counts, several.counts)
    np.testing.assert_allclose(answers[:, :3], logits(model, encoded, names=names, rows=rows), atol=1e-5)
    for row, mean in zip(rows, answers[:, 3:], strict=True):
        with torch.inference_mode():
            states = encoder(input_ids=torch.from_numpy(encoded.row(row).astype(np.int64))[None]).last_hidden_state
        np.testing.assert_allclose(mean, states[0].mean(0), atol=1e-5)


def test_only_the_rows_that_are_named_are_read(encoder: Any, encoded: Encoded) -> None:
    size = encoder.config.vocab_size
    some = token_states(encoder, encoded, names=["input_ids", "attention_mask"], tokens=size, rows=np.array([2]))
    assert some.counts.nonzero().ravel().tolist() == sorted(encoded.row(2).tolist())


def test_a_word_suggests_what_ridge_regression_predicts(encoder: Any, states: TokenStates) -> None:
    """scikit-learn's own ridge, with the constant as one more column and each token weighted by its count."""
    words = encoder.get_input_embeddings().weight.detach()
    inputs = np.hstack([words.double().numpy(), np.ones((len(words), 1))])
    counts = states.counts.numpy()
    means = states.sums.numpy() / np.maximum(counts, 1)[:, None]
    penalty = 1e-2 * (counts[:, None] * inputs**2).sum(0).mean()
    reference = Ridge(alpha=penalty, fit_intercept=False, solver="cholesky").fit(inputs, means, sample_weight=counts)
    np.testing.assert_allclose(states_of_words(words, states).numpy(), reference.predict(inputs), rtol=1e-6, atol=1e-8)


def test_the_table_goes_from_the_guess_to_the_mean_as_a_token_gets_frequent(encoder: Any, states: TokenStates) -> None:
    words = encoder.get_input_embeddings().weight.detach()
    table, guess = contextual_table(words, states), states_of_words(words, states)
    never = states.counts == 0
    assert 0 < int(never.sum()) < len(never)
    torch.testing.assert_close(table[never], guess[never].float())
    once = states.counts == 1
    torch.testing.assert_close(table[once], ((states.sums + guess) / 2)[once].float())
    often = TokenStates(states.sums * 1e6, states.counts * 1e6)
    means = (states.sums / states.counts[:, None])[~never].float()
    torch.testing.assert_close(contextual_table(words, often)[~never], means, rtol=1e-4, atol=1e-5)


def test_an_encoder_that_shortens_its_texts_is_refused(encoder: Any, encoded: Encoded) -> None:
    """Funnel Transformer, for example, has fewer states than tokens."""

    class Shorter(torch.nn.Module):
        config = encoder.config

        def __init__(self) -> None:
            super().__init__()
            self.inner = encoder

        def forward(self, **inputs: Any) -> Any:
            found = self.inner(**inputs)
            found.last_hidden_state = found.last_hidden_state[:, ::2]
            return found

    with pytest.raises(ModelError, match="no state for each token"):
        token_states(Shorter(), encoded, names=["input_ids", "attention_mask"], tokens=99)
