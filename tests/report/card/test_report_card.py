"""The model card, judged by a Markdown parser and a YAML parser that know nothing of how it was written."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from understudy.report.card.markdown import code, escape
from understudy.report.card.write import write_card

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "`c`",
    "two\nlines\n\n# heading",
    "[x](javascript:1)",
    "**bold**",
    "\\",
    "![i](x.png)",
]


def parse(text: str) -> list[Token]:
    """All tokens, the inline ones in their places, with tables and raw HTML on as the hub has them."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [part for token in tokens for part in (token, *(token.children or []))]


def front_and_body(path: Path) -> tuple[dict[str, Any], str]:
    """The YAML front matter and the Markdown below it."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def table_rows(tokens: list[Token]) -> list[list[str]]:
    """The cells of all tables, row by row."""
    rows: list[list[str]] = []
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("td_open", "th_open"):
            rows[-1].append("".join(part.content for part in following.children or []))
    return rows


def test_the_card_holds_the_numbers_and_how_to_go_on(record: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "news"
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "confusion.png").write_bytes(b"")
    path = write_card(folder, record)
    assert path == folder / "README.md"
    front, body = front_and_body(path)
    assert front["pipeline_tag"] == "text-classification"
    assert front["metrics"] == ["accuracy", "f1", "matthews_correlation"]
    assert "knowledge-distillation" in front["tags"]
    assert "base_model" not in front
    tokens = parse(body)
    rows = {row[0]: row for row in reversed(table_rows(tokens))}  # the first of two rows with the same name
    assert rows["student"] == ["student", "87.1 % (86.4–87.7)", "86.8", "0.821", "99.3 %", "4.2M", "300k", "16.8 MB", "5,210", "0.84 ms", "1.68 ms"]  # fmt: skip
    assert [row[0] for row in table_rows(tokens)][1:5] == [model["name"] for model in record["models"]]
    assert rows["train"] == ["train", "1,000", "ab12" * 4]
    assert rows["bilstm.hidden"] == ["bilstm.hidden", "96"]
    assert "static.width" not in rows  # options of a student that was not chosen
    assert rows["torch"] == ["torch", "2.13.0"]
    images = [token.attrs["src"] for token in tokens if token.type == "image"]
    assert images == ["plots/confusion.png"]
    fences = [token.content for token in tokens if token.type == "fence"]
    assert "understudy predict --model news" in fences[0]
    assert 'understudy.load("news")' in fences[1]
    assert fences[2] == "understudy distill --config news/config.yaml --output news-again\n"
    for words in (
        "12 training rows also stand",
        "25,813 distinct texts",
        "closes 87 %",
        "first 128 tokens",
        "`Sci/Tech`",
    ):
        assert words in body, words
    assert str(tmp_path) not in body


def test_only_temperatures_that_were_fitted_are_said_to_be(record: dict[str, Any], tmp_path: Path) -> None:
    told = "Expected calibration error"
    for model in record["models"]:
        model["calibration"] |= {"temperature": 1.0, "ece_before": 0.0421}
    assert told not in write_card(tmp_path, record).read_text(encoding="utf-8")
    record["models"][1]["calibration"] |= {"temperature": 1.4, "ece_before": 0.081}
    card = write_card(tmp_path, record).read_text(encoding="utf-8")
    assert "fitted on the validation rows and a prior:" in card
    assert card.count("(temperature ") == 1
    assert "student 8.1 % → 4.2 % (temperature 1.4)" in card
    for model in record["models"]:
        model["metrics"] = {"validation": model["metrics"]["test"]}
    card = write_card(tmp_path, record).read_text(encoding="utf-8")
    assert "fitted on the validation rows and a prior (both errors are measured on these same rows):" in card


def test_hostile_names_stay_text(record: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "it's `a`\n[run] <b>"
    folder.mkdir()
    record["task"]["labels"] = HOSTILE
    record["notes"] = HOSTILE
    record["models"][3]["name"] = "tf|idf <img src=x>"
    record["config"] |= {"data": "a|b\n---\n<script>", "teacher": ["x\n---\nevil: true"], "student": "`x`"}
    record["data"] = {"<b>|": {"rows": 3, "fingerprint": "`"}}
    record["hardware"] = {"cpu": "<i>|`"}
    front, body = front_and_body(write_card(folder, record))
    assert "evil" not in front
    tokens = parse(body)
    assert not [
        token
        for token in tokens
        if token.type in ("html_block", "html_inline", "link_open", "image", "strong_open", "em_open")
    ]
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2"}
    widths = {len(row) for row in table_rows(tokens)}
    assert widths == {2, 3, 11}
    shown = [token.content for token in tokens if token.type == "code_inline"]
    assert [" ".join(label.split()) for label in HOSTILE] == shown[-len(HOSTILE) :]
    shell, python, _ = (token.content for token in tokens if token.type == "fence")
    name = " ".join(folder.name.split())
    assert shlex.split(shell)[-1] == name
    compile(python, "card", "exec")


@pytest.mark.parametrize(
    ("teacher", "base"),
    [
        (["org/some-encoder"], "org/some-encoder"),
        (["bert-base-uncased", "org/other"], ["bert-base-uncased", "org/other"]),
        (["runs/teacher"], None),
        (["local/teacher"], None),
        (["/somewhere/teacher"], None),
        (["answers.jsonl"], None),
        ([], None),
    ],
)
def test_base_model_is_what_only_the_hub_can_have(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: list[str], base: object
) -> None:
    (tmp_path / "local" / "teacher").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    record["config"]["teacher"] = teacher
    front, _ = front_and_body(write_card(Path(), record))
    assert front.get("base_model") == base


def test_a_pair_a_regression_and_a_record_with_little_in_it(tmp_path: Path) -> None:
    record = {
        "command": "finetune",
        "config": {"model": "/home/someone/encoder", "max_length": None},
        "task": {"text": [["a"], ["b"]], "label": "score", "kind": "regression", "labels": [], "metrics": ["pearson"]},
        "models": [{"name": "model", "metrics": {"validation": {"pearson": 0.8123}}}],
    }
    _, body = front_and_body(write_card(tmp_path, record))
    assert "For a pair of texts it answers a number." in body
    assert "0.812" in body
    assert "validation split" in body
    assert "someone" not in body  # a card does not tell whose home folder a model lay in
    assert 'model.predict([("first text", "second text")])' in body


@pytest.mark.parametrize(
    ("kind", "model_type", "said"),
    [
        (
            "language_model",
            "understudy_awd_lstm",
            ["A language model", "understudy generate", "AutoModelForCausalLM", "understudy.register()", "each token"],
        ),
        ("language_model", "gpt2", ["A language model", "AutoModelForCausalLM", "without Understudy"]),
        (
            "masked_language_model",
            "bert",
            ["A masked language model", "understudy fill-mask", "AutoModelForMaskedLM", "each masked token"],
        ),
    ],
)
def test_a_language_model_has_a_card_of_its_own(kind: str, model_type: str, said: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    scores = {"loss": 4.5, "perplexity": 90.02, "accuracy": 0.25}
    record = {
        "command": "pretrain",
        "config": {"model": "runs/general", "data": "texts", "backward": True},
        "task": {"kind": kind, "metrics": list(scores)},
        "models": [{"name": "model", "model_type": model_type, "parameters": 3_600_000, "metrics": {"test": scores}}],
    }
    front, body = front_and_body(write_card(folder, record))
    for text in [*said, "reads from right to left", "4.500", "90.0", "25.0", "3.6M", "understudy finetune --model"]:
        assert text in body
    assert ("understudy.register()" in body) == model_type.startswith("understudy")
    assert front["pipeline_tag"] == ("fill-mask" if kind.startswith("masked") else "text-generation")
    assert shlex.quote("it's here") in body
    assert 'from_pretrained("it\'s here/model")' in body
    assert "Latency" not in body


def test_what_an_adapter_adds_to_its_base_is_a_sentence_of_its_own(record: dict[str, Any], tmp_path: Path) -> None:
    record["models"][1] |= {"own_parameters": 42_000, "own_bytes": 168_000}
    _, body = front_and_body(write_card(tmp_path, record))
    assert "It has 4.2M parameters. 42.0k of them (1 %, 168 kB) are the adapter" in body


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.text(alphabet=st.sampled_from("ab1 .)#-+=*_`[]()<>&|~\\!$\n\t{}%\"':/"), min_size=1, max_size=12).filter(
        str.strip
    )
)
def test_an_escaped_value_reads_as_itself(value: str) -> None:
    line = " ".join(value.split())
    places = [(escape(value), "- {}"), (escape(value), "| x |\n| --- |\n| {} |"), (code(value), "- {}")]
    for written, place in places:
        tokens = parse(place.format(written))
        inline = [token for token in tokens if token.type == "inline"][-1]
        assert "".join(part.content for part in inline.children or []) == line
        assert not [
            token for token in tokens if token.type in ("heading_open", "hr", "html_inline", "ordered_list_open")
        ]


def test_the_verdict_leads_and_what_the_model_confuses_is_shown(record: dict[str, Any], tmp_path: Path) -> None:
    pair = {"model": "student", "other": "student without teacher", "rows": 300, "level": 0.99}
    record["comparisons"] = [pair | {"difference": 0.05, "interval": [0.02, 0.08]}]
    hostile = {"texts": [HOSTILE[0], HOSTILE[1]], "label": "World", "answer": "Sports", "confidence": 0.987, "row": 3}
    record["mistakes"] = [hostile]
    _, body = front_and_body(write_card(tmp_path, record))
    lines = [line for line in body.splitlines() if line]
    assert lines[1].startswith("Verdict: Ship the student")
    assert body.count("Verdict:") == 1
    rows = table_rows(parse(body))
    assert ["<script>alert(1)</script> / a|b", "World", "Sports", "99 %"] in rows
    start = rows.index(["True class", "Answered instead", "Rows", "Share of the true class"])
    assert rows[start + 1 : start + 3] == [
        ["Sports", "Sci/Tech", "15", "15.0 %"],
        ["Sci/Tech", "Sports", "8", "8.0 %"],
    ]


def test_f1_of_two_classes_says_of_which(record: dict[str, Any], tmp_path: Path) -> None:
    record["task"] |= {"labels": ["no", "yes"], "metrics": ["accuracy", "f1", "f1_macro"]}
    _, body = front_and_body(write_card(tmp_path, record))
    heading = next(row for row in table_rows(parse(body)) if row[0] == "Model")
    assert heading[1:4] == ["Accuracy", 'F1 of "yes"', "Macro F1"]
    assert "Where it errs" not in body  # the matrix is of three classes
