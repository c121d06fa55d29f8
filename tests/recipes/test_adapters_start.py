"""``understudy finetune --adapter`` begins as a probe, is held against it, and tells its probabilities as it was calibrated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import understudy
from understudy.cli import main
from understudy.errors import ModelError
from understudy.folders.contents import is_a_model, strangers
from understudy.inference.answers import probabilities
from understudy.models.files.classifiers import load_encoder
from understudy.models.students.pooled import PooledClassifier
from understudy.recipes.train.finetune import transformer
from understudy.record import RunRecord
from understudy.runs.fitting.worth import Worth

pytestmark = pytest.mark.usefixtures("quick_throughout")
TEXTS = ["a good film", "the bad book, quite", "lovely"]


def finetuned(reviews: Path, larger_bert: Path, run: Path, *more: str) -> RunRecord:
    """A run with enough validation rows to choose and to calibrate with: those that others train on."""
    rows = ["--train", str(reviews / "test.csv"), "--validation", str(reviews / "train.csv")]
    words = [
        "finetune",
        *rows,
        "--test",
        str(reviews / "validation.csv"),
        "--model",
        str(larger_bert),
        "--output",
        str(run),
    ]
    assert main([*words, "--batch_size", "8", *more]) == 0
    return RunRecord.load(run / "record.json")


@pytest.fixture(scope="module")
def ruined(reviews: Path, larger_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rate ruins the adapter, so that the probe is kept."""
    run = tmp_path_factory.mktemp("ruined") / "run"
    options = ["--epochs", "2", "--learning_rate", "30", "--schedule", "constant"]
    finetuned(reviews, larger_bert, run, "--adapter", "houlsby", "--reduction", "2", *options)
    return run


def test_an_adapter_that_is_no_gain_is_not_kept(ruined: Path) -> None:
    record = RunRecord.load(ruined / "record.json")
    assert record.training["train"]["start"]["kept"] == "probe"
    assert any("on the encoder and the adapter as they were" in note for note in record.notes)
    adapter = load_file(ruined / "model" / "adapter.safetensors")
    up = {key: value for key, value in adapter.items() if ".up." in key}
    assert len(up) == 16
    assert all(not value.any() for value in up.values())
    model, probe = record.model("model"), record.model("probe")
    assert model["metrics"] == probe["metrics"]
    own = sum(value.numel() for value in adapter.values())
    assert model["parameters"] - probe["parameters"] == own  # the probe is measured without the adapter
    assert model["trainable_parameters"] == model["own_parameters"] == own + 2 * 32 + 2
    assert probe["trainable_parameters"] == 2 * 32 + 2


def test_the_head_of_an_adapter_begins_as_a_probe_of_the_encoder(ruined: Path, larger_bert: Path) -> None:
    found: Any = understudy.load(ruined)
    assert found.facts.head == "mean"
    head = load_file(ruined / "model" / "head.safetensors")
    plain = PooledClassifier.assemble(
        load_encoder(str(larger_bert)), head["classifier.weight"], head["classifier.bias"]
    )
    batch = found.tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = plain(**{name: batch[name] for name in found.names}).logits.numpy()
    np.testing.assert_allclose(found.logits(TEXTS), expected, rtol=0, atol=1e-5)


def test_the_probabilities_are_those_that_were_calibrated(ruined: Path, larger_bert: Path) -> None:
    told = json.loads((ruined / "model" / "adapter_config.json").read_text(encoding="utf-8"))["understudy"]
    alone: Any = understudy.load(ruined)
    assert told["temperature"] == alone.temperature != 1.0
    several = understudy.load_base(larger_bert)
    several.load_adapter(ruined, name="one")
    expected = probabilities(alone.logits(TEXTS).astype(np.float64), alone.task, temperature=alone.temperature)
    for found in (alone.predict(TEXTS), several.predict(TEXTS), several.predict_each(TEXTS)["one"]):
        shares = [list(answer.probabilities.values()) for answer in found]
        np.testing.assert_allclose(shares, expected, rtol=0, atol=2e-6)


def test_a_mean_has_the_mean_of_the_temperatures(ruined: Path, larger_bert: Path, tmp_path: Path) -> None:
    folders = []
    for name, temperature in (("one", 0.5), ("two", 8.0)):
        folders.append(Path(shutil.copytree(ruined / "model", tmp_path / name)))
        _tell(folders[-1], temperature=temperature)
    several = understudy.load_base(larger_bert)
    names = [several.load_adapter(folder) for folder in folders]
    several.average(names, name="mean")
    assert several.facts["mean"].temperature == pytest.approx(2.0)
    mean = tmp_path / "mean"
    assert main(["adapter", "average", "--adapters", *map(str, folders), "--output", str(mean)]) == 0
    assert understudy.load(mean).temperature == pytest.approx(2.0)


@pytest.mark.parametrize("value", [0, -1.0, "hot", None, True])
def test_a_temperature_that_is_none_is_refused(value: Any, ruined: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ruined / "model", tmp_path / "adapter"))
    _tell(folder, temperature=value)
    with pytest.raises(ModelError, match="its temperature must be a number"):
        understudy.load(folder)


@pytest.mark.parametrize("more", [["--pooling", "head"], ["--start", "head"], ["--adapter_start", "normal"]])
def test_other_starts(more: list[str], reviews: Path, larger_bert: Path, tmp_path: Path) -> None:
    """The head of a BERT reads the base's pooler, which no start may change: it is not saved."""
    options = ["--adapter", "pfeiffer", "--reduction", "2", "--epochs", "1", "--learning_rate", "0.005"]
    record = finetuned(reviews, larger_bert, tmp_path / "run", *options, *more)
    model: Any = understudy.load(tmp_path / "run")
    assert ("start" in record.training["train"]) == ("--start" not in more)
    if "--pooling" in more:
        assert model.facts.head == "architecture"
        assert set(load_file(tmp_path / "run" / "model" / "head.safetensors")) == {
            "classifier.weight",
            "classifier.bias",
        }
        pooler = load_encoder(str(larger_bert)).pooler.dense.weight
        assert torch.equal(model.model.bert.pooler.dense.weight, pooler)
    assert {entry["name"] for entry in record.models} == {"model", "probe", "tfidf"}


def test_another_task_begins_as_a_probe_of_encoder_and_adapter(
    ruined: Path, reviews: Path, larger_bert: Path, tmp_path: Path
) -> None:
    """What a linear layer can read there depends on the adapter, so the probe is one of both."""
    first = tmp_path / "first"
    options = ["--epochs", "3", "--learning_rate", "0.01", "--no_baseline"]
    finetuned(reviews, larger_bert, first, "--adapter", "houlsby", "--reduction", "2", *options)
    for name in ("train", "test", "validation"):
        text = (reviews / f"{name}.csv").read_text(encoding="utf-8")
        (tmp_path / f"{name}.csv").write_text(text.replace("negative", "no").replace("positive", "yes"))
    ruin = ["--load_adapter", str(first), "--epochs", "2", "--learning_rate", "30", "--schedule", "constant"]
    record = finetuned(tmp_path, larger_bert, tmp_path / "run", *ruin)
    assert any("a new one learns" in note for note in record.notes)
    assert record.training["train"]["start"]["kept"] == "probe"
    assert record.model("model")["metrics"] == record.model("probe")["metrics"]
    assert record.model("model")["parameters"] == record.model("probe")["parameters"]
    one, other = (load_file(run / "model" / "adapter.safetensors") for run in (first, tmp_path / "run"))
    assert any(value.any() for key, value in one.items() if ".up." in key)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    same = finetuned(reviews, larger_bert, tmp_path / "again", "--load_adapter", str(first), *options, "--epochs", "1")
    assert "cross_validated" not in same.training["train"]["start"]  # no probe
    assert any("its head is kept" in note for note in same.notes)
    before: Any = understudy.load(first)
    again: Any = understudy.load(tmp_path / "again")
    assert again.facts.head == before.facts.head


def test_an_adapter_that_training_makes_worse_is_kept_as_it_was(
    reviews: Path, larger_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--epochs", "1", "--learning_rate", "0.01", "--no_baseline"]
    finetuned(reviews, larger_bert, tmp_path / "first", "--adapter", "houlsby", "--reduction", "2", *options)
    monkeypatch.setattr(transformer, "worth", lambda *_, **__: Worth(-0.5, 0.1, 0.0, "accuracy"))
    record = finetuned(reviews, larger_bert, tmp_path / "run", "--load_adapter", str(tmp_path / "first"), *options)
    assert record.training["train"]["start"]["kept"] == "checkpoint"
    for file in ("adapter.safetensors", "head.safetensors"):
        one, other = (load_file(tmp_path / run / "model" / file) for run in ("first", "run"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_an_imported_adapter_goes_on_with_its_head(reviews: Path, larger_bert: Path, tmp_path: Path) -> None:
    options = ["--epochs", "1", "--learning_rate", "0.001", "--no_baseline"]
    first = ["--adapter", "pfeiffer", "--reduction", "2", "--pooling", "head"]
    finetuned(reviews, larger_bert, tmp_path / "first", *first, *options)
    there, back = tmp_path / "there", tmp_path / "back"
    assert main(["adapter", "export", str(tmp_path / "first"), "--output", str(there)]) == 0
    assert main(["import", "adapter", str(there), "--model", str(larger_bert), "--output", str(back)]) == 0
    record = finetuned(reviews, larger_bert, tmp_path / "run", "--load_adapter", str(back), *options)
    assert any("its head is kept" in note for note in record.notes)
    before: Any = understudy.load(back)
    after: Any = understudy.load(tmp_path / "run")
    assert before.facts.head == after.facts.head == "first_token"
    assert before.facts.head_options == after.facts.head_options
    assert 0 < np.abs(after.logits(TEXTS) - before.logits(TEXTS)).max() < 2


def test_what_lies_in_an_adapters_folder(ruined: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(ruined, tmp_path / "run"))
    assert strangers(run) == []
    assert is_a_model(run / "model")
    (run / "model" / "config.json").write_text("{}")
    assert [path.name for path in strangers(run)] == ["adapter_config.json"]
    (run / "model" / "config.json").unlink()
    (run / "model" / "pytorch_adapter.bin").touch()
    assert [path.name for path in strangers(run)] == ["pytorch_adapter.bin"]
    assert not is_a_model(run / "model")


def _tell(folder: Path, **changed: Any) -> None:
    path = folder / "adapter_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["understudy"] |= changed
    path.write_text(json.dumps(told), encoding="utf-8")
