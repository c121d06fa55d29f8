"""fast.ai's files of vocabularies and weights, read without running any code in them."""

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

_PLAIN_OPCODES = {"PROTO", "FRAME", "STOP", "MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"}
_PLAIN_OPCODES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_PLAIN_OPCODES |= {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}
"""All that a pickled list of strings consists of."""


def read_vocabulary(path: str | Path) -> list[str]:
    """fast.ai's ``itos``, the word of each id: a pickled list of strings, or the same as JSON.

    A pickle is a program that builds an object. Its operations are checked first, and it is loaded only if all it does
    is to put strings into lists. Anything else is refused before it runs.

    Raises:
        DataError: if there is no such file, if it holds anything but a list of strings, or if it is damaged.
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
                    f"{path}: is more than a list of words (it holds the operation {opcode.name}{what}), and a pickle that holds more can run code while it is loaded, so it is not opened. If you trust its origin, convert it to JSON once, in Python: json.dump(list(pickle.load(open({str(path)!r}, 'rb'))), open('itos.json', 'w')), and name itos.json instead."
                )
            if opcode.name.endswith("PUT") and int(str(argument)) > count:  # it would allocate that many places
                raise ValueError(f"it stores something at place {argument}")
        return _ListsAndStrings(io.BytesIO(content)).load()
    except (ValueError, IndexError, KeyError, EOFError, pickle.UnpicklingError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: is not a pickle, or is damaged: {reason}. Name fast.ai's vocabulary (itos.pkl)."
        ) from None


class _ListsAndStrings(pickle.Unpickler):
    """Refuses everything that is looked up by name. A pickle can run code in no other way."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        """Refuse."""
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is neither a list nor a string")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse."""
        raise pickle.UnpicklingError("a reference to something outside is neither a list nor a string")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file of weights (``.pth``, ``.h5``, ``.safetensors``) by name, on the CPU.

    torch's own format is read with ``weights_only=True``. A learner's file also holds the optimizer's state; only its
    model is returned.

    Raises:
        ModelError: if there is no such file, if it is damaged, or if it holds anything but tensors.
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
            f"{path}: holds more than tensors{what}, which could run code while it is loaded, or is not one of torch's files, so it is not opened. If you trust its origin, save its tensors alone once, in Python: torch.save(torch.load({str(path)!r}, weights_only=False)['model'], 'plain.pth'), and name plain.pth instead."
        ) from None
    except (RuntimeError, ValueError, EOFError, OSError, LookupError, AttributeError, SafetensorError) as error:
        said = "" if isinstance(error, LookupError | AttributeError) else " ".join(str(error).split())[:200].rstrip(".")
        reason = said or "it is not one of its files"
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
