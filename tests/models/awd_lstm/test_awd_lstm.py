"""AWD-LSTM against torch's own LSTM, a slow loop in NumPy, and closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from understudy.errors import ConfigError
from understudy.models.awd_lstm import encoder as awd_encoder
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.dropout import dropout_mask
from understudy.models.awd_lstm.encoder import AWDLSTMModel
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM, AWDLSTMForSequenceClassification
from understudy.models.awd_lstm.recurrence import detached, run_lstm

RATES = ("embedding_dropout", "input_dropout", "hidden_dropout", "weight_dropout", "output_dropout", "head_dropout")


def config(**settings: Any) -> AWDLSTMConfig:
    sizes = {"vocab_size": 60, "embedding_size": 5, "hidden_size": 7, "num_hidden_layers": 3, "num_labels": 3}
    return AWDLSTMConfig(**sizes | settings)


def only(**rates: float) -> dict[str, float]:
    """These dropout rates; all others are zero."""
    return dict.fromkeys(RATES, 0.0) | rates


def language_model(**settings: Any) -> AWDLSTMForCausalLM:
    torch.manual_seed(0)
    return AWDLSTMForCausalLM(config(**settings))


def classifier(**settings: Any) -> AWDLSTMForSequenceClassification:
    """A classifier in eval mode, with running statistics far from their initial values."""
    torch.manual_seed(0)
    model = AWDLSTMForSequenceClassification(config(**settings)).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name:
                tensor.normal_(std=0.4)
        for norm in (model.head.pooled_norm, model.head.hidden_norm):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.rows_seen.fill_(100)
    return model


def batch(lengths: list[int], *, seed: int = 1, left: int = 0, extra: int = 0) -> dict[str, Tensor]:
    """Random rows, padded with random tokens: `left` before the rows, `extra` after the longest row."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), left + max(lengths) + extra)
    ids = torch.randint(60, shape, generator=torch.Generator().manual_seed(seed + 100 * extra + 10_000 * left))
    mask = torch.zeros(shape, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, left : left + length] = torch.randint(60, (length,), generator=generator)
        mask[row, left : left + length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def inputs_of_layers(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Record the inputs of each layer from now on."""
    seen: list[Tensor] = []

    def recording(lstm: nn.LSTM, inputs: Tensor, *rest: Any, **named: Any) -> Any:
        seen.append(inputs.detach())
        return run_lstm(lstm, inputs, *rest, **named)

    monkeypatch.setattr(awd_encoder, "run_lstm", recording)
    return seen


class TestLSTM:
    @pytest.mark.parametrize("train", [False, True])
    def test_without_dropout_it_is_a_stack_of_nn_lstms(self, train: bool) -> None:
        model = language_model(drop_mult=0.0).train(train)
        ids = torch.randint(60, (4, 9))
        states = model.awd_lstm.embeddings(ids)
        state = []
        for ours in model.awd_lstm.layers:
            theirs = nn.LSTM(ours.input_size, ours.hidden_size, batch_first=True)
            theirs.load_state_dict(ours.state_dict())
            states, (h, c) = theirs(states)
            state.append((h, c))
        out = model(ids)
        assert [lstm.hidden_size for lstm in model.awd_lstm.layers] == [7, 7, 5]
        assert torch.equal(out.raw, states)
        assert torch.equal(out.dropped, states)
        torch.testing.assert_close(out.logits, states @ model.lm_head.weight.t() + model.lm_head.bias)
        for (h, c), (their_h, their_c) in zip(out.state, state):
            assert torch.equal(h, their_h)
            assert torch.equal(c, their_c)

    def test_a_dropped_matrix_equals_a_loop_over_time(self) -> None:
        torch.manual_seed(0)
        lstm = nn.LSTM(3, 4).double()
        dropped = (lstm.weight_hh_l0 * dropout_mask(lstm.weight_hh_l0, (16, 4), 0.5)).detach().requires_grad_()
        inputs = torch.randn(6, 2, 3, dtype=torch.float64)
        states, (h, c) = run_lstm(lstm, inputs, None, hidden_weight=dropped)
        expected, last = loop(lstm, inputs.numpy(), dropped.detach().numpy())
        np.testing.assert_allclose(states.detach().numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(c[0].detach().numpy(), last, atol=1e-12)
        assert torch.equal(h[0], states[-1])
        states.sum().backward()
        assert dropped.grad is not None
        assert lstm.weight_hh_l0.grad is None

    def test_weights_are_dropped_again_each_time_and_the_raw_ones_learn(self) -> None:
        model = language_model(**only(weight_dropout=0.5)).train()
        before = model.awd_lstm.layers[0].weight_hh_l0.detach().clone()
        first, second = model.awd_lstm.draw(2).weights[0], model.awd_lstm.draw(2).weights[0]
        assert ((first == 0) != (second == 0)).any()
        kept = first != 0
        torch.testing.assert_close(first[kept], 2 * before[kept])
        assert 0.3 < kept.float().mean() < 0.7
        ids = torch.randint(60, (2, 9))
        torch.manual_seed(3)
        model(ids).logits.logsumexp(-1).sum().backward()
        torch.manual_seed(3)
        dropped = model.awd_lstm.draw(2).weights[0] == 0
        gradient = model.awd_lstm.layers[0].weight_hh_l0.grad
        assert (gradient[dropped] == 0).all()
        assert (gradient[~dropped] != 0).all()
        assert torch.equal(model.awd_lstm.layers[0].weight_hh_l0, before)
        assert [name for name, _ in model.named_parameters() if "layers.0" in name] == [
            f"awd_lstm.layers.0.{name}" for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        ]

    def test_absent_steps_leave_the_state_at_zero(self) -> None:
        torch.manual_seed(0)
        lstm = nn.LSTM(3, 4)
        inputs = torch.randn(7, 2, 3, requires_grad=True)
        absent = torch.zeros(7, 2, 1, dtype=torch.bool)
        absent[:3, 1] = True
        states, (_, c) = run_lstm(lstm, inputs, None, absent=absent)
        assert (states[:3, 1] == 0).all()
        alone, (_, c_alone) = lstm(inputs[3:, 1:])
        torch.testing.assert_close(states[3:, 1:], alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(c[:, 1:], c_alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(states[:, :1], lstm(inputs[:, :1])[0], rtol=0, atol=1e-6)
        states.square().sum().backward()
        assert (inputs.grad[:3, 1] == 0).all()
        assert (inputs.grad[3:] != 0).any()


def loop(lstm: nn.LSTM, inputs: np.ndarray, hidden_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equations of an LSTM, step by step. Returns all h and the last c."""
    weight, bias, other = (
        getattr(lstm, name).detach().numpy() for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0")
    )
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    h = c = np.zeros((inputs.shape[1], lstm.hidden_size))
    states = []
    for x in inputs:
        i, f, g, o = np.split(x @ weight.T + bias + h @ hidden_weight.T + other, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states), c


class TestDropouts:
    def test_locked_masks_are_equal_over_time_and_different_over_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = language_model(**only(input_dropout=0.5, hidden_dropout=0.5)).train()
        seen = inputs_of_layers(monkeypatch)
        model(torch.randint(60, (6, 11)))
        for inputs in seen:
            zero = inputs == 0
            assert (zero == zero[:1]).all()
            assert (zero[0] != zero[0, :1]).any()
            assert 0.2 < zero.float().mean() < 0.8
        assert len(seen) == 3

    def test_input_dropout_rescales_what_it_keeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = language_model(**only(input_dropout=0.25)).train()
        seen = inputs_of_layers(monkeypatch)
        ids = torch.randint(60, (6, 11))
        model(ids)
        embedded = model.awd_lstm.embeddings(ids.t())
        kept = seen[0] != 0
        torch.testing.assert_close(seen[0][kept], embedded[kept] / 0.75)

    def test_embedding_dropout_drops_whole_words_and_rescales(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = language_model(**only(embedding_dropout=0.4)).train()
        seen = inputs_of_layers(monkeypatch)
        ids = torch.randint(20, (6, 30))
        model(ids)
        embedded = model.awd_lstm.embeddings(ids.t())
        dropped = set()
        for word in range(20):
            where = ids.t() == word
            if (seen[0][where] == 0).all():
                dropped.add(word)
            else:
                torch.testing.assert_close(seen[0][where], embedded[where] / 0.6)
        assert 2 <= len(dropped) <= 14

    def test_output_dropout_is_locked_and_raw_is_left_alone(self) -> None:
        model = language_model(**only(output_dropout=0.5)).train()
        ids = torch.randint(60, (6, 11))
        out = model(ids)
        torch.testing.assert_close(out.raw, model.eval()(ids).raw)
        zero = out.dropped == 0
        assert (zero == zero[:, :1]).all()
        assert (zero[:, 0] != zero[:1, 0]).any()
        torch.testing.assert_close(out.dropped[~zero], 2 * out.raw[~zero])
        torch.testing.assert_close(out.logits, model.lm_head(out.dropped))

    def test_drop_mult_scales_them_all(self) -> None:
        plain, half = config(), config(drop_mult=0.5)
        assert [half.rate(name) for name in RATES] == [plain.rate(name) / 2 for name in RATES]
        assert all(plain.rate(name) > 0 for name in RATES)

    @pytest.mark.parametrize("drop_mult", [4.0, 5.0, -1])
    def test_a_rate_of_one_or_less_than_zero_is_refused(self, drop_mult: float) -> None:
        with pytest.raises(ConfigError, match=r"drop_mult must be at least 0 and less than 4, where input_dropout"):
            AWDLSTMModel(config(drop_mult=drop_mult))
        with pytest.raises(ConfigError) as raised:
            AWDLSTMModel(config(hidden_dropout=1.0, head_dropout=-0.5))
        assert len(raised.value.faults) == 2

    def test_parts_in_eval_mode_drop_nothing(self) -> None:
        model = language_model(drop_mult=2.0).train()
        model.awd_lstm.embeddings.eval()
        model.awd_lstm.layers[0].eval()
        masks = model.awd_lstm.draw(3)
        assert (masks.words, masks.inputs, masks.hidden[0], masks.weights[0]) == (None, None, None, None)
        assert masks.hidden[1] is not None
        assert masks.weights[1] is not None

    def test_the_classifier_drops_too(self) -> None:
        model = classifier(**only(output_dropout=0.5)).train()
        inputs = batch([6, 6, 6])
        torch.manual_seed(0)
        first = model(**inputs).logits
        assert not torch.allclose(first, model(**inputs).logits)


class TestLanguageModel:
    def test_tied_weights_share_storage_before_and_after_a_round_trip(self, tmp_path: Path) -> None:
        model = language_model()
        model.save_pretrained(tmp_path)
        for lm in (model, AWDLSTMForCausalLM.from_pretrained(tmp_path)):
            assert lm.lm_head.weight is lm.awd_lstm.embeddings.weight
            with torch.no_grad():
                lm.awd_lstm.embeddings.weight[3, 2] = 17.0
            assert lm.lm_head.weight[3, 2] == 17.0
        stored = load_file(tmp_path / "model.safetensors")
        assert sum(tensor.shape == (60, 5) for tensor in stored.values()) == 1
        assert sum(tensor.numel() for tensor in stored.values()) == sum(p.numel() for p in model.parameters())

    def test_a_round_trip_changes_nothing(self, tmp_path: Path) -> None:
        for tied in (True, False):
            model = language_model(tie_word_embeddings=tied).eval()
            with torch.no_grad():
                model.lm_head.bias.normal_()
            model.save_pretrained(tmp_path / str(tied))
            loaded = AWDLSTMForCausalLM.from_pretrained(tmp_path / str(tied))
            ids = torch.randint(60, (2, 6))
            assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)
            assert (loaded.lm_head.weight is loaded.awd_lstm.embeddings.weight) is tied
            assert loaded.config.to_dict()["hidden_size"] == 7

    def test_untied_the_last_layer_is_as_wide_as_the_others(self) -> None:
        model = language_model(tie_word_embeddings=False)
        assert [lstm.hidden_size for lstm in model.awd_lstm.layers] == [7, 7, 7]
        assert model.lm_head.weight.shape == (60, 7)

    def test_perplexity_of_a_toy_by_hand(self) -> None:
        """With open input and output gates and a shut forget gate, h = tanh(tanh(x)) whatever came before. The two words
        are 1 and −1, so a word gives itself the score h and the other word −h, and is repeated with probability σ(2h)."""
        model = AWDLSTMForCausalLM(AWDLSTMConfig(vocab_size=2, embedding_size=1, hidden_size=1, num_hidden_layers=1))
        lstm: Any = model.awd_lstm.layers[0]
        with torch.no_grad():
            model.awd_lstm.embeddings.weight.copy_(torch.tensor([[1.0], [-1.0]]))
            lstm.weight_ih_l0.copy_(torch.tensor([[0.0], [0.0], [1.0], [0.0]]))
            lstm.weight_hh_l0.zero_()
            lstm.bias_ih_l0.copy_(torch.tensor([50.0, -50.0, 0.0, 50.0]))
            lstm.bias_hh_l0.zero_()
        stream = torch.tensor([[0, 0, 1, 1, 1]])
        logits = model.eval()(stream[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits[0], stream[0, 1:])
        again = 1 / (1 + math.exp(-2 * math.tanh(math.tanh(1))))
        by_hand = (again * (1 - again) * again * again) ** (-1 / 4)
        assert loss.exp().item() == pytest.approx(by_hand, rel=1e-6)
        assert by_hand == pytest.approx(1.7607, abs=1e-3)

    def test_windows_with_carried_state_are_the_whole_stream(self) -> None:
        model = language_model().eval()
        stream = torch.randint(60, (2, 30))
        state, parts = None, []
        for window in stream.split([7, 1, 12, 10], dim=1):
            out = model(window, state)
            state = detached(out.state)
            parts.append(out.logits)
        torch.testing.assert_close(torch.cat(parts, 1), model(stream).logits, rtol=0, atol=1e-6)
        assert [(h.shape, c.shape) for h, c in state] == [((1, 2, n), (1, 2, n)) for n in (7, 7, 5)]
        assert not any(tensor.requires_grad for pair in state for tensor in pair)

    def test_the_seed_decides_how_it_starts(self) -> None:
        first, second = language_model(), language_model()
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
        assert first.awd_lstm.embeddings.weight.abs().max() <= 0.1
        assert first.awd_lstm.layers[0].weight_hh_l0.abs().max() <= 7**-0.5
        assert (first.lm_head.bias == 0).all()


def pooled_slowly(model: AWDLSTMForSequenceClassification, row: Tensor) -> Tensor:
    """Last state, maximum and mean of one row without padding, read in one piece."""
    states = model.awd_lstm.embeddings(row[None])
    for lstm in model.awd_lstm.layers:
        plain = nn.LSTM(lstm.input_size, lstm.hidden_size, batch_first=True).to(states.dtype)
        plain.load_state_dict(lstm.state_dict())
        states = plain(states)[0]
    return torch.cat([states[0, -1], states[0].amax(0), states[0].mean(0)])


class TestClassifier:
    def test_concat_pooling_over_the_real_tokens(self) -> None:
        model = classifier(bptt=4, gradient_tokens=6)
        inputs = batch([13, 5, 9], extra=3)
        with torch.no_grad():
            expected = [pooled_slowly(model, inputs["input_ids"][i, :n]) for i, n in enumerate([13, 5, 9])]
        torch.testing.assert_close(model.pool(**inputs), torch.stack(expected), rtol=0, atol=1e-6)

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(
        lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
        extra=st.integers(0, 5),
        left=st.integers(0, 3),
        backward=st.booleans(),
        gradient_tokens=st.integers(1, 15),
    )
    def test_padding_on_either_side_changes_nothing(
        self, lengths: list[int], extra: int, left: int, backward: bool, gradient_tokens: int
    ) -> None:
        model = classifier(bptt=3, backward=backward, gradient_tokens=gradient_tokens)
        bare = model(**batch(lengths)).logits
        padded = model(**batch(lengths, extra=extra, left=left)).logits
        torch.testing.assert_close(padded, bare, rtol=0, atol=1e-5)
        for row, length in enumerate(lengths):
            alone = batch(lengths)["input_ids"][row : row + 1, :length]
            torch.testing.assert_close(model(alone).logits[0], bare[row], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("train", [False, True])
    def test_in_pieces_is_whole(self, train: bool) -> None:
        """Also with dropout: the masks are drawn once a document, not once a piece."""
        model = classifier().train(train)
        inputs = batch([90, 61, 75])
        found = []
        for bptt in (7, 1000):
            model.config.bptt = bptt
            torch.manual_seed(5)
            found.append(model.pool(**inputs))
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)

    def test_backward_reads_each_row_reversed_within_its_length(self) -> None:
        forward, backward = classifier(), classifier(backward=True)
        inputs = batch([9, 4])
        ids = inputs["input_ids"].clone()
        ids[0], ids[1, :4] = ids[0].flip(0), ids[1, :4].flip(0)
        torch.testing.assert_close(
            backward(**inputs).logits, forward(ids, inputs["attention_mask"]).logits, rtol=0, atol=1e-6
        )
        assert not torch.allclose(backward(**inputs).logits, forward(**inputs).logits, atol=1e-3)

    @pytest.mark.parametrize("backward", [False, True])
    def test_the_gradient_reaches_the_last_tokens_of_each_row_and_no_others(self, backward: bool) -> None:
        model = classifier(bptt=4, gradient_tokens=6, backward=backward)
        ids = torch.arange(3 * 15).view(3, 15)
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        mask[2, 11:] = 0
        model(ids, mask).logits.square().sum().backward()
        reached = set(model.awd_lstm.embeddings.weight.grad.abs().sum(1).nonzero()[:, 0].tolist())
        if backward:
            assert reached == {*range(6), *range(15, 19), *range(30, 36)}
        else:
            assert reached == {*range(9, 15), *range(15, 19), *range(35, 41)}

    def test_gradients_do_not_depend_on_the_rows_beside(self) -> None:
        model = classifier(bptt=4, gradient_tokens=6).double()
        lengths = [14, 3, 9]
        inputs = batch(lengths)
        together = gradients(model, model(**inputs).logits.square().sum())
        alone = [
            gradients(model, model(inputs["input_ids"][i : i + 1, :n]).logits.square().sum())
            for i, n in enumerate(lengths)
        ]
        for found, *parts in zip(together, *alone):
            torch.testing.assert_close(found, sum(parts), rtol=1e-9, atol=1e-10)

    def test_memory_for_the_gradient_is_flat_in_the_length(self) -> None:
        model = classifier(bptt=10, gradient_tokens=40).train()
        assert kept_for_backward(model, 1000) == kept_for_backward(model, 100)
        model.config.gradient_tokens = 1000
        assert kept_for_backward(model, 1000) > 5 * kept_for_backward(model, 100)

    def test_a_row_alone_and_an_empty_one_train(self) -> None:
        model = classifier().train()
        model(**batch([5])).logits.sum().backward()
        empty = {"input_ids": torch.tensor([[3, 4], [5, 6]]), "attention_mask": torch.tensor([[0, 0], [1, 1]])}
        assert model(**empty).logits.isfinite().all()
        assert model(torch.tensor([[3]]), torch.tensor([[0]])).logits.isfinite().all()

    def test_half_precision_with_padding_stays_finite_and_near(self) -> None:
        model, inputs = classifier(bptt=4), batch([9, 3])
        expected = model(**inputs).logits
        found = model.to(torch.bfloat16)(**inputs).logits
        torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.2)

    @pytest.mark.skipif(
        not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor computes no LSTM in bf16"
    )
    def test_mixed_precision_trains(self) -> None:
        model = classifier(bptt=4, gradient_tokens=6).train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch([9, 3])).logits.float().square().sum()
        loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
        lm, ids = language_model().train(), torch.randint(60, (3, 8))
        with torch.autocast("cpu", torch.bfloat16):
            out = lm(ids)
            out = lm(ids, detached(out.state))
        out.logits.float().logsumexp(-1).sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in lm.parameters())

    # torch's tracer is deprecated, but only it records an LSTM as one operation
    @pytest.mark.filterwarnings("ignore")
    def test_a_traced_graph_serves_all_sizes(self) -> None:
        model, inputs = classifier(bptt=4, gradient_tokens=5), batch([9, 6])
        with torch.no_grad():
            traced = torch.jit.trace(LogitsAlone(model), tuple(inputs.values()))
        assert str(traced.inlined_graph).count("aten::lstm") == 3
        for other in (inputs, batch([17, 2, 11])):
            torch.testing.assert_close(traced(*other.values()), model(**other).logits, rtol=0, atol=1e-5)

    def test_a_round_trip_keeps_the_heads_statistics(self, tmp_path: Path) -> None:
        model = classifier()
        model.save_pretrained(tmp_path)
        loaded = AWDLSTMForSequenceClassification.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**batch([5, 8])).logits, model(**batch([5, 8])).logits)


def kept_for_backward(model: nn.Module, tokens: int) -> int:
    """How many numbers autograd keeps for two documents, one of `tokens` tokens and one of half as many."""
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(**batch([tokens, tokens // 2]))
    return sum(sizes)


class LogitsAlone(nn.Module):
    """The interface that an exporter needs: tensors in, one tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask).logits


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]
