"""Every file in ``recipes/`` runs, on tiny data with tiny models; what it says is what is done."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml

import understudy
from understudy.cli import main
from understudy.record import RunRecord

FILES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
DISTILL = {"epochs": 1, "baseline": False}
BILSTM = {**DISTILL, "bilstm.embedding": 16, "bilstm.lstm": 12, "bilstm.hidden": 16}
STATIC = {**DISTILL, "static.embedding": 40, "static.hidden": 16}
AWD_LSTM = {"epochs": 1, "batch_size": 8, "bptt": 20, "tokenizer": "words:60"}
AWD_LSTM |= {"awd_lstm.embedding": 8, "awd_lstm.hidden": 10}
SMALLER: dict[str, dict[str, Any]] = {
    "distill-augment": {**BILSTM, "augment": 2},
    "distill-bilstm": {**BILSTM, "baseline": True},
    "distill-few-labels": {**BILSTM, "limit_train": 60},
    "distill-layers": DISTILL,
    "distill-lm": {"epochs": 1, "max_length": 32, "batch_size": 32},
    "distill-static": STATIC,
    "finetune": {"epochs": 1, "max_length": 32, "baseline": False},
    "finetune-ulmfit": {"max_length": 32, "baseline": False},
    "pairs": BILSTM,
    "pretrain-awd-lstm": AWD_LSTM,
    "pretrain-masked": {"epochs": 1, "max_length": 32},
    "tfidf": {},
    "ulmfit-classifier": {"baseline": False},
    "ulmfit-language-model": {"epochs": 1, "batch_size": 8},
}
"""What a test must make smaller. Data, teacher, model and output are replaced in every recipe."""


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # half of a tiny run's time; they have tests of their own
        patch.setattr("understudy.report.plots.draw_all", lambda folder, record: [])
        yield


def flags(values: dict[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    said = []
    for name, value in values.items():
        said += [f"--no_{name}"] if value is False else [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return said


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentence pairs with a score between 0 and 5, the share of words that they have in common."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = random.Random(0)
    words = ["good", "bad", "film", "book", "plot", "cast", "play"]
    for name, rows in {"train": 60, "validation": 20, "test": 30}.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence1", "sentence2", "score"])
            for _ in range(rows):
                one, other = rng.choices(words, k=5), rng.choices(words, k=5)
                score = 5 * len(set(one) & set(other)) / len(set(one) | set(other))
                writer.writerow([" ".join(one), " ".join(other), f"{score:.2f}"])
    return folder


@pytest.fixture(scope="module")
def places(
    reviews: Path, pairs: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Path]]:
    """What the recipes name, by the kind of data: tiny data, and a teacher trained on it."""
    found = {"reviews.csv": {"data": reviews, "model": tiny_bert}, "pairs": {"data": pairs, "model": tiny_bert}}
    for number, here in enumerate(found.values()):
        here["teacher"] = tmp_path_factory.mktemp("runs") / f"teacher-{number}"
        here["unlabeled"] = reviews / "pool.txt"
        teacher = {"data": here["data"], "model": tiny_bert, "output": here["teacher"], "epochs": 1, "baseline": False}
        assert main(["finetune", *flags(teacher)]) == 0
    found["texts"] = {
        "data": reviews / "pool.txt",
        "model": tiny_bert,
        "teacher": tmp_path_factory.mktemp("lm") / "run",
    }
    words = {"data": reviews / "pool.txt", "model": tiny_bert, "output": found["texts"]["teacher"], "epochs": 1}
    assert main(["pretrain", *flags(words)]) == 0
    language_model = tmp_path_factory.mktemp("awd-lstm") / "run"
    options = {"data": reviews / "pool.txt", "model": "awd_lstm", "output": language_model, **AWD_LSTM}
    assert main(["pretrain", *flags(options)]) == 0
    found["reviews.csv"] |= {"runs/general": language_model, "runs/lm": language_model}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_does_what_it_says(path: Path, places: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    assert path.stem in SMALLER, f"{path.name} is new: say here what a test must make smaller, so that it is run"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    here = places[recipe["data"]]
    given = {
        name: here.get(recipe[name], here[name])
        for name in ("data", "model", "teacher", "unlabeled")
        if name in recipe and recipe[name] not in ("tfidf", "awd_lstm")
    }
    given |= {"output": tmp_path / "run", **SMALLER[path.stem]}
    assert main([recipe["command"], "--config", str(path), *flags(given)]) == 0

    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.finished
    for name, value in recipe.items():
        if name in given or name == "command":
            continue
        for key, part in value.items() if isinstance(value, dict) else [(None, value)]:
            if f"{name}.{key}" not in given:
                done = record.config[name] if key is None else record.config[name][key]
                assert done == part, f"{path.name} says {name} = {value}, but the run had {record.config[name]}"
    if recipe["command"] in ("pretrain", "distill-lm"):
        understudy.register()
        masked = record.task["kind"] == "masked_language_model"
        kind = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
        assert kind.from_pretrained(tmp_path / "run" / "model")
        return
    model = understudy.load(tmp_path / "run")
    assert model.logits([("a good film", "a film")[: len(model.task.text)]]).shape == (1, model.task.outputs)


def test_no_recipe_has_gone() -> None:
    assert set(SMALLER) <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_first_lines_say_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    command = yaml.safe_load(text)["command"]
    assert text.startswith("# ")
    assert f"understudy {command} --config recipes/{path.name}" in text
