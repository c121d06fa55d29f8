"""The small runtime serves what it can load: without torch, with the application that understudy has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from test_runtime import RUNTIME, TEXTS, gathering, toy

from understudy.deploy.onnx.export import export_onnx

pytest.importorskip("onnx")
pytest.importorskip("fastapi")
pytest.importorskip("httptools")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the package lies as it is installed."""
    place = tmp_path_factory.mktemp("site")
    package = place / "understudy_runtime"
    package.mkdir()
    for path in (RUNTIME / "understudy_runtime").glob("*.py"):
        (package / path.name).write_bytes(path.read_bytes())
    gathering().gather(package)
    return {**os.environ, "PYTHONPATH": str(place), "UNDERSTUDY_TOKEN": "secret"}


@pytest.mark.parametrize("kind", ["static", "bilstm"])
def test_it_serves_without_torch(kind: str, environment: dict[str, str], tmp_path: Path) -> None:
    model = toy(kind)
    export_onnx(tmp_path / "student", model, TEXTS)
    command = [sys.executable, "-m", "understudy_runtime", "serve", str(tmp_path / "student"), "--port", "0"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stderr is not None
    try:
        line = running.stderr.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+) answers with student\.", line)
        assert found, line + running.stderr.read()
        with httpx.Client(base_url=found[1], headers={"Authorization": "Bearer secret"}, timeout=30) as asked:
            answers = asked.post("/predict", json={"texts": TEXTS}).json()["predictions"]
            for one, other in zip(answers, model.predict(TEXTS), strict=True):
                assert one["label"] == other.label
                np.testing.assert_allclose(
                    list(one["probabilities"].values()), list(other.probabilities.values()), atol=1e-6
                )
            assert "<title>understudy" in asked.get("/").text
            assert asked.get("/playground.js").status_code == 200
            assert asked.get("/models").json()["models"][0]["attributions"] is None
            assert asked.get("/models", headers={"Authorization": ""}).status_code == 401
        loaded = Path(f"/proc/{running.pid}/maps")
        if loaded.exists():
            assert "libtorch" not in loaded.read_text()
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert "everything that was accepted is answered" in running.stderr.read()
    finally:
        running.kill()
        running.wait()
        running.stderr.close()


def test_mistakes_are_said(environment: dict[str, str], tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "understudy_runtime", "serve", *words],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "is not an exported model" in said(str(tmp_path), "--port", "0")
    assert "max_queue is 5, but must be at least max_texts" in said(str(tmp_path), "--max_queue", "5")
    told = said(str(tmp_path), "--threads", "-3", "--reload_seconds", "-1", "--max_wait_ms", "nan")
    for fault in ("--threads is -3", "--reload_seconds is -1.0", "max_wait_ms is nan"):
        assert fault in told


def test_the_image_is_not_root_and_its_command_is_known(environment: dict[str, str]) -> None:
    text = (RUNTIME / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = dict(re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE))
    assert int(lines["USER"]) > 0
    for source in re.findall(r"^COPY (?!--)(\S+)", text, re.MULTILINE):
        assert (RUNTIME.parent / source).is_dir()
    words = json.loads(lines["ENTRYPOINT"])[1:] + json.loads(lines["CMD"])
    words[words.index("8000")] = "0"
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "/models/student: is not an exported model" in done.stderr
    assert "note: --host" not in done.stderr, "the folder is refused first"
    health = json.loads(re.search(r"CMD (\[.*/health.*\])", text)[1])  # type: ignore[index]
    compile(health[2], "health", "exec")
