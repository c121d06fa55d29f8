"""``understudy serve``: runs of every kind answer over HTTP as they do in Python."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import understudy
from understudy.cli import main
from understudy.errors import ConfigError
from understudy.settings.ship.serve import ServeSettings

running = pytest.importorskip("understudy.deploy.serve.running", reason="the extra `serve` is not installed")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = ["a good film", "the bad book, quite", "lovely", ""]


@pytest.fixture(scope="module", autouse=True)
def _quick(quick_throughout: None) -> None:
    """Nothing is drawn or measured."""


@pytest.fixture(scope="module")
def folders(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher, the baseline, a student, and the student exported."""
    place = tmp_path_factory.mktemp("runs")
    teacher, tfidf, student, exported = (place / name for name in ("teacher", "tfidf", "student", "exported"))
    data = ["--data", str(reviews)]
    command = ["finetune", *data, "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    assert main([*command, "--output", str(teacher)]) == 0
    assert main(["finetune", *data, "--model", "tfidf", "--output", str(tfidf)]) == 0
    command = ["distill", *data, "--teacher", str(tfidf), "--student", "static", "--epochs", "1", "--no_baseline"]
    assert main([*command, "--static.embedding", "8", "--output", str(student)]) == 0
    assert main(["export", str(student), "--output", str(exported)]) == 0
    return {"teacher": teacher, "tfidf": tfidf, "student": student, "onnx": exported}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What the command would serve, without a socket that waits."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(running, "run_server", lambda app, socket, **options: found.append({"app": app, **options}))
    return found


def test_every_kind_answers_as_it_does_in_python(
    folders: dict[str, Path], served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(folders["teacher"]), *(f"{name}={folders[name]}" for name in ("tfidf", "student", "onnx"))]
    assert main(["serve", *words, "--port", "0"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"http://127\.0\.0\.1:\d+ answers with teacher, tfidf, student, onnx\. Its page is at /", said)

    async def run() -> None:
        app = served[0]["app"]
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as found,
        ):
            for name, folder in folders.items():
                expected = understudy.load(folder).predict(TEXTS)
                told = (await found.post("/predict", json={"texts": TEXTS, "model": name})).json()["predictions"]
                for one, other in zip(told, expected):
                    assert one["label"] == other.label
                    assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)
            methods = {model["name"]: model["attributions"] for model in (await found.get("/models")).json()["models"]}
            assert methods == {
                "teacher": "gradient x input",
                "tfidf": "exact linear weights",
                "student": "gradient x input",
                "onnx": None,
            }
            for name in ("teacher", "tfidf", "student"):
                told = (await found.post("/attributions", json={"text": "a good film", "model": name})).json()
                assert {"good", "film"} <= {token["token"] for token in told["tokens"]}

    asyncio.run(run())


def test_the_token_comes_from_a_flag_or_the_environment(
    folders: dict[str, Path],
    served: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def status(app: Any, token: str) -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://anything") as found:
            return (await found.get("/models", headers={"Authorization": f"Bearer {token}"})).status_code

    command = ["serve", str(folders["tfidf"]), "--host", "0.0.0.0", "--port", "0"]
    assert main(command) == 0
    assert (
        "note: --host 0.0.0.0 without a token: anyone who reaches this machine can call it." in capsys.readouterr().err
    )
    monkeypatch.setenv("UNDERSTUDY_TOKEN", "from-the-environment")
    assert main(command) == 0
    assert main([*command, "--token", "from-the-flag"]) == 0
    assert "note" not in capsys.readouterr().err
    open_, environment, flag = (entry["app"] for entry in served)
    assert asyncio.run(status(open_, "")) == 200
    assert asyncio.run(status(environment, "from-the-environment")) == 200
    assert asyncio.run(status(environment, "from-the-flag")) == 401
    assert asyncio.run(status(flag, "from-the-flag")) == 200
    assert asyncio.run(status(flag, "from-the-environment")) == 401


def test_a_port_in_use_is_said(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(folders["tfidf"]), "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"understudy: port {port} of 127.0.0.1 is in use by another program. Name another with --port, or 0 for any that is free.\n"
    )


def test_a_folder_that_cannot_be_served_is_said(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in folders["onnx"].iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[:100] if path.suffix == ".npz" else path.read_bytes())
    assert main(["serve", str(damaged), str(folders["tfidf"]), "--port", "0"]) == 2
    assert str(damaged) in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "nothing")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_faults_of_settings_are_told_together() -> None:
    settings = ServeSettings(models=["a=x/y/z", "a=x/y/w"], token=" ", max_queue=5)
    faults = "\n".join(settings.faults())
    assert "two models are called 'a'" in faults
    assert "x/y/z: there is no such folder" in faults
    assert "--token is empty" in faults
    assert "max_queue is 5, but must be at least max_texts, 10,000" in faults
    assert ServeSettings().faults() == ["no model: name a run or a model folder, as in: understudy serve runs/student."]
    with pytest.raises(ConfigError, match="port"):
        understudy.Serve(models=["google-bert/bert-base-uncased"], port=70_000).run()


def test_names_of_models() -> None:
    named = ServeSettings(models=["t=runs/large", "runs/small", "runs/tiny/model", "exported/v1.2"]).named()
    assert named == [
        ("t", "runs/large"),
        ("small", "runs/small"),
        ("tiny", "runs/tiny/model"),
        ("v1_2", "exported/v1.2"),
    ]


def test_the_recipe_is_what_people_copy(folders: dict[str, Path], served: list[dict[str, Any]]) -> None:
    path = Path(__file__).parents[2] / "recipes" / "serve.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["command"] == "serve"
    command = ["serve", "--config", str(path), "--models", f"teacher={folders['teacher']}", f"s={folders['onnx']}"]
    assert main([*command, "--port", "0"]) == 0
    assert served[0]["read_seconds"] == 10
