"""Pairs of texts that an encoder reads apart: when it is chosen, what it goes with, what it is refused with."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import understudy
from toy_reviews import WORDS
from understudy import cli
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pooled import PooledClassifier
from understudy.record import RunRecord
from understudy.settings.train.finetune import FinetuneSettings

pytestmark = [pytest.mark.usefixtures("quick_throughout"), pytest.mark.filterwarnings("ignore")]


def run(command: str, *flags: object) -> int:
    return cli.main([command, *map(str, flags)])


def finetune(*flags: object) -> int:
    return run("finetune", "--no_baseline", *flags)


def record(folder: Path) -> RunRecord:
    return RunRecord.load(folder / "record.json")


def write(path: Path, rows: int, seed: int) -> None:
    """Pairs whose label is whether both texts have the same words, in another order."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence1", "sentence2", "label"])
        for i in range(rows):
            one = rng.sample(WORDS, 5)
            other = rng.sample(one, 5) if i % 2 else rng.sample(WORDS, 5)
            writer.writerow([" ".join(one), " ".join(other), ("other", "same")[i % 2]])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for seed, (part, rows) in enumerate({"train": 120, "validation": 40, "test": 60}.items()):
        write(folder / f"{part}.csv", rows, seed)
    return folder


@pytest.fixture(scope="module")
def trained(pairs: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that chose to read them apart."""
    folder = tmp_path_factory.mktemp("runs") / "apart"
    flags = ("--data", pairs, "--model", tiny_bert, "--epochs", 2)
    assert finetune(*flags, "--output", folder) == 0
    return folder


def accuracy(folder: Path) -> float:
    return float(record(folder).models[0]["metrics"]["test"]["accuracy"])


def test_the_probe_chooses_to_read_apart_where_similarity_matters(trained: Path) -> None:
    found = record(trained)
    start = found.training["train"]["start"]
    assert start["pooling"] == "apart"
    assert start["loss_of_joined_above_apart"][1] > 0
    assert start["cross_validated"]["accuracy"] > 0.85
    assert any("read apart, so the saved model loads with understudy.load" in note for note in found.notes)
    assert any("read apart" in line for line in (trained / "README.md").read_text(encoding="utf-8").splitlines())
    assert accuracy(trained) > 0.85
    assert isinstance(understudy.load(trained).model, ApartClassifier)


def test_joined_pairs_are_read_where_their_order_decides(tiny_bert: Path, tmp_path: Path) -> None:
    """Which text has which word: what two texts have in common says nothing about it."""
    rng = random.Random(5)
    for part, rows in (("train", 120), ("validation", 20)):
        with (tmp_path / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence1", "sentence2", "label"])
            for i in range(rows):
                texts = [f"{word} {rng.choice(WORDS[16:])}" for word in ("good", "film")]
                writer.writerow([*texts[:: 1 if i % 2 else -1], ("second", "first")[i % 2]])
    out = tmp_path / "run"
    assert finetune("--data", tmp_path, "--model", tiny_bert, "--epochs", 1, "--output", out) == 0
    start = record(out).training["train"]["start"]
    assert start["pooling"] in ("head", "mean")
    assert start["loss_of_joined_above_apart"][0] < 0


def test_the_plan_says_why(pairs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune("--data", pairs, "--model", tiny_bert, "--dry_run", "--output", tmp_path / "a") == 0
    assert "apart: each text of a pair is read by itself" in capsys.readouterr().err


def test_killed_and_resumed_it_ends_with_the_same_bits(
    pairs: Path, tiny_bert: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def kill(name: str) -> None:
        nonlocal calls
        calls += name == "train.step"
        if calls == 3:
            raise KeyboardInterrupt

    flags = ("--data", pairs, "--model", tiny_bert, "--epochs", 2, "--output", tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr("understudy.training.loop.failpoint", kill)
        assert finetune(*flags, "--save_steps", 1) != 0
    assert finetune(*flags, "--save_steps", 1, "--resume") == 0
    whole, cut = (understudy.load(folder).model.state_dict() for folder in (trained, tmp_path / "cut"))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_given_by_hand_it_begins_as_the_same_probe(pairs: Path, tiny_bert: Path, trained: Path, tmp_path: Path) -> None:
    flags = ("--data", pairs, "--model", tiny_bert, "--epochs", 2, "--pooling", "apart", "--contrastive", "never")
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    starts = [record(folder).training["train"]["start"] for folder in (trained, tmp_path / "a")]
    assert starts[0]["cross_validated"] == pytest.approx(starts[1]["cross_validated"])
    assert isinstance(understudy.load(tmp_path / "a").model, ApartClassifier)
    one, other = (understudy.load(folder).predict([("good film", "film good")]) for folder in (trained, tmp_path / "a"))
    assert one == other


def test_a_random_start(pairs: Path, tiny_bert: Path, tmp_path: Path) -> None:
    flags = ("--data", pairs, "--model", tiny_bert, "--epochs", 1, "--start", "head")
    assert finetune(*flags, "--pooling", "apart", "--output", tmp_path / "a") == 0
    assert isinstance(understudy.load(tmp_path / "a").model, ApartClassifier)
    assert finetune(*flags, "--output", tmp_path / "b") == 0
    assert not isinstance(understudy.load(tmp_path / "b").model, ApartClassifier)


@pytest.mark.parametrize("pooling", ["auto", "mean", "apart"])
def test_a_frozen_encoder(pairs: Path, tiny_bert: Path, tmp_path: Path, pooling: str) -> None:
    flags = ("--data", pairs, "--model", tiny_bert, "--features", "frozen", "--pooling", pooling)
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    model = understudy.load(tmp_path / "a").model
    assert type(model) is (PooledClassifier if pooling == "mean" else ApartClassifier)
    said = [note for note in record(tmp_path / "a").notes if "the probe reads the texts of a pair apart" in note]
    assert bool(said) == (pooling == "auto")
    assert (accuracy(tmp_path / "a") > 0.85) == (pooling != "mean")


def test_the_probe_of_the_table_is_read_apart_too(pairs: Path, tiny_bert: Path, tmp_path: Path) -> None:
    flags = ("--data", pairs, "--model", tiny_bert, "--start", "head", "--epochs", 1)
    assert run("finetune", *flags, "--output", tmp_path / "a") == 0
    scores = {model["name"]: model["metrics"]["test"]["accuracy"] for model in record(tmp_path / "a").models}
    assert scores["probe"] > 0.85


def test_what_it_does_not_go_with_is_refused(
    pairs: Path, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--model", tiny_bert, "--output", tmp_path / "a")
    for features in ("trained", "frozen"):
        assert finetune("--data", reviews, *asked, "--pooling", "apart", "--features", features) == 2
        said = capsys.readouterr().err
        assert "--pooling apart reads the two texts of a pair by themselves, but a row of" in said
        assert "has one text" in said
    for flags, expected in (
        (("--pooling", "apart", "--contrastive", "always"), "but --pooling is apart"),
        (("--pooling", "head", "--features", "frozen"), "on means of states, but --pooling is head"),
    ):
        assert finetune("--data", pairs, *asked, *flags) == 2
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.fixture(scope="module")
def adapted(pairs: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose adapter reads them apart."""
    folder = tmp_path_factory.mktemp("runs") / "adapted"
    assert (
        finetune("--data", pairs, "--model", tiny_bert, "--epochs", 1, "--adapter", "pfeiffer", "--output", folder) == 0
    )
    return folder


TEXTS = [("good film", "film good"), ("a", "the book was very sad"), ("", "fine"), ("bad " * 60, "plot")]


def test_an_adapter_reads_them_apart_too(adapted: Path, trained: Path) -> None:
    start, other = (record(folder).training["train"]["start"] for folder in (adapted, trained))
    assert start["pooling"] == "apart"
    assert start["loss_of_joined_above_apart"] == pytest.approx(other["loss_of_joined_above_apart"], rel=0.2)
    assert accuracy(adapted) > 0.85
    assert isinstance(understudy.load(adapted).model, ApartClassifier)
    told = json.loads((adapted / "model" / "adapter_config.json").read_text(encoding="utf-8"))["understudy"]
    assert told["head"] == "apart"


def test_in_a_base_it_answers_as_alone_and_beside_others(
    adapted: Path, pairs: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    asked = ("--data", pairs, "--model", tiny_bert, "--epochs", 1, "--adapter", "houlsby", "--pooling", "mean")
    assert finetune(*asked, "--output", tmp_path / "joined") == 0
    base: Any = understudy.load_base(tiny_bert)
    folders = {"apart": adapted, "joined": tmp_path / "joined"}
    expected = {name: understudy.load(folder).logits(TEXTS) for name, folder in folders.items()}
    for name, folder in folders.items():
        base.load_adapter(folder, name=name)
        np.testing.assert_allclose(np.stack(base.logits(TEXTS)), expected[name], rtol=1e-5, atol=1e-5)
    names = ["apart", "joined", "joined", "apart", "joined", "apart", "apart", "joined"]
    for i, row in enumerate(base.logits(TEXTS * 2, adapters=names)):
        np.testing.assert_allclose(row, expected[names[i]][i % 4], rtol=1e-5, atol=1e-5)
    for name, rows in base.logits_of_each(TEXTS).items():
        np.testing.assert_allclose(rows, expected[name], rtol=1e-5, atol=1e-5)


def test_training_goes_on_from_such_an_adapter(
    adapted: Path, pairs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--data", pairs, "--model", tiny_bert, "--load_adapter", adapted, "--epochs", 1)
    assert finetune(*asked, "--output", tmp_path / "a") == 0
    assert "its head is kept" in capsys.readouterr().err
    assert isinstance(understudy.load(tmp_path / "a").model, ApartClassifier)


def test_such_an_adapter_is_exported_and_merged_but_not_for_others(
    adapted: Path, pairs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("peft")
    assert run("export", adapted, "--output", tmp_path / "onnx") == 0
    expected = understudy.load(adapted).logits(TEXTS)
    np.testing.assert_allclose(understudy.load(tmp_path / "onnx").logits(TEXTS), expected, atol=1e-4)
    asked = ("--data", pairs, "--model", tiny_bert, "--epochs", 1, "--adapter", "lora", "--pooling", "apart")
    assert finetune(*asked, "--output", tmp_path / "lora") == 0
    assert cli.main(["adapter", "merge", str(tmp_path / "lora"), "--output", str(tmp_path / "merged")]) == 0
    merged: Any = understudy.load(tmp_path / "merged")
    assert isinstance(merged.model, ApartClassifier)
    np.testing.assert_allclose(merged.logits(TEXTS), understudy.load(tmp_path / "lora").logits(TEXTS), atol=1e-4)
    capsys.readouterr()
    assert cli.main(["adapter", "export", str(adapted), "--output", str(tmp_path / "hub")]) == 2
    assert "its head is more than layers on the first token's state" in capsys.readouterr().err


def test_a_layout_that_is_none_is_told(adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(adapted / "model", tmp_path / "model")
    path = tmp_path / "model" / "adapter_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["understudy"]["head_options"] = {"layout": [[2], [3], "one"]}
    path.write_text(json.dumps(told), encoding="utf-8")
    (tmp_path / "texts.tsv").write_text("sentence1\tsentence2\na\tb\n", encoding="utf-8")
    assert run("predict", "--model", tmp_path / "model", "--input", tmp_path / "texts.tsv") == 2
    assert "adapter_config.json: is damaged" in capsys.readouterr().err


def test_few_labels_are_not_learnt_from_in_pairs_of_rows(
    pairs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", pairs, "--model", tiny_bert, "--limit_train", 24, "--epochs", 1)
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    said = capsys.readouterr().err
    if record(tmp_path / "a").training["train"]["start"]["pooling"] == "apart":
        assert "the texts of a pair are read apart, and this method reads them joined" in said


def test_predict_reads_and_writes_as_with_any_model(trained: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert run("predict", "--model", trained, "--input", pairs / "test.csv", "--output", out) == 0
    with out.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    right = [row["label"] == row["prediction"] for row in found] if "prediction" in found[0] else []
    assert len(found) == 60
    assert not right or np.mean(right) == pytest.approx(accuracy(trained))


def test_training_goes_on_from_it_and_its_encoder_serves_others(
    trained: Path, pairs: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune("--data", pairs, "--model", trained, "--epochs", 1, "--output", tmp_path / "a") == 0
    assert "the checkpoint's own head" in capsys.readouterr().err
    assert isinstance(understudy.load(tmp_path / "a").model, ApartClassifier)
    flags = ("--data", reviews, "--epochs", 1, "--output", tmp_path / "b")
    assert finetune(*flags, "--model", trained) == 2
    assert "was built for pairs of texts, but a row of the task has 1" in capsys.readouterr().err
    assert finetune(*flags, "--encoder_from", trained) == 0
    assert isinstance(understudy.load(tmp_path / "b").model, PooledClassifier)


@pytest.mark.parametrize("student", ["layers:2", "bilstm"])
def test_students_learn_from_it(trained: Path, pairs: Path, tmp_path: Path, student: str) -> None:
    small = ("--bilstm.embedding", 16, "--bilstm.lstm", 8) if student == "bilstm" else ()
    flags = ("--data", pairs, "--teacher", trained, "--student", student, *small, "--epochs", 1, "--no_baseline")
    assert run("distill", *flags, "--output", tmp_path / "a") == 0
    model: Any = understudy.load(tmp_path / "a").model
    assert isinstance(model, ApartClassifier) == (student == "layers:2")
    if student == "layers:2":
        assert model.encoder.config.num_hidden_layers == 2


def test_exported_it_answers_as_pytorch_does(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert run("export", trained, "--output", tmp_path / "onnx") == 0
    expected = understudy.load(trained).logits(TEXTS)
    exported = understudy.load(tmp_path / "onnx")
    np.testing.assert_allclose(exported.logits(TEXTS), expected, atol=1e-4)
    for text, row in zip(TEXTS, expected):
        np.testing.assert_allclose(exported.logits([text])[0], row, atol=1e-4)
    told = json.loads((tmp_path / "onnx" / "config.json").read_text(encoding="utf-8"))
    assert "token_type_ids" in json.dumps(told)


def test_settings_know_the_pooling() -> None:
    assert FinetuneSettings(data="d", model="m", pooling="apart").pooling == "apart"


def test_quantized_it_answers_alike(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert run("quantize", trained, "--output", tmp_path / "int8", "--max_drop", 100) == 0
    texts = [("good film", "film good"), ("a", "the book was very sad")]
    expected, found = (understudy.load(folder).logits(texts) for folder in (trained, tmp_path / "int8"))
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()
