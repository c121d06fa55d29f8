"""The BiLSTM student against a packed bidirectional nn.LSTM."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig


def student(*, pair: bool = False, seed: int = 0) -> BiLSTM:
    torch.manual_seed(seed)
    return BiLSTM(
        BiLSTMConfig(vocab_size=40, embedding_size=7, lstm_size=5, hidden_size=6, num_labels=3, pair=pair)
    ).eval()


def batch(lengths: list[int], *, seed: int = 1, left: int = 0, extra: int = 0) -> dict[str, torch.Tensor]:
    """Random rows, padded with random tokens: `left` before the rows, `extra` after the longest row."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), left + max(lengths) + extra)
    garbage = torch.Generator().manual_seed(seed + 100 * extra + 10_000 * left)
    ids = torch.randint(40, shape, generator=garbage)
    mask = torch.zeros(shape, dtype=torch.long)
    segments = torch.randint(2, shape, generator=garbage)
    for row, length in enumerate(lengths):
        ids[row, left : left + length] = torch.randint(40, (length,), generator=generator)
        mask[row, left : left + length] = 1
        segments[row, left : left + length] = (torch.arange(length) >= (length + 1) // 2).long()
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def packed_logits(model: BiLSTM, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same network with torch's own packed bidirectional LSTM."""
    size, width = model.config.lstm_size, model.config.embedding_size
    lstm = nn.LSTM(width, size, bidirectional=True, batch_first=True)
    weights = dict(model.forward_lstm.state_dict())
    weights |= {f"{name}_reverse": value for name, value in model.backward_lstm.state_dict().items()}
    lstm.to(model.dtype).load_state_dict(weights)
    lengths = inputs["attention_mask"].sum(1)
    packed = pack_padded_sequence(
        model.embeddings(inputs["input_ids"]), lengths, batch_first=True, enforce_sorted=False
    )
    states = pad_packed_sequence(lstm(packed)[0], batch_first=True)[0]
    pooled = []
    for row, length in enumerate(lengths.tolist()):
        real = states[row, :length]
        if model.config.pair:
            segments = inputs["token_type_ids"][row, :length]
            u, v = real[segments == 0].max(0).values, real[segments == 1].max(0).values
            pooled.append(torch.cat([u, v, (u - v).abs(), u * v]))
        else:
            pooled.append(real.max(0).values)
    return model.classifier(model.hidden(torch.stack(pooled)).relu())


@pytest.mark.parametrize("pair", [False, True])
def test_equals_a_packed_bidirectional_lstm(pair: bool) -> None:
    model = student(pair=pair).double()
    inputs = batch([9, 2, 5, 9, 4])
    torch.testing.assert_close(model(**inputs).logits, packed_logits(model, inputs), rtol=1e-10, atol=1e-10)
    model.float()
    torch.testing.assert_close(model(**inputs).logits, packed_logits(model, inputs), rtol=1e-6, atol=1e-6)


def test_gradients_equal_those_of_a_packed_lstm() -> None:
    model = student().double()
    inputs = batch([6, 3, 4])
    ours = torch.autograd.grad(model(**inputs).logits.square().sum(), model.embeddings.weight)[0]
    theirs = torch.autograd.grad(packed_logits(model, inputs).square().sum(), model.embeddings.weight)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    lengths=st.lists(st.integers(2, 8), min_size=1, max_size=4),
    extra=st.integers(0, 5),
    left=st.integers(0, 3),
    pair=st.booleans(),
)
def test_padding_on_either_side_changes_nothing(lengths: list[int], extra: int, left: int, pair: bool) -> None:
    model = student(pair=pair)
    bare = model(**batch(lengths)).logits
    padded = model(**batch(lengths, extra=extra, left=left)).logits
    torch.testing.assert_close(padded, bare, rtol=0, atol=1e-6)
    for row, length in enumerate(lengths):
        inputs = {name: tensor[row : row + 1, :length] for name, tensor in batch(lengths).items()}
        torch.testing.assert_close(model(**inputs).logits[0], bare[row], rtol=0, atol=1e-6)
        del inputs["attention_mask"]
        torch.testing.assert_close(model(**inputs).logits[0], bare[row], rtol=0, atol=1e-6)


def test_both_directions_read_the_order() -> None:
    model = student()
    ids = torch.tensor([[5, 6, 7, 8]])
    forward, backward = model(ids).logits, model(ids.flip(1)).logits
    assert not torch.allclose(forward, backward, atol=1e-4)


def test_half_precision_with_padding_stays_finite() -> None:
    model = student().to(torch.bfloat16)
    assert model(**batch([6, 1, 3])).logits.isfinite().all()


def test_a_pair_whose_second_text_is_empty_stays_finite() -> None:
    inputs = batch([4, 3])
    inputs["token_type_ids"].zero_()
    assert student(pair=True)(**inputs).logits.isfinite().all()


def test_pairs_need_segments() -> None:
    with pytest.raises(ValueError, match="token_type_ids"):
        student(pair=True)(torch.tensor([[1, 2]]))


def test_initial_forget_gates_are_open() -> None:
    model = student()
    for lstm in model.body():
        bias: Any = lstm.bias_ih_l0 + lstm.bias_hh_l0
        assert bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
        recurrent = lstm.weight_hh_l0
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(5), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # the tracer touches every attribute
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # torch's LSTM compares sizes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which the ONNX exporter still uses
def test_a_traced_graph_serves_other_shapes() -> None:
    """The traced graph must not depend on the example: it is traced on one full row and run on padded rows."""
    model = student()
    traced = torch.jit.trace(Logits(model), (torch.tensor([[3, 4, 5]]), torch.ones(1, 3, dtype=torch.long)))
    inputs = batch([5, 2, 7])
    got = traced(inputs["input_ids"], inputs["attention_mask"])
    torch.testing.assert_close(got, model(inputs["input_ids"], inputs["attention_mask"]).logits)


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, attention_mask).logits
