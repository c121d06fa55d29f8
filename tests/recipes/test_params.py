"""``understudy params``: counts by hand, models side by side, configurations without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from understudy.cli import main

BERT = {"vocab_size": 1000, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A BERT of two layers with a masked-LM head, and an ALBERT of the same shape with a table of width 2."""
    folder = tmp_path_factory.mktemp("configs")
    small = {**BERT, "num_hidden_layers": 2, "max_position_embeddings": 10}
    transformers.BertConfig(**small, architectures=["BertForMaskedLM"]).save_pretrained(folder / "bert")
    transformers.AlbertConfig(**small, embedding_size=2, architectures=["AlbertForMaskedLM"]).save_pretrained(
        folder / "albert"
    )
    return [folder / "bert", folder / "albert"]


BLOCK = 4 * (8 * 8 + 8) + 2 * (8 + 8) + (8 * 16 + 16) + (16 * 8 + 8)
"""Four projections, two norms, the way up and the way down."""
COUNTED = [
    {
        "embeddings": (1000 + 10 + 2) * 8 + 16,
        "layer 0": BLOCK,
        "layer 1": BLOCK,
        "head": (8 * 8 + 8) + 16 + 1000,
    },
    {
        "embeddings": (1000 + 10 + 2) * 2 + 4 + (2 * 8 + 8),
        "layers 0–1, shared": BLOCK,
        "head": (8 * 2 + 2) + 4 + 1000,
    },
]


def test_counts_are_those_of_a_pencil(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", *map(str, folders), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    for entry, expected, folder in zip(entries, COUNTED, folders, strict=True):
        total = sum(expected.values())
        assert {part["name"]: part["parameters"] for part in entry["components"]} == expected
        assert entry["name"] == str(folder)
        assert entry["parameters"] == total
        assert entry["bytes"] == {"fp32": 4 * total, "fp16": 2 * total, "int8": total}
        assert entry["ratio"] == pytest.approx(total / sum(COUNTED[0].values()))


def test_the_table_has_them_side_by_side(
    folders: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["params", *map(str, folders)]) == 0
    said = capsys.readouterr().out
    rows = {line[:24].strip(): line.split() for line in said.splitlines()}
    assert rows["embeddings"][1:] == ["8,112", "2,052", "0.25x"]
    assert rows["layer 1"][2:] == [f"{BLOCK:,}", "–"]
    assert rows["layers 0–1, shared"][3:] == ["–", f"{BLOCK:,}"]
    total = sum(COUNTED[0].values())
    assert rows["parameters"][1] == f"{total:,}"
    assert rows["int8"][1:3] == [f"{total / 1000:.1f}", "kB"]


def test_the_flag_says_the_same_as_bare_words(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for arguments in (["params", *map(str, folders)], ["params", "--models", *map(str, folders)]):
        assert main(arguments) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_all_faults_come_together(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["params", str(folders[0]), str(tmp_path), str(tmp_path / "none"), "bilstmm"]) == 2
    error = capsys.readouterr().err
    assert "holds no config.json" in error
    assert "none: there is no such folder" in error
    assert "bilstmm: there is no such folder, and no model of this name can be built here" in error
    assert main(["params"]) == 2
    assert "no models: name runs" in capsys.readouterr().err
    assert main(["params", str(folders[0]), "--jsn"]) == 2
    assert "Did you mean '--json'?" in capsys.readouterr().err
