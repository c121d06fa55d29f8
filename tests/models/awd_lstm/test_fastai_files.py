"""fast.ai's files of vocabularies and weights: what is read, and that no code in them runs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from understudy.errors import DataError, ModelError
from understudy.models.awd_lstm.fastai_files import read_vocabulary, read_weights

Weights = dict[str, Tensor]


def weights() -> Weights:
    """Tensors by name, as a file holds them."""
    torch.manual_seed(7)
    return {"0.encoder.weight": torch.randn(11, 6), "1.decoder.bias": torch.linspace(-1, 1, 11)}


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {"model": w, "opt": {"state": {}, "param_groups": [{"lr": 1e-3}]}}]
)
@pytest.mark.parametrize("old_format", [False, True])
def test_torch_files_are_read(tmp_path: Path, wrap: Any, old_format: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(weights()), path, _use_new_zipfile_serialization=not old_format)
    found = read_weights(path)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in weights().items()}


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.clone() for name, tensor in weights().items()}, path)
    assert set(read_weights(path)) == set(weights())


class Creates:
    """An object whose pickle makes a folder while it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("old_format", [False, True])
def test_weights_that_would_run_code_are_refused(tmp_path: Path, old_format: bool) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    torch.save({"model": weights(), "opt": Creates(proof)}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ModelError, match=r"weights.pth: holds more than tensors \(\w+\.mkdir\).*so it is not opened"):
        read_weights(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "weights.pth: "),
        (b"PK\x03\x04 cut off", "cannot be read as torch's weights"),
        (b"just text", "it is not one of its files"),
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
    pickle.loads(content)  # noqa: S301 - the folder really is made
    assert proof.exists()


EVIL = [
    b"cos\nsystem\n(S'touch proof'\ntR.",  # a call
    b"(S'touch proof'\nios\nsystem\n.",  # the same with an old operation
    b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # a new object
    b"Pid\n.",  # a reference to something outside
    b"\x82\x01.",  # a registered extension
    b"]q\x00}b.",  # sets the state of a list
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
        ("itos.pkl", b"]r\xff\xff\xff\x7f."),  # allocates two thousand million places
        ("itos.pkl", b"aa."),  # appended to nothing
        ("itos.json", b"["),
        ("itos.json", b"{}"),
    ],
)
def test_damaged_vocabularies(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: (is not a pickle, or is damaged|cannot be read as JSON|must hold)"):
        read_vocabulary(path)


def test_a_missing_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_vocabulary(tmp_path / "itos.pkl")
