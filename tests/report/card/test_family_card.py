"""The card of a family: its table, the links to its runs' cards, and how it is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from understudy.report.card.write import write_card


def written(folder: Path, record: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """A card's front matter, its Markdown and its HTML."""
    _, front, body = write_card(folder, record).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body, MarkdownIt("commonmark").enable("table").render(body)


def test_a_family_has_a_card_of_its_own(family: dict[str, Any], tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}" / "README.md").touch()
    front, body, html = written(tmp_path, family)
    assert front["tags"] == ["understudy", "text-classification", "knowledge-distillation"]
    assert [f'<a href="seed-{seed}/README.md">seed-{seed}</a>' in html for seed in range(4)] == [True] * 3 + [False]
    assert "<li>seed-3 (no card)</li>" in html
    for words in (
        "3 runs",
        "(`bilstm`) that stands in for a larger one (`runs/teacher`)",
        "one of 3 classes",
        "On the test split: mean ± standard deviation",
        "| Model | Accuracy (%) | Macro F1 (%) | MCC |",
        "| student | 87.1 ± 0.4 | 86.8 ± 0.4 | 0.821 ± 0.004 |",
        "| tfidf (n = 1) | 80.2 | – | – |",
        "| seeds | 0 1 2 3 |",
        "| bilstm.hidden | 96 |",
        "/config.yaml --output ",
        "seed-3 failed: out of memory.",
    ):
        assert words in body, words
    assert "| seed |" not in body
    assert "understudy predict" not in body  # the folder has no model


def test_a_family_of_language_models_and_a_family_of_one(family: dict[str, Any], tmp_path: Path) -> None:
    family["task"] = {"kind": "masked_language_model", "metrics": ["loss", "perplexity"]}
    family["command"], family["config"] = "pretrain", {"model": "bert", "data": "texts"}
    family["aggregate"] = {"model": {"loss": {"mean": 2.5, "sd": None, "n": 1}}}
    family["data"], family["versions"], family["hardware"] = {}, {}, {}
    front, body, _ = written(tmp_path, family)
    assert front["pipeline_tag"] == "fill-mask"
    for words in ("A single run", "masked language model (`bert`), trained", "of one run", "| model | 2.500 |"):
        assert words in body, words
    assert "±" not in body
    assert "## Data" not in body
    assert "## Environment" not in body


def test_hostile_names_of_children_and_models_stay_text(family: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a](b)").mkdir()
    (tmp_path / "a](b)" / "README.md").touch()
    family["children"] = ["a](b)/record.json", "<script>/record.json"]
    family["aggregate"] = {"tf|idf <img src=x>": family["aggregate"]["student"]}
    _, _, html = written(tmp_path, family)
    assert '<a href="a%5D%28b%29/README.md">a](b)</a>' in html
    assert "<script" not in html
    assert "<img" not in html


def test_a_parent_with_models_and_without_an_aggregate_gets_the_usual_card(
    record: dict[str, Any], tmp_path: Path
) -> None:
    record |= {"command": "demo", "children": ["teacher/record.json", "student/record.json"]}
    _, body, _ = written(tmp_path, record)
    assert "| student | 87.1 % (86.4–87.7)" in body
    assert "understudy predict" in body


@pytest.mark.parametrize("config", [{"adapter": "pfeiffer"}, {"load_adapter": "runs/twi"}])
def test_a_family_of_adapters_for_a_language_fills_no_masks(
    config: dict[str, str], family: dict[str, Any], tmp_path: Path
) -> None:
    family |= {"command": "pretrain", "config": {"model": "runs/base", "data": "twi.txt", **config}}
    family["task"] = {"kind": "masked_language_model", "metrics": ["loss", "perplexity", "accuracy"]}
    family["aggregate"] = {"model": {"loss": {"mean": 2.5, "sd": 0.1, "n": 3}}}
    front, body, _ = written(tmp_path, family)
    assert "pipeline_tag" not in front
    assert front["tags"] == ["understudy", "adapter"]
    assert "made an adapter for a masked language model (`runs/base`)" in body
