"""fast.ai's files, built here in every layout, read and compared with an LSTM of torch's own."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from understudy.errors import DataError, ModelError
from understudy.models.awd_lstm.fastai import awd_lstm_from_fastai, read_vocabulary, read_weights

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
    """``fwd_wt103.h5``: no output bias, raw weights inside the module."""
    found = {"0.encoder.weight": table(), "0.encoder_with_dropout.embed.weight": table()}
    for i, lstm in enumerate(lstms(layers)):
        for name, tensor in lstm.state_dict().items():
            found[f"0.rnns.{i}.module.{name}{'_raw' if name == 'weight_hh_l0' else ''}"] = tensor
    return found | {"1.decoder.weight": table()}


def fastai_1(layers: int = 3) -> Weights:
    """``lstm_wt103.pth``: raw weights outside the module, and inside it what dropout had left of them."""
    found = {"0.encoder.weight": table(), "0.encoder_dp.emb.weight": table()}
    for i, lstm in enumerate(lstms(layers)):
        found[f"0.rnns.{i}.weight_hh_l0_raw"] = lstm.weight_hh_l0.data
        for name, tensor in lstm.state_dict().items():
            found[f"0.rnns.{i}.module.{name}"] = tensor * (0.5 if name == "weight_hh_l0" else 1)
    return found | {"1.decoder.weight": table(), "1.decoder.bias": torch.linspace(-1, 1, WORDS)}


def fastai_2(layers: int = 3) -> Weights:
    """As fast.ai 2 writes it: without the dropped weights."""
    return {name: tensor for name, tensor in fastai_1(layers).items() if not name.endswith("module.weight_hh_l0")}


def encoder_alone(layers: int = 3) -> Weights:
    """``learn.save_encoder``."""
    return {name.removeprefix("0."): tensor for name, tensor in fastai_2(layers).items() if name.startswith("0.")}


LAYOUTS = {"0.7": fastai_0_7, "1": fastai_1, "2": fastai_2, "encoder": encoder_alone}


def reference(ids: Tensor, bias: Tensor, layers: int) -> Tensor:
    """The scores by torch's own LSTMs: ``(rows, tokens, words)``."""
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
            r"is no AWD-LSTM .* its names are transformer.wte.weight\.",
        ),
        (lambda: without("0.encoder.weight"), r"lacks 0.encoder.weight\. "),
        (lambda: without("0.rnns.1.module.bias_hh_l0"), "lacks 0.rnns.1: bias_hh_l0"),
        (lambda: {"0.encoder.weight": table()}, "lacks 0.rnns.0"),
        (
            lambda: changed("1.decoder.weight", table() + 1),
            "1.decoder.weight 11x6 is not the table of 0.encoder.weight 11x6",
        ),
        (lambda: changed("1.decoder.bias", torch.ones(4)), "1.decoder.bias must be of 11, but is of 4"),
        (
            lambda: changed("0.rnns.1.module.weight_ih_l0", torch.ones(40, 7)),
            "weight_ih_l0 of layer 1 must be 40x10, as embeddings of 6 and layers of 10 have it, but is 40x7",
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


# Files of weights


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {"model": w, "opt": {"state": {}, "param_groups": [{"lr": 1e-3}]}}]
)
@pytest.mark.parametrize("old_format", [False, True])
def test_torch_files_are_read(tmp_path: Path, wrap: Any, old_format: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(fastai_2()), path, _use_new_zipfile_serialization=not old_format)
    found = read_weights(path)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in fastai_2().items()}


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.clone() for name, tensor in fastai_2().items()}, path)
    assert set(read_weights(path)) == set(fastai_2())


class Creates:
    """An object whose pickle makes a file as it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("old_format", [False, True])
def test_weights_that_would_run_code_are_refused(tmp_path: Path, old_format: bool) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    torch.save({"model": fastai_2(), "opt": Creates(proof)}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ModelError, match=r"weights.pth: holds more than tensors \(\w+\.mkdir\).*so it is not opened"):
        read_weights(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "weights.pth: "),
        (b"PK\x03\x04 cut off", "cannot be read as torch's weights"),
        (b"just text", "it is none of its files"),
    ],
)
def test_damaged_weights(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_weights(path)


@pytest.mark.parametrize(
    ("stored", "said"), [([1, 2], "but holds list"), ({"a": 1}, "but holds int"), ({}, "but holds nothing")]
)
def test_weights_that_are_no_tensors(tmp_path: Path, stored: Any, said: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(stored, path)
    with pytest.raises(ModelError, match=said):
        read_weights(path)


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_weights(tmp_path / "none.pth")


# Vocabularies


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_lists_of_words_are_read_from_every_kind_of_pickle(tmp_path: Path, protocol: int) -> None:
    words = ["xxunk", "xxpad", "naïve", "\n", "𝒳", "xxfake", "xxfake", *(f"w{i}" for i in range(400))]
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(words, protocol=protocol))
    assert read_vocabulary(tmp_path / "itos.pkl") == words


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "itos.json").write_text(json.dumps(["xxunk", "ɔ"]), encoding="utf-8")
    assert read_vocabulary(tmp_path / "itos.json") == ["xxunk", "ɔ"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, protocol: int) -> None:
    path, proof = tmp_path / "itos.pkl", tmp_path / "proof"
    content = pickle.dumps(["xxunk", Creates(proof)], protocol=protocol)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"itos.pkl: is more than a list of words .*so it is not opened.*json.dump"):
        read_vocabulary(path)
    assert not proof.exists()
    pickle.loads(content)  # noqa: S301 - the file would really have been made
    assert proof.exists()


EVIL = [
    b"cos\nsystem\n(S'touch proof'\ntR.",  # a call
    b"(S'touch proof'\nios\nsystem\n.",  # the same by an old operation
    b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # a new object
    b"Pid\n.",  # something kept elsewhere
    b"\x82\x01.",  # a registered extension
    b"]q\x00}b.",  # a state set upon a list
]


@pytest.mark.parametrize("content", EVIL)
def test_everything_else_that_a_pickle_can_do_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "itos.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is more than a list of words"):
        read_vocabulary(path)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"the": 0}, "holds the operation EMPTY_DICT"),
        (["the", 3], "holds the operation BININT1"),
        ([], "holds nothing"),
        ("the", "but holds str"),
        ([["the"]], "but holds list"),
    ],
)
def test_vocabularies_that_are_no_lists_of_words(tmp_path: Path, stored: Any, said: str) -> None:
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(stored))
    with pytest.raises(DataError, match=said):
        read_vocabulary(tmp_path / "itos.pkl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("itos.pkl", b""),
        ("itos.pkl", b"nonsense"),
        ("itos.pkl", pickle.dumps(["a", "b"])[:-3]),
        ("itos.pkl", b"]r\xff\xff\xff\x7f."),  # room for two thousand million things
        ("itos.pkl", b"aa."),  # appended to nothing
        ("itos.json", b"["),
        ("itos.json", b"{}"),
    ],
)
def test_damaged_vocabularies(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: (is no pickle, or a damaged one|cannot be read as JSON|must hold)"):
        read_vocabulary(path)


def test_a_missing_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_vocabulary(tmp_path / "itos.pkl")
