"""``understudy distill`` and ``finetune`` from one end to the other, at toy size."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import understudy
from understudy.cli import main
from understudy.data.texts import Texts
from understudy.models.files.classifiers import load_encoder
from understudy.recipes.train.distill import texts as student_texts
from understudy.recipes.train.distill.recipe import Distill
from understudy.record import RunRecord

SMALL = ["--bilstm.embedding", "16", "--bilstm.lstm", "12", "--bilstm.hidden", "16"]
STATIC = ["--student", "static", "--static.embedding", "16", "--static.hidden", "16"]

pytestmark = pytest.mark.usefixtures("quick")  # module fixtures come before it: they draw and measure for real


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    assert (
        run(
            "finetune",
            "--data",
            reviews,
            "--model",
            tiny_bert,
            "--output",
            folder,
            "--pooling",
            "head",
            "--epochs",
            8,
            "--learning_rate",
            3e-3,
        )
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def distilled(reviews: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "student"
    assert (
        run(
            "distill",
            "--data",
            reviews,
            "--teacher",
            teacher,
            "--unlabeled",
            reviews / "pool.txt",
            "--output",
            folder,
            "--epochs",
            6,
            *SMALL,
        )
        == 0
    )
    return folder


def test_the_record_has_the_contracts_keys(distilled: Path) -> None:
    record = json.loads((distilled / "record.json").read_text())
    assert record["command"] == "distill"
    assert record["finished"] is True
    assert record["seed"] == 0
    assert [model["name"] for model in record["models"]] == [
        "teacher",
        "student",
        "student without teacher",
        "probe",
        "tfidf",
    ]
    assert record["data"]["train"]["rows"] == 120
    assert record["data"]["unlabeled"]["rows"] == 150
    assert len(record["data"]["train"]["fingerprint"]) == 64
    assert record["teacher_forward_texts"] == 270
    assert {"label_pool_s", "student_s", "student without teacher_s"} <= set(record["timings"])
    assert {"understudy", "torch", "transformers"} <= set(record["versions"])
    assert {"cpu", "threads", "accelerator"} <= set(record["hardware"])
    for model in record["models"]:
        assert {"parameters", "trainable_parameters", "embedding_parameters", "size_bytes", "texts_per_second"} <= set(
            model
        )
        assert {"p50", "p99"} == set(model["latency_ms"])
        low, high = model["intervals"]["test"]["accuracy"]
        assert low <= model["metrics"]["test"]["accuracy"] <= high
        assert np.sum(model["confusion"]) == 60


def test_the_run_folder_is_whole(distilled: Path) -> None:
    for name in (
        "config.yaml",
        "record.json",
        "progress.csv",
        "README.md",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
    ):
        assert (distilled / name).is_file(), name
    assert len(list((distilled / "plots").glob("*.png"))) == 5
    with open(distilled / "progress.csv", newline="", encoding="utf-8") as file:
        phases = [row["phase"] for row in csv.DictReader(file)]
    assert list(dict.fromkeys(phases)) == ["student", "student without teacher"]


def test_the_student_without_teacher_gets_as_many_steps(distilled: Path) -> None:
    training = RunRecord.load(distilled / "record.json").training
    assert training["student"]["steps"] == training["student without teacher"]["steps"] == 6 * 9


def test_a_loaded_student_answers_as_the_record_says(distilled: Path, reviews: Path) -> None:
    model = understudy.load(distilled)
    with open(reviews / "test.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = [answer.label for answer in model.predict([row["text"] for row in rows])]
    accuracy = np.mean([label == row["label"] for label, row in zip(said, rows)])
    record = RunRecord.load(distilled / "record.json")
    assert accuracy == pytest.approx(record.model("student")["metrics"]["test"]["accuracy"])


def test_a_second_run_forwards_no_text_through_the_teacher(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    common = [
        "distill",
        "--data",
        reviews,
        "--teacher",
        teacher,
        "--unlabeled",
        reviews / "pool.txt",
        "--no-baseline",
        *STATIC,
    ]
    assert run(*common, "--epochs", 1, "--output", tmp_path / "one") == 0
    assert run(*common, "--epochs", 5, "--output", tmp_path / "five") == 0
    counts = [RunRecord.load(tmp_path / name / "record.json").teacher_forward_texts for name in ("one", "five")]
    assert counts == [270, 0]


def test_config_yaml_runs_the_same_again(distilled: Path, tmp_path: Path) -> None:
    assert run("distill", "--config", distilled / "config.yaml", "--output", tmp_path / "again") == 0
    first, second = (understudy.load(folder).model.state_dict() for folder in (distilled, tmp_path / "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "options",
    [
        ["--student", "layers:2"],
        ["--student", "layers", "--layers.keep", "0", "3"],
        [*STATIC, "--tokenizer", "words:50", "--distance", "kl", "--temperature", "2"],
        [*SMALL, "--tokenizer", "bpe:60", "--embeddings", "random", "--distance", "hard"],
        [*STATIC, "--augment", "2", "--alpha", "0.5", "--limit_train", "40", "--pool_rest"],
    ],
)
def test_students_and_options(options: list[str], reviews: Path, teacher: Path, tmp_path: Path) -> None:
    assert (
        run(
            "distill",
            "--data",
            reviews,
            "--teacher",
            teacher,
            "--output",
            tmp_path / "run",
            "--epochs",
            2,
            *options,
        )
        == 0
    )
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.model("student")["metrics"]["test"]["accuracy"] > 0
    if "--augment" in options:
        assert record.teacher_forward_texts > 120
    if "--layers.keep" in options:
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
        assert plain.config.num_hidden_layers == 2
        assert plain.config.id2label == {0: "negative", 1: "positive"}


def test_copies_are_made_once_and_kept_on_disk(
    reviews: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    augment = student_texts.augment
    monkeypatch.setattr(student_texts, "augment", lambda *given, **how: made.append(how) or augment(*given, **how))
    recipe = Distill(data=str(reviews), teacher=[str(teacher)], student="static", augment=2)
    texts = [recipe.prepare(recipe.read()).texts for _ in range(2)]
    assert [how["copies"] for how in made] == [2]  # the second time they are there
    assert texts[0].fingerprint == texts[1].fingerprint
    expected = [*recipe.read().train.texts, *augment(recipe.read().train.texts, **made[0])]
    assert list(texts[0]) == expected
    recipe.augmentation.seed = 1
    assert recipe.prepare(recipe.read()).texts.fingerprint != texts[0].fingerprint


def test_copies_that_have_become_texts_to_be_scored_on_are_left_out(reviews: Path) -> None:
    recipe = Distill(data=str(reviews), student="static", augment=2)
    splits, notes = recipe.read(), list[str]()
    options = {"copies": 2, "options": recipe.augmentation, "mask_token": "[MASK]", "notes": notes}
    everything = list(student_texts.all_texts(splits, **options))
    assert not notes
    *first, last = everything[len(splits.train) :][:4]
    held_out = {
        "validation": replace(splits.validation, texts=Texts.of([*first, *list(splits.validation.texts)[3:]])),
        "test": replace(splits.test, texts=Texts.of([last, *list(splits.test.texts)[1:]])),
    }
    found = list(student_texts.all_texts(replace(splits, **held_out), **options))
    assert found == [text for text in everything if text not in (*first, last)]
    assert notes == ["--augment: 4 varied texts left out: the text is in the validation or the test split."]


def test_an_encoding_holds_for_a_file_of_answers(reviews: Path, tmp_path: Path) -> None:
    answers = tmp_path / "llm.csv"
    answers.write_text((reviews / "train.csv").read_text(encoding="utf-8") + "café,positive\n", encoding="cp1252")
    recipe = Distill(data=str(reviews), teacher=[str(answers)], student="static", encoding="cp1252")
    assert any("answers for 120 of 120 texts" in note for note in recipe.prepare(recipe.read()).notes)


def test_a_file_of_word_vectors_says_how_much_it_covers(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("good 1 0 0.5\nBAD 0 1 1\nfilm 1 1 0\nunseen 3 3 3\n", encoding="utf-8")
    vectors = ["--embeddings", tmp_path / "vectors.txt", "--epochs", 1, "--no-baseline", *STATIC]
    assert run("distill", "--data", reviews, "--teacher", teacher, "--output", tmp_path / "run", *vectors) == 0
    notes = RunRecord.load(tmp_path / "run" / "record.json").notes
    # the teacher knows 22 words; the file has two of them, and others
    assert f"{tmp_path}/vectors.txt: vectors for 2 of 22 tokens; the others start at random." in notes


def test_a_bracket_in_a_path_is_a_bracket(
    reviews: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "out[" / "x] :bug:"  # [/x] would close what rich never saw opened, :bug: would be a picture
    shutil.copytree(teacher, odd / "teacher")
    distill = ["distill", "--data", reviews, "--teacher", odd / "teacher", "--epochs", 1, "--no-baseline", *STATIC]
    assert run(*distill, "--output", odd / "run", "--dry_run") == 0
    assert f"  {odd}/teacher\n" in capsys.readouterr().err
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal: bars are drawn, too
    assert run(*distill, "--output", odd / "run") == 0
    found = capsys.readouterr()
    assert f"Everything is in {odd}/run\n" in found.out
    assert "/x] :bug:" in found.err


def test_a_model_folder_can_be_the_student_and_two_teachers_are_averaged(
    reviews: Path, teacher: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.csv"
    with open(reviews / "train.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(answers, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    options = [
        "--teacher",
        teacher,
        answers,
        "--teacher_weights",
        "2",
        "1",
        "--student",
        tiny_bert,
        "--no-baseline",
        "--epochs",
        "1",
    ]
    assert run("distill", "--data", reviews, *options, "--output", tmp_path / "run") == 0
    assert [m["name"] for m in RunRecord.load(tmp_path / "run" / "record.json").models] == [
        "teacher",
        "student",
        "probe",
        "tfidf",
    ]


def test_a_file_of_answers_can_be_the_only_teacher(reviews: Path, tmp_path: Path) -> None:
    answers = tmp_path / "llm.jsonl"
    with open(reviews / "train.csv", newline="", encoding="utf-8") as file, open(answers, "w", encoding="utf-8") as out:
        for row in csv.DictReader(file):
            out.write(
                json.dumps(
                    {"text": row["text"], "negative": 0.9, "positive": 0.1}
                    if row["label"] == "negative"
                    else {"text": row["text"], "negative": 0.2, "positive": 0.8}
                )
                + "\n"
            )
    options = ["--teacher", answers, "--unlabeled", reviews / "pool.txt", "--epochs", "60", *STATIC]
    assert run("distill", "--data", reviews, *options, "--output", tmp_path / "run") == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert [m["name"] for m in record.models] == ["student", "student without teacher", "tfidf"]
    assert any("answers for 120 of 270 texts" in note for note in record.notes)
    assert record.model("student")["metrics"]["test"]["accuracy"] > 0.7


def test_rows_without_a_label_are_the_teachers_alone(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    text = (reviews / "train.csv").read_text(encoding="utf-8").splitlines()
    gaps = [text[0], *(line.rpartition(",")[0] + "," if i % 3 == 0 else line for i, line in enumerate(text[1:]))]
    (tmp_path / "gaps.csv").write_text("\n".join(gaps) + "\n", encoding="utf-8")
    data = ["--train", tmp_path / "gaps.csv", "--test", reviews / "test.csv"]
    assert (
        run(
            "distill",
            *data,
            "--teacher",
            teacher,
            "--epochs",
            1,
            "--output",
            tmp_path / "run",
            *STATIC,
        )
        == 0
    )
    assert any("40" in note and "label" in note for note in RunRecord.load(tmp_path / "run" / "record.json").notes)
    assert run("finetune", *data, "--model", "tfidf", "--output", tmp_path / "other") == 2


def test_dry_run_writes_nothing(
    reviews: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("distill", "--data", reviews, "--teacher", teacher, "--output", tmp_path / "run", "--dry_run", *SMALL) == 0
    )
    assert not (tmp_path / "run").exists()
    said = capsys.readouterr().err
    assert "steps" in said
    assert "memory" in said


def test_time_budget_ends_with_a_model(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    options = ["--epochs", "100000", "--time_budget", "3s", *STATIC]
    assert run("distill", "--data", reviews, "--teacher", teacher, "--output", tmp_path / "run", *options) == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.training["student"]["stopped_by"] == "time budget"
    assert record.finished
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_finished_run_is_kept(
    distilled: Path, reviews: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [
        "distill",
        "--data",
        reviews,
        "--teacher",
        teacher,
        "--unlabeled",
        reviews / "pool.txt",
        "--output",
        distilled,
        "--epochs",
        6,
        *SMALL,
    ]
    before = (distilled / "record.json").read_bytes()
    assert run(*common) == 2
    assert "finished run is there already" in capsys.readouterr().err
    assert run(*common, "--resume") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(*common, "--resume", "--alpha", "0.3") == 2
    assert "alpha" in capsys.readouterr().err
    assert (distilled / "record.json").read_bytes() == before


def test_baselines_of_finetune(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    assert run("finetune", "--data", reviews, "--model", "tfidf", "--output", tmp_path / "tfidf") == 0
    assert (
        run(
            "finetune", "--data", reviews, "--model", tiny_bert, "--features", "frozen", "--output", tmp_path / "frozen"
        )
        == 0
    )
    for name in ("tfidf", "frozen"):
        record = RunRecord.load(tmp_path / name / "record.json")
        assert [model["name"] for model in record.models] == (["model"] if name == "tfidf" else ["model", "tfidf"])
        logits = understudy.load(tmp_path / name).logits(["a good film", "a bad film"])
        assert logits.shape == (2, 2)


def test_a_mean_pooled_encoder_learns_whole_and_teaches(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    common = ["--data", reviews, "--epochs", 1]
    teacher = tmp_path / "teacher"
    assert run("finetune", *common, "--model", tiny_bert, "--pooling", "mean", "--output", teacher) == 0
    model = understudy.load(teacher).model
    before = load_encoder(str(tiny_bert)).state_dict()
    learnt = [name for name, weights in model.encoder.state_dict().items() if not torch.equal(weights, before[name])]
    assert any("layer.0" in name for name in learnt)
    assert any("word_embeddings" in name for name in learnt)
    assert run("distill", *common, "--teacher", teacher, "--student", "layers:1", "--output", tmp_path / "cut") == 0
    assert RunRecord.load(tmp_path / "cut" / "record.json").model("student")["parameters"] < sum(
        weights.numel() for weights in model.parameters()
    )


@pytest.mark.parametrize(
    ("kind", "columns"),
    [("regression", "text,score"), ("pair", "sentence1,sentence2,label"), ("multi_label", "text,labels")],
)
def test_kinds_of_tasks(kind: str, columns: str, tiny_bert: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["good", "bad", "film", "book", "plot"]
    with open(tmp_path / "train.jsonl", "w", encoding="utf-8") as file:
        for i in range(60):
            drawn = [" ".join([*rng.choice(words, 4), str(i)]) for _ in range(2)]
            values = {
                "regression": [drawn[0], float(drawn[0].count("good")) + 0.5],
                "pair": [*drawn, "same" if i % 2 else "other"],
                "multi_label": [drawn[0], [w for w in ("good", "bad") if w in drawn[0]]],
            }[kind]
            file.write(json.dumps(dict(zip(columns.split(","), values))) + "\n")
    (tmp_path / "test.jsonl").write_text(
        (tmp_path / "train.jsonl").read_text(encoding="utf-8").replace("film", "song"), encoding="utf-8"
    )
    assert run("finetune", "--data", tmp_path, "--model", tiny_bert, "--output", tmp_path / "t", "--epochs", 1) == 0
    assert (
        run(
            "distill",
            "--data",
            tmp_path,
            "--teacher",
            tmp_path / "t",
            "--output",
            tmp_path / "s",
            "--epochs",
            2,
            *SMALL,
        )
        == 0
    )
    record = RunRecord.load(tmp_path / "s" / "record.json")
    assert record.task["kind"] == {"pair": "single_label"}.get(kind, kind)
    assert [model["name"] for model in record.models] == [
        "teacher",
        "student",
        "student without teacher",
        "probe",
        "tfidf",
    ]
    temperatures = ["temperature" in (model.get("calibration") or {}) for model in record.models]
    assert temperatures == [kind != "regression"] * 5
    assert ("temperature" in json.loads((tmp_path / "s" / "model" / "config.json").read_text())["understudy"]) == (
        kind != "regression"
    )
    if kind == "regression":  # the head began with the mean of the scores, which a few steps from 0 do not reach
        bias = understudy.load(tmp_path / "s").model.classifier.bias
        assert 0.9 < float(bias.detach()) < 1.8
