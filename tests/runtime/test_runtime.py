"""The small runtime: gathered from understudy's modules, it answers alike and loads no torch."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import understudy
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.quantize import quantize_onnx
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.predictor import Predictor
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.static import StaticBag, StaticConfig

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RUNTIME = Path(__file__).parents[2] / "runtime"
TEXTS = ["the film was good", "", "a dull book and a fine song", "the"]
ANSWER = """
import json, sys, time
from understudy_runtime import load
model = load(sys.argv[1], threads=1)
answers = [dict(label=one.label, probabilities=one.probabilities) for one in model.predict(json.loads(sys.argv[2]))]
heavy = sorted({"torch", "transformers", "understudy", "onnx", "scipy", "onnxruntime"} & set(sys.modules))
print(json.dumps({"answers": answers, "heavy": heavy, "logits": model.logits(json.loads(sys.argv[2])).tolist()}))
"""


def gathering() -> ModuleType:
    """``runtime/gather.py``, which is in no package."""
    spec = importlib.util.spec_from_file_location("gather", RUNTIME / "gather.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is installed."""
    place = tmp_path_factory.mktemp("site")
    package = place / "understudy_runtime"
    package.mkdir()
    (package / "__init__.py").write_bytes((RUNTIME / "understudy_runtime" / "__init__.py").read_bytes())
    assert len(gathering().gather(package)) > 10
    return place


def answered(installed: Path, folder: Path) -> dict:  # type: ignore[type-arg]
    """What the runtime says, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-W", "error", "-c", ANSWER, str(folder), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout)  # type: ignore[type-arg]
    return found


def toy(kind: str) -> Predictor:
    """A model with random weights."""
    labels = ("bad", "fair", "naïve")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=labels)
    torch.manual_seed(0)
    made = (
        StaticBag(StaticConfig(vocab_size=50, embedding_size=8, hidden_size=5, num_labels=3))
        if kind == "static"
        else BiLSTM(BiLSTMConfig(vocab_size=50, embedding_size=8, lstm_size=6, hidden_size=5, num_labels=3))
    )
    tokenizer = train_tokenizer(["the film was good", "the play was bad", "a fine song and a dull book"], "words:40")
    return Predictor(made, tokenizer, task, 16, temperature=1.3)


@pytest.mark.parametrize("kind", ["static", "bilstm"])
def test_the_answers_are_those_of_understudy(kind: str, installed: Path, tmp_path: Path) -> None:
    model = toy(kind)
    export_onnx(tmp_path / "out", model, TEXTS)
    found = answered(installed, tmp_path / "out")
    assert found["heavy"] == ([] if kind == "static" else ["onnxruntime"])
    np.testing.assert_allclose(found["logits"], understudy.load(tmp_path / "out").logits(TEXTS), atol=1e-6)
    for one, other in zip(found["answers"], model.predict(TEXTS)):
        assert one["label"] == other.label
        assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.parametrize("kind", ["static", "bilstm"])
def test_a_quantised_folder_answers_alike(kind: str, installed: Path, tmp_path: Path) -> None:
    model = toy(kind)
    export_onnx(tmp_path / "fp32", model, TEXTS)
    rows = Rows(Texts.of([(text,) for text in TEXTS]), model.logits(TEXTS).argmax(1), "rows")
    source = ExportedPredictor(tmp_path / "fp32", threads=1)
    quantize_onnx(tmp_path / "out", source, rows, origin="rows", max_drop=100)
    found = answered(installed, tmp_path / "out")
    assert found["heavy"] == ([] if kind == "static" else ["onnxruntime"])
    np.testing.assert_allclose(found["logits"], understudy.load(tmp_path / "out").logits(TEXTS), atol=1e-6)
    assert np.abs(np.array(found["logits"]) - model.logits(TEXTS)).max() > 0


def test_what_is_not_shared_cannot_be_imported() -> None:
    module = gathering()
    with pytest.raises(ValueError, match=r"imports understudy\.loading, which the runtime does not share"):
        module.rewritten("import os\nfrom understudy.loading import load\n", origin="x")
    names = [name.rpartition(".")[2] for name in module.SHARED]
    assert len(set(names)) == len(names), "two shared modules would have one name"


def test_a_folder_that_is_not_exported_is_refused(installed: Path, tmp_path: Path) -> None:
    code = "from understudy_runtime import load\nfrom understudy_runtime import ModelError\nimport sys\ntry: load(sys.argv[1])\nexcept ModelError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert "is not an exported model: it holds no config.json" in done.stdout, done.stderr
