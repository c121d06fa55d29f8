"""Recipes take their data as Python has it; record and configuration say what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import understudy
from understudy.cli import main
from understudy.errors import ConfigError, DataError

pandas: Any = pytest.importorskip("pandas", reason="pandas comes with datasets")

STATIC = {"student": "static", "embeddings": "random", "tokenizer": "words:60", "epochs": 1, "references": False}


@pytest.fixture
def frames(reviews: Path) -> dict[str, Any]:
    return {split: pandas.read_csv(reviews / f"{split}.csv") for split in ("train", "validation", "test")}


def test_a_run_on_frames_is_the_run_on_files(
    frames: dict[str, Any], reviews: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    of_files = understudy.Finetune(data=str(reviews), model="tfidf", output=str(tmp_path / "files")).run()
    made = understudy.Finetune(data=frames, model="tfidf", output=tmp_path / "frames").run()
    assert made.data == of_files.data
    assert [model["metrics"] for model in made.models] == [model["metrics"] for model in of_files.models]
    assert made.config["output"] == str(tmp_path / "frames")
    name = made.config["data"]
    assert name.startswith("<dict of train 120, validation 40, test 60 rows (text, label), ")
    record = json.loads((tmp_path / "frames" / "record.json").read_text(encoding="utf-8"))
    assert record["config"]["data"] == record["given"]["data"] == name
    card = (tmp_path / "frames" / "README.md").read_text(encoding="utf-8")
    assert "dict of train 120, validation 40, test 60 rows" in card
    config = tmp_path / "frames" / "config.yaml"
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["data"] == name
    # the name stands for the rows on the command line too, as long as the cache has them
    assert main(["finetune", "--config", str(config), "--output", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "record.json").read_text(encoding="utf-8"))
    assert again["data"] == record["data"]


def test_splits_one_by_one_with_seeds(frames: dict[str, Any], tmp_path: Path, quick: None) -> None:
    rows = list(frames["train"].itertuples(index=False, name=None))
    recipe = understudy.Finetune(
        train=rows, validation=frames["validation"], model="tfidf", seeds=[0, 1], output=str(tmp_path / "a")
    )
    assert len(recipe.run().children) == 2
    with pytest.raises(ConfigError, match="epochs must be"):
        understudy.Finetune(data=rows, model="tfidf", epochs=-1).run()
    with pytest.raises(DataError, match="the int given as data: not rows that can be read"):
        understudy.Finetune(data=7, model="tfidf").run()


def test_a_teacher_of_answers_and_a_pool_in_python(frames: dict[str, Any], tmp_path: Path, quick: None) -> None:
    pool = [f"a good film {i}" for i in range(30)]
    everything = pandas.concat([*frames.values(), pandas.DataFrame({"text": pool, "label": "positive"})])
    made = understudy.Distill(
        data=frames, teacher=everything, unlabeled=pool, output=str(tmp_path / "a"), baseline=False, **STATIC
    ).run()
    assert made.data["unlabeled"]["rows"] == 30
    assert made.config["teacher"][0].startswith("<DataFrame of 250 rows (text, label), ")
    bad = everything.assign(label="neutral")
    with pytest.raises(ConfigError, match="row 0 of the teacher DataFrame: label 'neutral' is not one of"):
        understudy.Distill(data=frames, teacher=bad, output=str(tmp_path / "b"), **STATIC).run()


def test_texts_to_pretrain_on(frames: dict[str, Any]) -> None:
    recipe = understudy.Pretrain(
        data=list(frames["train"]["text"]), validation=frames["test"], model="awd_lstm", tokenizer="words:40"
    )
    from understudy.settings.configuration import check

    check(recipe)
    corpus = recipe.read()
    assert (len(corpus.train), len(corpus.validation)) == (120, 60)
