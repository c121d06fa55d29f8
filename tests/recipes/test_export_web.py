"""``understudy export --format web``: which weights a page gets, what is said, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from understudy.cli import main
from understudy.deploy.web.packages import ONNXRUNTIME, TOKENIZERS, package_files
from understudy.errors import ModelError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of npm as ``npm install`` leaves them, from the user's own cache or the network."""
    place = tmp_path_factory.mktemp("npm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(Path.home() / ".cache" / "understudy"))
        try:
            for one in (TOKENIZERS, ONNXRUNTIME):
                files = package_files(one)
                for inside, name, _ in one.files:
                    (place / one.name / inside).parent.mkdir(parents=True, exist_ok=True)
                    (place / one.name / inside).write_bytes(files[name])
                (place / one.name / "package.json").write_text("{}")
        except ModelError as error:
            pytest.skip(f"the packages of npm cannot be had: {error}")
    return place


@pytest.fixture(scope="module")
def student(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static student of a TF-IDF model."""
    folder = tmp_path_factory.mktemp("runs")
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(folder / "teacher")]) == 0
    command = ["distill", "--data", str(reviews), "--teacher", str(folder / "teacher"), "--student", "static"]
    command += ["--epochs", "8", "--static.embedding", "16", "--tokenizer", "words:200", "--no_baseline"]
    command += ["--embeddings", "random", "--output", str(folder / "reviews-static")]
    assert main(command) == 0
    return folder / "reviews-static"


def about(folder: Path) -> dict[str, Any]:
    """What a page says of its model."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())["understudy"]
    return found


def test_int8_is_taken_where_the_score_survives(
    student: Path, npm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page"
    command = ["export", str(student), "--format", "web", "--npm_folder", str(npm), "--output", str(out)]
    assert main([*command, "--max_drop", "100"]) == 0
    told = capsys.readouterr().out
    assert "a page with static in int8" in told
    assert "http.server" in told
    if shutil.which("node"):
        assert "all labels are the same" in told
        assert about(out)["web"]["checked"]["other_ids"] == 0
    assert about(out)["quantized"]["rows"] == 40
    assert about(out)["web"]["title"] == "reviews-static"
    texts = ["a good film", "an awful book", ""]
    page: Any = understudy.load(out)
    model: Any = understudy.load(student)
    np.testing.assert_allclose(page.logits(texts), model.logits(texts), atol=0.1)
    assert {"index.html", "page.js", "tokenizers.js", "LICENSE-tokenizers.txt"} <= {path.name for path in out.iterdir()}
    assert sum(path.stat().st_size for path in out.iterdir()) < 250_000

    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    again = ["export", str(student), "--format", "web", "--to", "fp32", "--overwrite", "--output", str(out)]
    assert main(again) == 0  # the packages are in the cache now
    assert "in fp32" in capsys.readouterr().out
    assert about(out)["quantized"] is None


def test_fp32_where_int8_costs_too_much_or_nothing_can_be_measured(
    student: Path, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise ModelError(
            f"{arguments[0]}: is not written, because the score falls too much. Give more labelled rows with --texts."
        )

    more = ["--format", "web", "--npm_folder", str(npm)]
    monkeypatch.setattr("understudy.recipes.ship.web_page.quantize_onnx", refused)
    assert main(["export", str(student), *more, "--output", str(tmp_path / "a")]) == 0
    told = capsys.readouterr()
    assert "The weights stay fp32; int8 weights are not taken: the score falls too much.\n" in told.err
    assert about(tmp_path / "a")["quantized"] is None
    assert main(["export", str(student), *more, "--to", "int8", "--output", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()
    said = capsys.readouterr().err
    assert f"{student}: int8 weights are not taken: the score falls too much. Give a larger --max_drop; or run" in said
    alone = shutil.copytree(student / "model", tmp_path / "model of mine")
    assert main(["export", str(alone), *more, "--output", str(tmp_path / "c")]) == 0
    assert "no validation rows of a run on which int8 could be checked" in capsys.readouterr().err
    assert main(["export", str(alone), *more, "--to", "int8", "--output", str(tmp_path / "d")]) == 2
    assert "Run understudy quantize with --texts FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("to", "asked"), [("int8", "fp32"), ("fp16", "int8"), ("int4-weight", "int8")])
def test_an_exported_model_becomes_a_page(
    student: Path, npm: Path, tmp_path: Path, to: str, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(student), "--to", to, "--max_drop", "100", "--output", str(tmp_path / "smaller")]
    assert main(command) == 0
    base = ["export", str(tmp_path / "smaller"), "--format", "web", "--npm_folder", str(npm)]
    assert main([*base, "--output", str(tmp_path / "page")]) == 0
    told = capsys.readouterr().out
    assert f"a page with static in {to}" in told
    assert "all labels are the same" in told or not shutil.which("node")
    assert main([*base, "--to", asked, "--output", str(tmp_path / "x")]) == 2
    assert f"its weights are {to} already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "int8"], "--to belongs to --format web, but --format is onnx. For int8 weights there is"),
        (["--max_drop", "1"], "--max_drop belongs to --format web"),
        (["--npm_folder", "."], "--npm_folder belongs to --format web"),
        (["--format", "web", "--npm_folder", "nowhere"], "there is no such folder. Check --npm_folder"),
        (["--format", "web", "--to", "fp32", "--max_drop", "1"], "but --to is fp32"),
        (["--format", "web", "--to", "int4"], "int4"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str], message: str, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(student), "--output", str(tmp_path / "x"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_without_npm_a_sentence_says_what_to_do(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["export", str(student), "--format", "web", "--to", "fp32", "--output", str(tmp_path / "x")]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "npm is not installed. Install Node.js." in told
    assert "npm pack @huggingface/tokenizers@0.2.0" in told
    assert not (tmp_path / "x").exists()


def test_without_node_the_page_is_made_and_not_checked(
    student: Path, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["export", str(student), "--format", "web", "--to", "fp32", "--npm_folder", str(npm)]
    assert main([*command, "--output", str(tmp_path / "x")]) == 0
    assert "Node.js is not installed" in capsys.readouterr().out
    assert about(tmp_path / "x")["web"]["checked"] is None
