"""fast.ai's AWD-LSTM language models: their vocabulary and their weights, read without running anything in them."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from understudy.errors import DataError, ModelError
from understudy.models.awd_lstm.model import AWDLSTMConfig, AWDLSTMForCausalLM

_PLAIN_OPCODES = {"PROTO", "FRAME", "STOP", "MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"}
_PLAIN_OPCODES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_PLAIN_OPCODES |= {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}
"""What a pickled list of strings consists of."""

_INPUT = "encoder.weight"
_DROPPED = ("encoder_with_dropout.embed.weight", "encoder_dp.emb.weight")
"""The same table once more, under the names of fast.ai 0.7, and of 1 and 2."""
_OUTPUT, _BIAS = "1.decoder.weight", "1.decoder.bias"
_LSTM = re.compile(r"rnns\.(\d+)\.(?:module\.)?((?:weight|bias)_(?:ih|hh)_l0)(_raw)?")
_LAYER = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_GATES = 4


def read_vocabulary(path: str | Path) -> list[str]:
    """fast.ai's ``itos``, the word of each id: a pickled list of strings, or the same as JSON.

    A pickle is a programme that builds an object. It is read operation by operation first, and loaded only if it does
    nothing but put strings into lists; anything else is refused before it is run.

    Raises:
        DataError: if there is no such file, it holds anything but a list of strings, or is damaged.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Name fast.ai's vocabulary (itos.pkl).") from error
    words = _from_json(content, path) if path.suffix == ".json" else _from_pickle(content, path)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        kinds = {type(word).__name__ for word in words} if isinstance(words, list) else {type(words).__name__}
        raise DataError(
            f"{path}: must hold a list of words, one for each id, but holds {' and '.join(sorted(kinds)) or 'nothing'}."
        )
    return words


def _from_json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}.") from None


def _from_pickle(content: bytes, path: Path) -> Any:
    count = 0
    try:
        for opcode, argument, _ in pickletools.genops(content):
            count += 1
            if opcode.name not in _PLAIN_OPCODES:
                what = f" {str(argument).replace(' ', '.')}" if opcode.name in ("GLOBAL", "INST") else ""
                raise DataError(
                    f"{path}: is more than a list of words (it holds the operation {opcode.name}{what}), and whatever else a pickle holds can run code as it is loaded, so it is not opened. Where you trust its origin, turn it into JSON once, in Python: json.dump(list(pickle.load(open({path.name!r}, 'rb'))), open('itos.json', 'w')), and name itos.json instead."
                )
            if opcode.name.endswith("PUT") and int(str(argument)) > count:  # it would make room for that many
                raise ValueError(f"it remembers something at place {argument}")
        return _ListsAndStrings(io.BytesIO(content)).load()
    except (ValueError, IndexError, KeyError, EOFError, pickle.UnpicklingError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: is no pickle, or a damaged one: {reason}. Name fast.ai's vocabulary (itos.pkl)."
        ) from None


class _ListsAndStrings(pickle.Unpickler):
    """Refuses whatever is looked up by name, which is how a pickle comes to run code."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        """Refuse."""
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is neither a list nor a string")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse."""
        raise pickle.UnpicklingError("a reference to something outside is neither a list nor a string")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file of weights (``.pth``, ``.h5``, ``.safetensors``) by name, on the CPU.

    torch's own format is read with ``weights_only=True``. A learner's file, which holds the optimizer's state too,
    gives its model.

    Raises:
        ModelError: if there is no such file, it is damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Name fast.ai's weights (a .pth or .h5 file).")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        called = re.search(r"(?:GLOBAL|Unsupported global:|Unsupported class|class) ([\w.]+)", str(error))
        what = f" ({called[1]})" if called else ""
        raise ModelError(
            f"{path}: holds more than tensors{what}, which could run code as it is loaded, or is no file of torch's, so it is not opened. Where you trust its origin, save its tensors alone once, in Python: torch.save(torch.load({path.name!r}, weights_only=False)['model'], 'plain.pth'), and name plain.pth instead."
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError, LookupError, AttributeError, SafetensorError) as error:
        said = "" if isinstance(error, LookupError | AttributeError) else " ".join(str(error).split())[:200].rstrip(".")
        reason = said or "it is none of its files"
        raise ModelError(
            f"{path}: cannot be read as torch's weights: {reason}. Name a whole .pth or .h5 file."
        ) from None
    if isinstance(found, Mapping) and isinstance(found.get("model"), Mapping):
        found = found["model"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()) or not found:
        raise ModelError(
            f"{path}: must hold tensors by name (a state dict), but holds {_kinds(found)}. Save learn.model.state_dict()."
        )
    return {str(name): tensor for name, tensor in found.items()}


def _kinds(found: Any) -> str:
    if not isinstance(found, Mapping):
        return type(found).__name__
    others = sorted({type(value).__name__ for value in found.values() if not isinstance(value, Tensor)})
    return " and ".join(others) if others else "nothing"


def awd_lstm_from_fastai(
    weights: Mapping[str, Tensor], *, pad_token_id: int, backward: bool = False, name: str = "the weights"
) -> AWDLSTMForCausalLM:
    """Our AWD-LSTM with the weights of fast.ai's, in eval mode; the sizes are read off the weights.

    Known are the names of fast.ai 0.7, 1 and 2, of language models (``learn.save``) and of encoders alone
    (``learn.save_encoder``), whose missing output table is their input table and whose output bias starts at zero.
    Dropouts are ULMFiT's, for fast.ai does not store them.

    Args:
        weights: as :func:`read_weights` gives them.
        pad_token_id: of the vocabulary.
        backward: whether the model was trained on reversed text.
        name: what errors call the weights.

    Raises:
        ModelError: with every fault: a name that is not known (a QRNN's, a classifier's), a tensor that is missing, or
            one whose shape does not fit the others.
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
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: they must not move the seed
        model = AWDLSTMForCausalLM(config)
    state = {"awd_lstm.embeddings.weight": tables[_INPUT], "lm_head.weight": tables[_INPUT]}
    state["lm_head.bias"] = tables.get(_BIAS, torch.zeros(words))
    state |= {f"awd_lstm.layers.{i}.{part}": tensor for i, layer in enumerate(layers) for part, tensor in layer.items()}
    model.load_state_dict(state)
    return model.eval()


def _sorted(weights: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The tables, and each layer's weights, under one set of names.

    Where weights were dropped, the raw ones count: beside them a file may hold what was left of them in the last step.
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
            f"{name}: {_what_it_is(unknown)}. Not known: {', '.join(unknown[:4])}{_more(unknown, 4)}; its names are {', '.join(list(weights)[:12])}{_more(list(weights), 12)}."
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
        return "is a classifier; give the language model that it was made of (learn.save), or its encoder (learn.save_encoder)"
    return "is no AWD-LSTM of fast.ai 0.7, 1 or 2"


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
                f"{name}: {other} {_shape(tables[other])} is not the table of 0.{_INPUT} {_shape(table)}, as it must be in a model with tied weights."
            )
    if _BIAS in tables and tables[_BIAS].shape != (words,):
        faults.append(f"{name}: {_BIAS} must be of {words}, but is of {_shape(tables[_BIAS])}.")
    hidden = layers[0]["weight_hh_l0"].shape[-1]
    widths = [width, *[hidden] * (len(layers) - 1), width]
    for i, layer in enumerate(layers):
        below, own = widths[i], widths[i + 1]
        expected = {"weight_ih_l0": (_GATES * own, below), "weight_hh_l0": (_GATES * own, own)}
        for part in _LAYER:
            wanted = expected.get(part, (_GATES * own,))
            if tuple(layer[part].shape) != wanted:
                faults.append(
                    f"{name}: {part} of layer {i} must be {'x'.join(map(str, wanted))}, as embeddings of {width} and layers of {hidden} have it, but is {_shape(layer[part])}."
                )
    if faults:
        raise ModelError(*faults)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
