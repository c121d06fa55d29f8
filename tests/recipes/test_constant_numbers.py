"""Numbers that are all the same teach nothing, and that is said before anything is trained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ConfigError
from understudy.recipes.train.distill.recipe import Distill
from understudy.recipes.train.finetune.recipe import Finetune


def write(path: Path, scores: list[object]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("text", "score"), *((f"text number {i}", score) for i, score in enumerate(scores))]
        )
    return str(path)


def recipes(data: str, output: Path) -> list[Any]:
    common: dict[str, Any] = {"data": data, "label": "score", "kind": "regression", "output": str(output)}
    answers = write(output.with_suffix(".csv"), [1.5] * 20 + [2.5] * 20)
    return [Finetune(model="tfidf", **common), Distill(teacher=[answers], **common)]


@pytest.mark.parametrize("number", [0, 1])
def test_numbers_that_are_all_the_same_are_refused(number: int, tmp_path: Path) -> None:
    data = write(tmp_path / "scores.csv", [3.0] * 40)
    with pytest.raises(ConfigError, match="every training row has the number 3 in column 'score'"):
        recipes(data, tmp_path / "run")[number].run()
    assert not (tmp_path / "run").exists()


def test_one_other_number_is_something_to_learn(tmp_path: Path) -> None:
    data = write(tmp_path / "scores.csv", [3.0, 4.0] * 20)
    recipe = recipes(data, tmp_path / "run")[0]
    assert recipe.read().learning_faults() == []
