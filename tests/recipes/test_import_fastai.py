"""``understudy import fastai``, from toy files to a folder that trains on."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import understudy
from understudy.cli import main
from understudy.models.language import load_next_token_model

ITOS = [
    "xxunk",
    "xxpad",
    "xxbos",
    "xxmaj",
    "xxup",
    "xxrep",
    "the",
    "film",
    "was",
    "good",
    "bad",
    ".",
    "xxfake",
    "xxfake",
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Weights of 2 layers, 4/6, as fast.ai 1 has them, and their vocabulary."""
    torch.manual_seed(0)
    table = torch.randn(len(ITOS), 4)
    weights = {"0.encoder.weight": table, "0.encoder_dp.emb.weight": table, "1.decoder.weight": table}
    weights["1.decoder.bias"] = torch.randn(len(ITOS))
    for i, lstm in enumerate([nn.LSTM(4, 6), nn.LSTM(6, 4)]):
        for name, tensor in lstm.state_dict().items():
            raw = name == "weight_hh_l0"
            weights[f"0.rnns.{i}.{name}_raw" if raw else f"0.rnns.{i}.module.{name}"] = tensor
    torch.save({"model": weights, "opt": {}}, tmp_path / "lstm_wt103.pth")
    (tmp_path / "itos_wt103.pkl").write_bytes(pickle.dumps(ITOS))
    return tmp_path / "lstm_wt103.pth", tmp_path / "itos_wt103.pkl"


def test_files_become_a_model_that_reads_texts(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wt103"
    assert main(["import", "fastai", *map(str, files), "--output", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"{folder}: an AWD-LSTM of 2 layers, 4/6, 14 words; " in said
    assert "Texts are cut as fast.ai cut them, except for:" in said
    assert "spaCy's lists of exceptions" in said
    config = json.loads((folder / "config.json").read_text())
    assert config["understudy"]["kind"] == "language_model"
    model, tokenizer = load_next_token_model(str(folder))
    assert tokenizer.tokenize("The film.") == ["xxmaj", "the", "film", "."]
    weights = torch.load(files[0], weights_only=True)["model"]
    assert torch.equal(model.awd_lstm.embeddings.weight, weights["0.encoder.weight"])
    assert torch.equal(model.lm_head.bias, weights["1.decoder.bias"])
    assert torch.equal(model.awd_lstm.layers[1].weight_hh_l0, weights["0.rnns.1.weight_hh_l0_raw"])


def test_it_is_trained_further_and_classifies(
    files: tuple[Path, Path], tmp_path: Path, reviews: Path, quick: None
) -> None:
    """ULMFiT's three stages: the published model, the domain, the classifier."""
    folder, lm = tmp_path / "wt103", tmp_path / "lm"
    assert main(["import", "fastai", *map(str, files), "--output", str(folder)]) == 0
    (tmp_path / "pool.txt").write_text("The film was good .\nThe film was bad .\n" * 60, encoding="utf-8")
    common = ["--epochs", "1", "--batch_size", "4"]
    texts = ["--data", str(tmp_path / "pool.txt"), "--model", str(folder), "--output", str(lm)]
    assert main(["pretrain", *texts, *common]) == 0
    rows = ["--data", str(reviews), "--model", str(lm), "--output", str(tmp_path / "run"), "--no_baseline"]
    assert main(["finetune", *rows, *common]) == 0
    assert understudy.load(str(tmp_path / "run")).tokenizer.bos_token == "xxbos"


def test_it_is_carried_to_the_words_of_other_texts(files: tuple[Path, Path], tmp_path: Path, quick: None) -> None:
    words = [*ITOS[:3], "xxfld", *ITOS[3:6], "1", "2", *ITOS[6:11]]
    files[1].write_bytes(pickle.dumps(words))
    folder, lm = tmp_path / "wt103", tmp_path / "lm"
    assert main(["import", "fastai", *map(str, files), "--output", str(folder)]) == 0
    (tmp_path / "pool.txt").write_text("The song was good .\nThe song was bad .\n" * 60, encoding="utf-8")
    texts = ["--data", str(tmp_path / "pool.txt"), "--model", str(folder), "--output", str(lm)]
    assert main(["pretrain", *texts, "--vocabulary", "words:30", "--epochs", "1", "--batch_size", "4"]) == 0
    tokenizer = load_next_token_model(str(lm))[1]
    assert tokenizer.tokenize("The song.") == ["xxmaj", "the", "song", "."]
    assert "xxfld" in tokenizer.get_vocab()


def test_a_folder_of_other_things_is_not_replaced(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    given = ["import", "fastai", *map(str, files), "--output", str(tmp_path / "mine")]
    assert main([*given, "--overwrite"]) == 2
    assert "the folder is not empty and holds no model" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (tmp_path / "mine" / "thesis.txt").unlink()
    assert main([*given, "--overwrite"]) == main([*given, "--overwrite"]) == 0


def test_only_a_model_of_ours_is_replaced_and_never_what_is_read(
    files: tuple[Path, Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["import", "fastai", *map(str, files)]
    theirs = tmp_path / "bert"
    shutil.copytree(tiny_bert, theirs)
    kept = {path.name: path.read_bytes() for path in theirs.iterdir()}
    assert main([*given, "--output", str(theirs), "--overwrite"]) == 2
    assert "holds no model of understudy, or more than that" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == kept
    folder = tmp_path / "mine"
    assert main([*given, "--output", str(folder)]) == 0
    vocabulary = folder / "itos.json"
    vocabulary.write_text(json.dumps(ITOS), encoding="utf-8")
    again = ["import", "fastai", str(files[0]), str(vocabulary), "--output", str(folder), "--overwrite"]
    assert main(again) == 2
    assert "which the command reads" in capsys.readouterr().err
    assert vocabulary.exists()


def test_backward_models_are_said_to_be_so(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bwd = files[0].rename(tmp_path / "bwd_wt103.pth")
    given = ["import", "fastai", str(bwd), str(files[1]), "--output", str(tmp_path / "a")]
    assert main(given) == 0
    assert "import it again with --backward" in capsys.readouterr().out
    assert main([*given, "--backward", "--overwrite"]) == 0
    assert "import it again" not in capsys.readouterr().out
    assert json.loads((tmp_path / "a" / "config.json").read_text())["backward"] is True


def test_an_encoder_alone(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = torch.load(files[0], weights_only=True)["model"]
    encoder = {name.removeprefix("0."): tensor for name, tensor in weights.items() if name.startswith("0.")}
    torch.save(encoder, files[0])
    assert main(["import", "fastai", *map(str, files), "--output", str(tmp_path / "a")]) == 0
    assert "is an encoder alone; it predicts with its embeddings" in capsys.readouterr().out


def test_a_vocabulary_of_another_model(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_bytes(pickle.dumps(ITOS[:-1]))
    assert main(["import", "fastai", *map(str, files), "--output", str(tmp_path / "a")]) == 2
    assert (
        "itos_wt103.pkl: has 13 words, but the weights are for 14: they do not belong together"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "a").exists()


class Creates:
    """An object whose pickle makes a folder as it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_neither_file_is_run_and_both_are_reported(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_bytes(pickle.dumps([*ITOS, Creates(tmp_path / "one")]))
    torch.save({"model": {"0.encoder.weight": torch.ones(2)}, "opt": Creates(tmp_path / "two")}, files[0])
    assert main(["import", "fastai", *map(str, files), "--output", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert "lstm_wt103.pth: holds more than tensors" in error
    assert "itos_wt103.pkl: is more than a list of words" in error
    assert not any((tmp_path / name).exists() for name in ("one", "two", "a"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "fastai"], ["no weights", "no vocabulary", "no output"]),
        (["import", "fastai", "w.pth", "i.pkl", "--output", "x"], ["w.pth: no such file", "i.pkl: no such file"]),
        (["import", "fastia"], ["unknown command 'import fastia'. Did you mean 'import fastai'?"]),
    ],
)
def test_mistakes(arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in said)


def test_what_is_there_is_kept(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    given = ["import", "fastai", *map(str, files), "--output", str(tmp_path / "a")]
    assert main(given) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*given, "--overwrite"]) == 0
