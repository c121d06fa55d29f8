"""Our AWD-LSTM from the weights of fast.ai's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from understudy.errors import ModelError
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM

_INPUT = "encoder.weight"
_DROPPED = ("encoder_with_dropout.embed.weight", "encoder_dp.emb.weight")
"""The same table once more, under its names in fast.ai 0.7, and in 1 and 2."""
_OUTPUT, _BIAS = "1.decoder.weight", "1.decoder.bias"
_LSTM = re.compile(r"rnns\.(\d+)\.(?:module\.)?((?:weight|bias)_(?:ih|hh)_l0)(_raw)?")
_LAYER = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_GATES = 4


def awd_lstm_from_fastai(
    weights: Mapping[str, Tensor], *, pad_token_id: int, backward: bool = False, name: str = "the weights"
) -> AWDLSTMForCausalLM:
    """Our AWD-LSTM with the weights of fast.ai's, in eval mode. The sizes are read from the shapes of the weights.

    Understands the names of fast.ai 0.7, 1 and 2, of language models (``learn.save``) and of encoders alone
    (``learn.save_encoder``). An encoder's missing output table is its input table, and its missing output bias is zero.
    The dropouts are ULMFiT's, because fast.ai does not store them.

    Args:
        weights: as :func:`understudy.models.awd_lstm.fastai_files.read_weights` returns them.
        pad_token_id: the id of the padding token in the vocabulary.
        backward: whether the model was trained on reversed text.
        name: the name of the weights in error messages.

    Raises:
        ModelError: if a name is unknown (a QRNN's, a classifier's), a tensor is missing, or shapes do not fit together
            (all of them are named).
    """
    tables, layers = _sorted(weights, name)
    _check_shapes(tables, layers, name)
    words, width = tables[_INPUT].shape
    hidden = layers[0]["weight_hh_l0"].shape[1]
    config = AWDLSTMConfig(
        vocab_size=words,
        embedding_size=width,
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        backward=backward,
        pad_token_id=pad_token_id,
    )
    with torch.random.fork_rng(
        devices=[]
    ):  # the initial weights are overwritten, so drawing them must not change the seed
        model = AWDLSTMForCausalLM(config)
    state = {"awd_lstm.embeddings.weight": tables[_INPUT], "lm_head.weight": tables[_INPUT]}
    state["lm_head.bias"] = tables.get(_BIAS, torch.zeros(words))
    state |= {f"awd_lstm.layers.{i}.{part}": tensor for i, layer in enumerate(layers) for part, tensor in layer.items()}
    model.load_state_dict(state)
    return model.eval()


def _sorted(weights: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The tables, and each layer's weights, under one set of names.

    If a file holds both raw weights and the same weights after dropout (of the last step), the raw ones are taken.
    """
    tables: dict[str, Tensor] = {}
    layers: dict[int, dict[str, Tensor]] = {}
    raw: set[tuple[int, str]] = set()
    unknown = []
    for full, tensor in weights.items():
        plain = full.removeprefix("0.")
        if full in (_OUTPUT, _BIAS) or plain in (_INPUT, *_DROPPED):
            tables[full if full in (_OUTPUT, _BIAS) else plain] = tensor
        elif match := _LSTM.fullmatch(plain):
            place = (int(match[1]), match[2])
            if match[3] or place not in raw:
                layers.setdefault(place[0], {})[place[1]] = tensor
            if match[3]:
                raw.add(place)
        else:
            unknown.append(full)
    if unknown:
        raise ModelError(
            f"{name}: {_what_it_is(unknown)}. Unknown names: {', '.join(unknown[:4])}{_more(unknown, 4)}; all names: {', '.join(list(weights)[:12])}{_more(list(weights), 12)}."
        )
    missing = [f"0.{_INPUT}"] * (_INPUT not in tables) + ["0.rnns.0"] * (not layers)
    for i in range(max(layers, default=-1) + 1):
        missing += [f"0.rnns.{i}: {part}" for part in _LAYER if part not in layers.get(i, {})]
    if missing:
        raise ModelError(
            f"{name}: lacks {', '.join(missing)}. Give the weights of a whole AWD-LSTM language model (learn.save)."
        )
    return tables, [layers[i] for i in sorted(layers)]


def _what_it_is(unknown: list[str]) -> str:
    if any(".linear." in key for key in unknown):
        return "is a QRNN, but only LSTMs can be imported"
    if any("_reverse" in key for key in unknown):
        return "is bidirectional, but only models of one direction can be imported"
    if any(re.match(r"1\.layers\.|0\.module\.", key) for key in unknown):
        return "is a classifier; give the language model that it was made from (learn.save), or its encoder (learn.save_encoder)"
    return "is not an AWD-LSTM of fast.ai 0.7, 1 or 2"


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""


def _check_shapes(tables: Mapping[str, Tensor], layers: list[dict[str, Tensor]], name: str) -> None:
    faults = []
    table = tables[_INPUT]
    if table.dim() != 2:
        raise ModelError(f"{name}: {_INPUT} must have two dimensions, but has {table.dim()}.")
    words, width = table.shape
    for other in (*_DROPPED, _OUTPUT):
        if other in tables and not (tables[other].shape == table.shape and torch.equal(tables[other], table)):
            faults.append(
                f"{name}: {other} {_shape(tables[other])} is not equal to 0.{_INPUT} {_shape(table)}, but in a model with tied weights it must be."
            )
    if _BIAS in tables and tables[_BIAS].shape != (words,):
        faults.append(f"{name}: {_BIAS} must have {words} entries, but its shape is {_shape(tables[_BIAS])}.")
    hidden = layers[0]["weight_hh_l0"].shape[-1]
    widths = [width, *[hidden] * (len(layers) - 1), width]
    for i, layer in enumerate(layers):
        below, own = widths[i], widths[i + 1]
        expected = {"weight_ih_l0": (_GATES * own, below), "weight_hh_l0": (_GATES * own, own)}
        for part in _LAYER:
            wanted = expected.get(part, (_GATES * own,))
            if tuple(layer[part].shape) != wanted:
                faults.append(
                    f"{name}: {part} of layer {i} must be {'x'.join(map(str, wanted))} (embeddings of {width}, layers of {hidden}), but is {_shape(layer[part])}."
                )
    if faults:
        raise ModelError(*faults)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
