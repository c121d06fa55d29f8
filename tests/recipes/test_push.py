"""``understudy push``: models of runs go to a stand-in of the hub; data, caches, checkpoints and tokens never do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1]))
import understudy
from hub_stand_in import TOKEN, Hub, stand_in
from understudy.cli import main

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def run(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with plots."""
    folder = tmp_path_factory.mktemp("runs") / "reviews-small"
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    assert main([*command, "--output", str(folder)]) == 0
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "confusion.png").write_bytes(b"\x89PNG")
    (folder / "notes.csv").write_text("a text of mine,positive\n")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, and a token for it in the environment."""
    with stand_in() as found:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def front_of(card: str) -> dict[str, Any]:
    """The front matter of a card."""
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def test_a_run_is_pushed_and_answers_from_there(
    run: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["push", str(run), "--to", "ada/small", "--languages", "en", "--license", "apache-2.0", "--private"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert f"{hub.url}/ada/small" in told.out
    assert TOKEN not in told.out + told.err
    assert hub.created["ada/small"]["visibility"] == "private"
    for name, content in hub.files.items():
        (tmp_path / "got" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "got" / name).write_bytes(content)
    texts = ["a good film", "an awful book"]
    assert understudy.load(tmp_path / "got").predict(texts) == understudy.load(run).predict(texts)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "plots/confusion.png"} <= set(hub.files)
    record = json.loads((run / "record.json").read_text())
    assert not [name for name in hub.files if name.endswith((".csv", ".pt", ".npz")) or "checkpoint" in name]
    card = hub.files["README.md"].decode()
    front = front_of(card)
    assert front["language"] == ["en"]
    assert front["license"] == "apache-2.0"
    (result,) = front["model-index"][0]["results"]
    scores = record["models"][0]["metrics"]["test"]
    assert result["dataset"]["split"] == "test"
    assert result["task"] == {"type": "text-classification"}
    assert {one["type"]: one["value"] for one in result["metrics"]}["accuracy"] == scores["accuracy"]
    assert 'snapshot_download("ada/small")' in card
    assert card.count("# small\n") == 1
    assert "config.yaml" not in card
    assert str(run.parent) not in card
    mistakes = [text for entry in record.get("mistakes") or [] for text in entry["texts"]]
    assert mistakes
    assert not [text for text in mistakes if text in card]


def test_a_dry_run_says_exactly_what_goes(run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run), "--to", "ada/small", "--dry_run"]) == 0
    told = capsys.readouterr().out
    assert not hub.asked
    assert main(["push", str(run / "model"), "--to", "ada/small"]) == 0
    lines = [
        line.split() for line in told.splitlines() if line.split()[1:2] and line.split()[0].replace(",", "").isdigit()
    ]
    promised = {words[1]: int(words[0].replace(",", "")) for words in lines if len(words) == 2}
    assert promised == {name: len(content) for name, content in hub.files.items()}
    assert f"{sum(promised.values()):,} bytes" in told
    assert "notes.csv" in told.splitlines()[-1]
    assert "record.json" in told.splitlines()[-1]


def test_the_recipe_that_people_copy_runs(run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "push.yaml"
    assert main(["push", "--config", str(recipe), "--folder", str(run), "--to", "ada/small", "--dry_run"]) == 0
    assert "would go to ada/small, which would be private" in capsys.readouterr().out


def test_an_exported_model_goes_alone_or_with_its_run(
    run: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["export", str(run), "--output", str(tmp_path / "exported")]) == 0
    assert main(["push", str(run), "--to", "ada/small", "--onnx", str(tmp_path / "exported")]) == 0
    assert hub.files["onnx/model.onnx"] == (tmp_path / "exported" / "model.onnx").read_bytes()
    hub.files.clear()
    assert main(["push", str(tmp_path / "exported"), "--to", "ada/graph"]) == 0
    assert {"README.md", "model.onnx", "config.json", "tokenizer.json"} <= set(hub.files)
    sums = json.loads(hub.files["checksums.json"])
    assert sums
    assert set(sums) <= set(hub.files)
    assert front_of(hub.files["README.md"].decode())["pipeline_tag"] == "text-classification"
    assert main(["push", str(run), "--to", "ada/small", "--onnx", str(run)]) == 2
    assert "is no exported model" in capsys.readouterr().err

    hub.files.clear()
    other = Path(shutil.copytree(tmp_path / "exported", tmp_path / "other"))
    told = json.loads((other / "config.json").read_text())
    told["understudy"]["task"]["labels"] = ["fine", "poor"]
    (other / "config.json").write_text(json.dumps(told))
    assert main(["push", str(run), "--to", "ada/small", "--onnx", str(other)]) == 2
    assert "was made of another model: its kind is pooled, its labels are fine, poor" in capsys.readouterr().err
    content = bytearray((other / "model.onnx").read_bytes())
    content[100] ^= 1
    (other / "model.onnx").write_bytes(content)
    assert main(["push", str(other), "--to", "ada/graph", "--dry_run"]) == 2
    assert "model.onnx is not what was saved" in capsys.readouterr().err
    assert not hub.files


def test_an_export_of_other_labels_does_not_go_with_an_adapter(
    run: Path, hub: Hub, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    words = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--adapter", "houlsby", "--epochs", "1"]
    assert main([*words, "--output", str(tmp_path / "adapter"), "--no_baseline"]) == 0
    other = tmp_path / "exported"
    assert main(["export", str(run), "--output", str(other)]) == 0
    words = ["push", str(tmp_path / "adapter"), "--to", "ada/small", "--onnx", str(other), "--dry_run"]
    assert main(words) == 0
    told = json.loads((other / "config.json").read_text())
    told["understudy"]["task"]["labels"] = ["fine", "poor"]
    (other / "config.json").write_text(json.dumps(told))
    assert main(words) == 2
    assert "was made of another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("route", "status", "message"),
    [
        ("/api/repos/create", 401, "does not know the token"),
        ("/api/repos/create", 403, "may not write there"),
        ("/api/models/ada/small/preupload", 404, "no such user or organisation"),
        ("/api/models/ada/small/commit", 400, "the hub refuses (status 400: refused with 400)"),
    ],
)
def test_what_the_hub_refuses_is_said(
    run: Path, hub: Hub, route: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuse[route] = status
    assert main(["push", str(run), "--to", "ada/small"]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert TOKEN not in told.out + told.err
    assert not hub.files


def test_a_hub_that_is_not_there_and_no_network(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run), "--to", "ada/small"]) == 2
    assert "Is there a network?" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["push", str(run), "--to", "ada/small"]) == 2
    told = capsys.readouterr()
    assert "HF_HUB_OFFLINE is set" in told.err
    assert TOKEN not in told.out + told.err


def test_a_token_of_another_variable_and_none(
    run: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("understudy.deploy.hub.sending.get_token", lambda: None)
    assert main(["push", str(run), "--to", "ada/small"]) == 2
    assert "no token: the hub wants to know who pushes" in capsys.readouterr().err
    assert main(["push", str(run), "--to", "ada/small", "--token", "MINE"]) == 2
    assert "MINE, which is not set" in capsys.readouterr().err
    monkeypatch.setenv("MINE", TOKEN)
    assert main(["push", str(run), "--to", "ada/small", "--token", "MINE"]) == 0
    assert "model.safetensors" in hub.files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no folder: name a run"),
        (["{run}"], "no repository: name it with --to"),
        (["{run}", "--to", "small"], "must be user/name"),
        (["{run}", "--to", "ada/sm all"], "is no name that the hub takes"),
        (["{run}", "--to", "ada/" + "x" * 99], "longer than 96 characters"),
        (["{run}", "--to", "ada/small", "--languages", "english!"], "no code of a language"),
        (["nowhere", "--to", "ada/small"], "there is no such folder"),
        (["{empty}", "--to", "ada/small"], "no"),
        (["{run}", "--to", "ada/small", "--token", TOKEN], "never the token itself"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str], message: str, run: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", *(word.format(run=run, empty=tmp_path) for word in arguments)]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert TOKEN not in told.err
    assert not hub.asked
