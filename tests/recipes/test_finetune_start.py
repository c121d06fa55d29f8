"""Fine-tuning that starts from a probe: what is chosen, kept, said and put on the record."""

from __future__ import annotations

import csv
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
import torch

import understudy
from understudy import cli
from understudy.models.files.classifiers import load_encoder
from understudy.models.structure.layers import base_model, head_modules, output_layer
from understudy.recipes.train.finetune import start, transformer
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.record import RunRecord
from understudy.runs.fitting.worth import Worth

pytestmark = pytest.mark.usefixtures("quick_throughout")


def finetune(*flags: object) -> int:
    return cli.main(["finetune", "--no_baseline", *map(str, flags)])


def record(folder: Path) -> RunRecord:
    return RunRecord.load(folder / "record.json")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return understudy.load(folder).model.state_dict()


def test_by_default_it_starts_from_a_probe(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune("--data", reviews, "--model", tiny_bert, "--output", tmp_path / "a") == 0
    said = capsys.readouterr().err
    assert "a linear probe of 120 rows" in said
    assert "120 rows and 2 outputs" in said
    train = record(tmp_path / "a").training["train"]
    assert train["start"]["rows"] == 120
    assert train["start"]["pooling"] in ("head", "mean")
    assert train["epochs"] > 3
    assert record(tmp_path / "a").config["epochs"] == "auto"
    assert "probe_s" in record(tmp_path / "a").timings


@pytest.mark.parametrize("how", [[], ["--contrastive", "always"], ["--features", "frozen"]])
def test_texts_that_the_tokenizer_does_not_know_are_said(
    how: list[str], reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A student with the teacher's tokenizer is as blind; one with its own is not."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "validation", "test"):
        with open(reviews / f"{name}.csv", encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        with open(data / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            away = str.maketrans({letter: chr(0x1208 + place) for place, letter in enumerate(ascii_lowercase)})
            csv.writer(file).writerows([header, *([text.translate(away), *more] for text, *more in rows)])
    run = tmp_path / "run"
    given = ["--data", data] if "--features" in how else ["--data", data, "--epochs", 1]
    assert finetune(*given, "--model", tiny_bert, "--output", run, *how) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "of the tokens are unknown to the tokenizer, and all alike to the model: name a --model" in said
    if not how:
        student = ["distill", *map(str, given), "--no_baseline", "--teacher", str(run), "--student", "static"]
        assert cli.main([*student, "--output", str(tmp_path / "blind")]) == 0
        assert "give a teacher that reads such texts" in " ".join(capsys.readouterr().err.split())
        assert cli.main([*student, "--tokenizer", "words:200", "--output", str(tmp_path / "own")]) == 0
        assert "give a teacher that reads such texts" not in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("pooling", ["head", "mean"])
def test_what_is_worse_than_the_probe_is_not_kept(reviews: Path, tiny_bert: Path, tmp_path: Path, pooling: str) -> None:
    """A rate at which nothing is learned and all is forgotten."""
    flags = ("--data", reviews, "--model", tiny_bert, "--pooling", pooling, "--learning_rate", 3, "--epochs", 2)
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    found = record(tmp_path / "a")
    assert found.training["train"]["start"]["kept"] == "probe"
    assert any("is the probe that it began with" in note for note in found.notes)
    summary = found.model("model")
    head = sum(p.numel() for one in head_modules(understudy.load(tmp_path / "a").model) for p in one.parameters())
    assert summary["trainable_parameters"] == head < summary["parameters"] / 10
    own, kept = (
        base_model(model).state_dict()
        for model in (load_encoder(str(tiny_bert)), understudy.load(tmp_path / "a").model)
    )
    encoder = {name: value for name, value in own.items() if "pooler" not in name}
    assert all(torch.equal(value, kept[name]) for name, value in encoder.items())
    metric = next(iter(found.models[0]["metrics"]["test"].values()))
    assert metric > 0.5


def test_pooling_decides_what_loads_it(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    flags = ("--data", reviews, "--model", tiny_bert, "--epochs", 1)
    assert finetune(*flags, "--pooling", "head", "--output", tmp_path / "head") == 0
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "head" / "model")
    assert finetune(*flags, "--output", tmp_path / "auto") == 0
    chosen = record(tmp_path / "auto")
    noted = any("loads with understudy.load" in note for note in chosen.notes)
    assert noted == (chosen.training["train"]["start"]["pooling"] == "mean")


def prepared(data: Path, model: Path, **more: Any) -> Transformer:
    """What a run would train, and where from, before it does."""
    recipe = Finetune(data=str(data), model=str(model), contrastive="never", **more)
    work = recipe.prepare(recipe.read())
    assert isinstance(work, Transformer)
    return work


def rows_of(folder: Path, header: list[str], rows: list[list[Any]]) -> Path:
    folder.mkdir()
    for part, some in (("train", rows), ("validation", rows[:20])):
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *([f"{row[0]} {part}", *row[1:]] for row in some)])
    return folder


def kinds(tmp_path: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    rng = np.random.default_rng(0)
    words = np.array(["good", "bad", "film", "book", "the", "a", "was", "fine"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    good = [text.split().count("good") for text in texts]
    return {
        "regression": (rows_of(tmp_path / "n", ["text", "score"], [[t, g + 0.5] for t, g in zip(texts, good)]), ()),
        "multi_label": (
            rows_of(
                tmp_path / "m",
                ["text", "g", "b"],
                [[t, int("good" in t), int("bad" in t)] for t in texts],
            ),
            ("--label", "g", "b"),
        ),
        "pairs": (
            rows_of(
                tmp_path / "p",
                ["sentence1", "sentence2", "label"],
                [[t, u, ("no", "yes")[t.split()[0] == u.split()[0]]] for t, u in zip(texts, texts[::-1])],
            ),
            (),
        ),
    }


@pytest.mark.parametrize("kind", ["regression", "multi_label", "pairs"])
def test_every_kind_of_label(kind: str, tiny_bert: Path, tmp_path: Path) -> None:
    data, flags = kinds(tmp_path)[kind]
    assert finetune("--data", data, *flags, "--model", tiny_bert, "--epochs", 1, "--output", tmp_path / "a") == 0
    found = record(tmp_path / "a").training["train"]["start"]
    assert found["rows"] == 60
    assert found["kept"] in ("probe", "fine-tuned")


@pytest.mark.parametrize("kind", ["single texts", "pairs"])
def test_one_row_a_class_reads_the_mean_and_the_plan_says_why(kind: str, tiny_bert: Path, tmp_path: Path) -> None:
    texts = [["good film", "bad book"][: 1 + (kind == "pairs")] for _ in range(12)]
    names = ["sentence1", "sentence2"] if kind == "pairs" else ["text"]
    rows = [[f"{text[0]} {number}", *text[1:], f"class {number}"] for number, text in enumerate(texts)]
    data = rows_of(tmp_path / "d", [*names, "label"], rows)
    work = prepared(data, tiny_bert, label="label")
    mean = "mean of joined pairs" if kind == "pairs" else "mean"
    assert work.start_lines["pooling"] == f"{mean}; no other way can be judged, because each class is in one fold alone"


def test_a_loss_in_mse_is_told_with_its_unit(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "worth", lambda *given, **_: Worth(-0.179, 0.05, 0.0, given[3]))
    data, _ = kinds(tmp_path)["regression"]
    flags = ("--data", data, "--metric", "mse", "--model", tiny_bert, "--epochs", 1)
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    found = record(tmp_path / "a")
    start = found.training["train"]["start"]
    assert (start["kept"], start["gain_of"]) == ("probe", "the labels' variance")
    said = "fine-tuning lost 0.179 ± 0.050 of the labels' variance in mse on 20 validation rows, which is no gain"
    assert any(note.startswith(said) for note in found.notes)


def test_killed_and_resumed_it_ends_with_the_same_bits(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (
        "--data",
        reviews,
        "--model",
        tiny_bert,
        "--limit_train",
        40,
        "--epochs",
        3,
        "--contrastive",
        "never",
        "--save_steps",
        1,
    )
    assert finetune(*flags, "--output", tmp_path / "whole") == 0
    calls = 0

    def kill(name: str) -> None:
        nonlocal calls
        calls += name == "train.step"
        if calls == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("understudy.training.loop.failpoint", kill)
        assert finetune(*flags, "--output", tmp_path / "cut") != 0
    assert finetune(*flags, "--output", tmp_path / "cut", "--resume") == 0
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    one, other = (record(tmp_path / name).training["train"]["start"] for name in ("whole", "cut"))
    assert one == other


def test_a_head_trained_for_these_labels_is_where_training_goes_on(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", reviews, "--pooling", "head", "--epochs", 1)
    assert finetune(*flags, "--model", tiny_bert, "--output", tmp_path / "a") == 0
    capsys.readouterr()
    assert finetune("--data", reviews, "--epochs", 1, "--model", tmp_path / "a", "--output", tmp_path / "b") == 0
    assert "the checkpoint's own head" in capsys.readouterr().err
    assert record(tmp_path / "b").training["train"]["start"]["kept"] in ("fine-tuned", "checkpoint")


def test_so_is_a_head_on_the_mean_and_what_is_read_is_on_the_record(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", reviews, "--epochs", 1)
    assert finetune(*flags, "--model", tiny_bert, "--pooling", "mean", "--output", tmp_path / "a") == 0
    assert record(tmp_path / "a").training["train"]["start"]["pooling"] == "mean"
    capsys.readouterr()
    words = (*flags, "--model", tmp_path / "a", "--dry_run")
    for more in ((), ("--pooling", "mean")):
        assert finetune(*words, *more) == 0
        assert "the checkpoint's own head, which was trained for these labels" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    for name in ("train", "validation", "test"):
        content = (reviews / f"{name}.csv").read_text(encoding="utf-8")
        (other / f"{name}.csv").write_text(content.replace("positive", "good").replace("negative", "bad"))
    given = ("--data", other, "--epochs", 1, "--model", tmp_path / "a", "--pooling", "head")
    assert finetune(*given, "--output", tmp_path / "b") == 0
    assert record(tmp_path / "b").training["train"]["start"]["pooling"] == "mean"
    assert any(f"its head is that of {tmp_path / 'a'}." in note for note in record(tmp_path / "b").notes)


@pytest.mark.parametrize("pooling", ["head", "mean"])
def test_the_head_of_a_regression_is_kept_where_it_answers_on_the_scale_of_the_labels(
    tiny_bert: Path, tmp_path: Path, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = kinds(tmp_path)["regression"]
    given = ("--pooling", pooling, "--epochs", 1, "--learning_rate", 1e-7)
    assert finetune("--data", data, "--model", tiny_bert, *given, "--output", tmp_path / "a") == 0
    scores = [line.rpartition(",") for line in (data / "train.csv").read_text(encoding="utf-8").splitlines()[1:]]
    other = rows_of(
        tmp_path / "o", ["text", "score"], [[text, 50_000 + 900 * float(score)] for text, _, score in scores]
    )
    same = prepared(data, tmp_path / "a")
    assert same.start_lines == {"start": "the checkpoint's own head, which was trained for these labels"}
    assert prepared(other, tmp_path / "a", start="head").model.keeps_head
    work = prepared(other, tmp_path / "a")
    assert work.start is not None
    assert "the checkpoint's own head answers on another scale than these labels" in work.start_lines["start"]
    begun = ("--model", tmp_path / "a", "--metric", "mse", *given[2:])
    assert finetune("--data", other, *begun, "--output", tmp_path / "b") == 0
    [model] = record(tmp_path / "b").models
    assert model["metrics"]["validation"]["mse"] < 2 * 900**2

    monkeypatch.setattr(start, "_probed", lambda *_: None)
    work = prepared(other, tmp_path / "a")
    assert "a head at random" in work.start_lines["start"]
    [bias] = output_layer(work.model).bias.tolist()
    assert bias == pytest.approx(np.mean([50_000 + 900 * float(score) for *_, score in scores]))


def test_copies_of_a_text_are_not_learnt_from_each_other(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    words = ["film", "book", "song", "cast", "plot", "play", "good", "bad", "fine", "dull"]
    rows = [f"{' '.join(rng.choice(words, 9))},{rng.choice(['a', 'b'])}" for _ in range(40)]
    for name, copies in (("train", 6), ("validation", 1)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *(rows * copies)]), encoding="utf-8")
    assert finetune("--data", tmp_path, "--model", tiny_bert, "--output", tmp_path / "run", "--dry_run") == 0
    said = capsys.readouterr().err
    assert "20 labels a class, and a probe is not shown to learn anything, so the encoder learns from pairs" in said


def test_evaluations_that_are_asked_for_end_nothing_by_themselves(
    reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    flags = ("--data", reviews, "--model", tiny_bert, "--eval_steps", 1, "--start", "head", "--learning_rate", 1e-6)
    assert finetune(*flags, "--output", tmp_path / "a") == 0
    assert record(tmp_path / "a").training["train"]["stopped_by"] == "epochs"


def test_what_is_worse_than_a_trained_checkpoint_is_not_kept(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """A rate at which all is forgotten; with --start head nothing is compared."""
    flags = ("--data", reviews, "--pooling", "head", "--validation", reviews / "test.csv")
    first = ("--model", tiny_bert, "--epochs", 4, "--learning_rate", 3e-3)
    assert finetune(*flags, *first, "--output", tmp_path / "a") == 0
    worse = (*flags, "--model", tmp_path / "a", "--epochs", 1, "--learning_rate", 3)
    assert finetune(*worse, "--output", tmp_path / "b") == 0
    assert record(tmp_path / "b").training["train"]["start"]["kept"] == "checkpoint"
    assert any("the checkpoint that it began with, as it was" in note for note in record(tmp_path / "b").notes)
    one, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert finetune(*worse, "--start", "head", "--output", tmp_path / "c") == 0
    assert "start" not in record(tmp_path / "c").training["train"]


def test_an_awd_lstm_starts_from_a_probe(reviews: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"the film was good and the book was bad {i}" for i in range(60)), encoding="utf-8")
    sizes = ("--awd_lstm.embedding", "12", "--awd_lstm.hidden", "16", "--bptt", "12", "--tokenizer", "words:40")
    pretrain = ["pretrain", "--data", str(texts), "--model", "awd_lstm", *sizes, "--epochs", "1", "--batch_size", "4"]
    assert cli.main([*pretrain, "--output", str(tmp_path / "lm")]) == 0
    assert finetune("--data", reviews, "--model", tmp_path / "lm", "--epochs", 1, "--output", tmp_path / "a") == 0
    found = record(tmp_path / "a").training["train"]["start"]
    assert found["pooling"] == "head"
    assert found["cross_validated"]["accuracy"] > 0.5
    narrow = tmp_path / "lm" / "model" / "config.json"
    narrow.write_text(narrow.read_text(encoding="utf-8").replace('"head_size": 50', '"head_size": 1'), encoding="utf-8")
    work = prepared(reviews, tmp_path / "lm")
    head, start = work.model.head.cpu(), work.start
    assert not head.carries_linear
    assert start is not None
    assert start.vectors is not None
    assert head.pooled_norm.rows_seen == head.hidden_norm.rows_seen == 120
    rows = torch.from_numpy(start.vectors)
    head.config.drop_mult = 0.0
    with torch.no_grad():
        torch.testing.assert_close(head.train()(rows), head.eval()(rows), atol=1e-2, rtol=1e-2)
    # the head of the language model is not wanted
    assert not any("no place for" in note for note in record(tmp_path / "a").notes)


@pytest.mark.parametrize("model", ["tfidf", "frozen"])
def test_models_that_are_not_trained_in_steps_refuse_what_they_cannot_use(
    reviews: Path, tiny_bert: Path, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--model", "tfidf") if model == "tfidf" else ("--model", tiny_bert, "--features", "frozen")
    given = (
        "--start",
        "head",
        "--pooling",
        "mean",
        "--epochs",
        3,
        "--batch_size",
        8,
        "--clip",
        2,
        "--schedule",
        "cosine",
    )
    assert finetune("--data", reviews, *flags, *given, "--output", tmp_path / "a") == 2
    said = capsys.readouterr().err
    assert all(flag in said for flag in ("--start", "--epochs", "--batch_size", "--clip", "--schedule"))
    assert ("--pooling" in said) == (model == "tfidf")


def test_training_that_diverges_says_what_to_do(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", reviews, "--model", tiny_bert, "--start", "head", "--eval_steps", 1, "--clip", 0)
    assert finetune(*flags, "--learning_rate", 1e30, "--output", tmp_path / "a") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Give a lower --learning_rate, or train in full precision" in said
