"""fast.ai's weights in every layout, against torch's own LSTM."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.awd_lstm.fastai import awd_lstm_from_fastai

WORDS, WIDTH, HIDDEN = 11, 6, 10
Weights = dict[str, Tensor]


def lstms(layers: int = 3) -> list[nn.LSTM]:
    torch.manual_seed(layers)
    widths = [WIDTH, *[HIDDEN] * (layers - 1), WIDTH]
    return [nn.LSTM(below, above) for below, above in pairwise(widths)]


def table() -> Tensor:
    torch.manual_seed(7)
    return torch.randn(WORDS, WIDTH)


def fastai_0_7(layers: int = 3) -> Weights:
    """The layout of ``fwd_wt103.h5``: no output bias, raw weights inside the module."""
    found = {"0.encoder.weight": table(), "0.encoder_with_dropout.embed.weight": table()}
    for i, lstm in enumerate(lstms(layers)):
        for name, tensor in lstm.state_dict().items():
            found[f"0.rnns.{i}.module.{name}{'_raw' if name == 'weight_hh_l0' else ''}"] = tensor
    return found | {"1.decoder.weight": table()}


def fastai_1(layers: int = 3) -> Weights:
    """The layout of ``lstm_wt103.pth``: raw weights outside the module, and inside it the weights after dropout."""
    found = {"0.encoder.weight": table(), "0.encoder_dp.emb.weight": table()}
    for i, lstm in enumerate(lstms(layers)):
        found[f"0.rnns.{i}.weight_hh_l0_raw"] = lstm.weight_hh_l0.data
        for name, tensor in lstm.state_dict().items():
            found[f"0.rnns.{i}.module.{name}"] = tensor * (0.5 if name == "weight_hh_l0" else 1)
    return found | {"1.decoder.weight": table(), "1.decoder.bias": torch.linspace(-1, 1, WORDS)}


def fastai_2(layers: int = 3) -> Weights:
    """The layout of fast.ai 2: without the weights after dropout."""
    return {name: tensor for name, tensor in fastai_1(layers).items() if not name.endswith("module.weight_hh_l0")}


def encoder_alone(layers: int = 3) -> Weights:
    """The layout of ``learn.save_encoder``."""
    return {name.removeprefix("0."): tensor for name, tensor in fastai_2(layers).items() if name.startswith("0.")}


LAYOUTS = {"0.7": fastai_0_7, "1": fastai_1, "2": fastai_2, "encoder": encoder_alone}


def reference(ids: Tensor, bias: Tensor, layers: int) -> Tensor:
    """Logits from torch's own LSTMs: ``(rows, tokens, words)``."""
    states = table()[ids.t()]
    for lstm in lstms(layers):
        states, _ = lstm(states)
    return (states @ table().t() + bias).transpose(0, 1)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_scores_as_torch_does(layout: str, layers: int) -> None:
    weights = LAYOUTS[layout](layers)
    model = awd_lstm_from_fastai(weights, pad_token_id=1)
    ids = torch.randint(WORDS, (2, 9))
    with torch.no_grad():
        expected = reference(ids, weights.get("1.decoder.bias", torch.zeros(WORDS)), layers)
        torch.testing.assert_close(model(ids).logits, expected)
    assert (model.config.vocab_size, model.config.embedding_size, model.config.num_hidden_layers) == (
        WORDS,
        WIDTH,
        layers,
    )
    assert model.config.pad_token_id == 1
    assert model.lm_head.weight is model.awd_lstm.embeddings.weight
    assert not model.training


def test_raw_weights_count_in_whatever_order() -> None:
    weights = fastai_1()
    again = dict(reversed(weights.items()))
    ids = torch.arange(WORDS)[None]
    with torch.no_grad():
        assert torch.equal(*(awd_lstm_from_fastai(w, pad_token_id=1)(ids).logits for w in (weights, again)))


def test_weights_that_were_never_dropped_need_no_raw_ones() -> None:
    weights = {name.replace("_raw", ""): tensor for name, tensor in fastai_0_7().items()}
    model = awd_lstm_from_fastai(weights, pad_token_id=1, backward=True)
    assert torch.equal(model.awd_lstm.layers[0].weight_hh_l0, lstms()[0].weight_hh_l0)
    assert model.config.backward


def test_the_seed_is_left_alone() -> None:
    weights = fastai_2()
    state = torch.get_rng_state()
    awd_lstm_from_fastai(weights, pad_token_id=1)
    assert torch.equal(torch.get_rng_state(), state)


def without(name: str) -> Weights:
    return {key: tensor for key, tensor in fastai_2().items() if key != name}


def changed(name: str, tensor: Tensor) -> Weights:
    return fastai_2() | {name: tensor}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (lambda: {"0.rnns.0.layers.0.linear.weight_raw": torch.ones(2, 2)} | fastai_2(), "is a QRNN"),
        (lambda: changed("0.rnns.0.module.weight_ih_l0_reverse", torch.ones(2)), "is bidirectional"),
        (lambda: {"1.layers.0.weight": torch.ones(2)} | fastai_2(), "is a classifier; give the language model"),
        (
            lambda: {"transformer.wte.weight": torch.ones(2, 2)},
            r"is not an AWD-LSTM .* all names: transformer.wte.weight\.",
        ),
        (lambda: without("0.encoder.weight"), r"lacks 0.encoder.weight\. "),
        (lambda: without("0.rnns.1.module.bias_hh_l0"), "lacks 0.rnns.1: bias_hh_l0"),
        (lambda: {"0.encoder.weight": table()}, "lacks 0.rnns.0"),
        (
            lambda: changed("1.decoder.weight", table() + 1),
            "1.decoder.weight 11x6 is not equal to 0.encoder.weight 11x6",
        ),
        (lambda: changed("1.decoder.bias", torch.ones(4)), "1.decoder.bias must have 11 entries, but its shape is 4"),
        (
            lambda: changed("0.rnns.1.module.weight_ih_l0", torch.ones(40, 7)),
            r"weight_ih_l0 of layer 1 must be 40x10 \(embeddings of 6, layers of 10\), but is 40x7",
        ),
        (lambda: changed("0.encoder.weight", torch.ones(5)), "must have two dimensions, but has 1"),
    ],
)
def test_what_does_not_fit_is_named(weights: Callable[[], Weights], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        awd_lstm_from_fastai(weights(), pad_token_id=1, name="w.pth")


def test_all_that_does_not_fit_is_named_together() -> None:
    weights = changed("1.decoder.bias", torch.ones(4)) | {"0.rnns.0.module.bias_hh_l0": torch.ones(3)}
    with pytest.raises(ModelError) as caught:
        awd_lstm_from_fastai(weights, pad_token_id=1)
    assert len(caught.value.faults) == 2
