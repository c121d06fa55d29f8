"""Adapters in ``distill`` and ``glue``: a shared encoder that stays as it is, and what is learnt from a teacher in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from glue_toys import write_glue
from safetensors.torch import load_file
from test_glue_joint import killed

import understudy
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.inject import encoder_tensors
from understudy.cli import main
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.shrink.cut import cut_layers
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick")

SHORT = ["--batch_size", "16", "--max_length", "24"]


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model all of whose weights were trained."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    words = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--output", str(folder), "--no_baseline"]
    assert main([*words, "--epochs", "3", "--learning_rate", "1e-3", "--pooling", "head", *SHORT]) == 0
    return folder


@pytest.fixture(scope="module")
def adapter(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that is an adapter."""
    folder = tmp_path_factory.mktemp("adapter") / "run"
    words = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--output", str(folder), "--no_baseline"]
    words += ["--adapter", "houlsby", "--reduction", "4", "--drop_adapters", "1", "--learning_rate", "0.01"]
    assert main([*words, "--epochs", "3", "--pooling", "head", "--start", "head", *SHORT]) == 0
    return folder


def distilling(reviews: Path, teacher: Path, folder: Path, *more: str) -> list[str]:
    words = ["distill", "--data", str(reviews), "--teacher", str(teacher), "--output", str(folder), "--epochs", "2"]
    return [*words, "--unlabeled", str(reviews / "pool.txt"), "--no_references", *SHORT, *more]


def test_what_a_teacher_knows_becomes_an_adapter_on_a_shared_encoder(
    reviews: Path, teacher: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    more = ["--student", str(tiny_bert), "--adapter", "pfeiffer", "--reduction", "4", "--save_steps", "4"]
    assert main(distilling(reviews, teacher, tmp_path / "run", *more)) == 0
    files = {path.name for path in (tmp_path / "run" / "model").iterdir()}
    assert files == {"adapter_config.json", "adapter.safetensors", "head.safetensors", "checksums.json"}
    record = RunRecord.load(tmp_path / "run" / "record.json")
    for name in ("student", "student without teacher"):
        entry = record.model(name)
        assert entry["trainable_parameters"] == entry["own_parameters"] < entry["parameters"] / 2
    assert record.training["student"]["learning_rate"] == 1e-3  # the adapter's own
    found = understudy.load(tmp_path / "run")
    assert isinstance(found, AdaptedPredictor)
    base, own = load_encoder(str(tiny_bert)), dict(encoder_tensors(found.model))
    assert all(torch.equal(own[key], value) for key, value in encoder_tensors(base) if "pooler" not in key)
    model = understudy.load_base(str(tiny_bert))
    model.load_adapter(tmp_path / "run")
    texts = ["a good film", "the book is bad"]
    np.testing.assert_allclose(np.stack(model.logits(texts)), found.logits(texts), atol=1e-5)

    again = distilling(reviews, teacher, tmp_path / "killed", *more)
    assert killed(again, "student.step:9") not in (0, 1, 2)
    assert main([*again, "--resume"]) == 0
    one, other = (load_file(tmp_path / run / "model" / "adapter.safetensors") for run in ("run", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_student_goes_on_from_an_adapter(
    reviews: Path, teacher: Path, adapter: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """Its shape, its weights and its head are where the student begins, with and without the teacher."""
    more = ["--student", str(tiny_bert), "--load_adapter", str(adapter), "--save_steps", "4"]
    slow = distilling(reviews, teacher, tmp_path / "slow", *more, "--learning_rate", "1e-9")
    assert main(slow) == 0
    for file in ("adapter", "head"):
        own, begun = (load_file(run / "model" / f"{file}.safetensors") for run in (tmp_path / "slow", adapter))
        assert own.keys() == begun.keys()
        assert all(torch.allclose(own[key], begun[key], atol=1e-5) for key in own)
    record = RunRecord.load(tmp_path / "slow" / "record.json")
    assert any("its head is kept" in note for note in record.notes)
    entry = RunRecord.load(adapter / "record.json").models[0]["metrics"]["test"]["accuracy"]
    assert record.model("student without teacher")["metrics"]["test"]["accuracy"] == entry
    assert main(distilling(reviews, teacher, tmp_path / "run", *more)) == 0
    assert RunRecord.load(tmp_path / "run" / "record.json").training["student"]["learning_rate"] == 1e-3
    again = distilling(reviews, teacher, tmp_path / "killed", *more)
    assert killed(again, "student.step:9") not in (0, 1, 2)
    assert main([*again, "--resume"]) == 0
    one, other = (load_file(tmp_path / run / "model" / "adapter.safetensors") for run in ("run", "killed"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert any(
        not torch.equal(one[key], value) for key, value in load_file(adapter / "model" / "adapter.safetensors").items()
    )


def test_a_student_of_fewer_layers_begins_with_its_teachers_adapter(
    reviews: Path, adapter: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    more = ["--student", "layers:2", "--layers.choose", "first", "--no_baseline"]
    assert main(distilling(reviews, adapter, tmp_path / "run", *more, "--learning_rate", "1e-9")) == 0
    facts = AdapterFacts.read(tmp_path / "run" / "model")
    assert facts.base == Base(**{**vars(AdapterFacts.read(adapter / "model").base), "kept": [0, 1]})
    assert facts.design["leave_out"] == [1]
    own, whole = (load_file(run / "model" / "adapter.safetensors") for run in (tmp_path / "run", adapter))
    assert own.keys() == {key for key in whole if key.startswith("layer.0.")}
    assert all(torch.allclose(own[key], whole[key], atol=1e-5) for key in own)  # hardly anything has been learnt
    found = understudy.load(tmp_path / "run")
    assert len(found.model.bert.encoder.layer) == 2
    assert found.summary()["own_bytes"] == 4 * found.summary()["own_parameters"]
    with pytest.raises(understudy.errors.ModelError, match="for a model that was cut from this base"):
        understudy.load_base(str(tiny_bert)).load_adapter(tmp_path / "run")
    words = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--load_adapter", str(tmp_path / "run")]
    assert main([*words, "--output", str(tmp_path / "next")]) == 2


def test_a_new_adapter_in_layers_of_the_teacher(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    more = ["--student", "layers:2", "--adapter", "parallel", "--reduction", "4", "--adapter_half", "--no_baseline"]
    assert main(distilling(reviews, teacher, tmp_path / "run", *more)) == 0
    found = understudy.load(tmp_path / "run")
    assert found.facts.base.kept == [0, 3]
    whole = understudy.load(teacher)
    cut = cut_layers(load_classifier(str(teacher), whole.task), [0, 3])
    own = dict(encoder_tensors(found.model))
    assert all(torch.equal(own[key], value) for key, value in encoder_tensors(cut))
    record = RunRecord.load(tmp_path / "run" / "record.json").model("student")
    split = found.logits(["a good film"])
    assert np.isfinite(split).all()
    assert record["own_bytes"] == 2 * record["own_parameters"]
    # and it teaches on
    assert main(distilling(reviews, tmp_path / "run", tmp_path / "next", "--student", "static", "--no_baseline")) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--student", "bilstm", "--adapter", "pfeiffer"], "but --student bilstm trains none"),
        (["--student", "layers:2", "--adapter", "pfeiffer", "--layers.hidden", "16"], "change the encoder"),
        (["--student", "layers:2", "--load_adapter", "{adapter}"], "this adapter was trained in a whole model"),
        (["--student", "layers:2", "--teacher", "{adapter}", "--adapter", "pfeiffer"], "Leave out --adapter"),
        (
            ["--student", "layers", "--teacher", "{adapter}", "--layers.keep", "1"],
            "its adapter leaves out layers 1, which are all that the student would keep. Keep others too: --student layers",
        ),
        (["--student", "layers:2", "--teacher", "{hub}"], "has a head of AdapterHub, with which no student is cut"),
    ],
)
def test_mistakes_are_said(
    reviews: Path,
    teacher: Path,
    adapter: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, hub = distilling(reviews, teacher, tmp_path / "run"), tmp_path / "hub"
    if "--teacher" in more:
        del words[words.index("--teacher") : words.index("--teacher") + 2]
    if "{hub}" in more:
        assert main(["adapter", "export", str(adapter), "--output", str(tmp_path / "exported")]) == 0
        base = AdapterFacts.read(adapter / "model").base.name
        imported = ["import", "adapter", str(tmp_path / "exported"), "--model", base, "--output", str(hub)]
        assert main(imported) == 0
    assert main([*words, *(word.format(adapter=adapter, hub=hub) for word in more)]) == 2
    assert said in capsys.readouterr().err


def test_every_task_of_glue_has_an_adapter_of_its_own_on_one_encoder(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_glue(tmp_path / "GLUE")
    words = ["glue", "--data", root, "--model", tiny_bert, "--tasks", "cola", "stsb", "--epochs", 1, *SHORT]
    words = [str(word) for word in [*words, "--adapter", "pfeiffer", "--reduction", "4", "--no_baseline"]]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    for name in ("cola", "stsb"):
        record = RunRecord.load(tmp_path / "run" / name / "record.json")
        assert record.training["train"]["learning_rate"] == 1e-3
        assert record.model("model")["own_parameters"] < record.model("model")["parameters"] / 2
        assert json.loads((tmp_path / "run" / name / "eval_results.json").read_text())["epoch"] == 1.0
    base = understudy.load_base(str(tiny_bert))
    base.load_adapter(tmp_path / "run" / "cola")
    base.load_adapter(tmp_path / "run" / "stsb")
    answers = base.predict(["a good film", ("the film", "a film")], adapters=["cola", "stsb"])
    assert answers[0].label in ("0", "1")
    mixed: list[Any] = ["a good film", ("the film", "a film"), "a bad one", ("a film", "a good film")]
    together = base.logits(mixed, adapters=["cola", "stsb"] * 2)
    for name in ("cola", "stsb"):
        own = [row for row, text in enumerate(mixed) if isinstance(text, str) == (name == "cola")]
        alone = base.logits([mixed[row] for row in own], adapters=[name] * len(own))
        for row, outputs in zip(own, alone):
            assert together[row] == pytest.approx(outputs, abs=1e-5), mixed[row]
    for more, said in (
        (["--mode", "joint"], "an adapter is of one task, but --mode is joint"),
        (["--mode", "sequential"], "an adapter is of one task, but --mode is sequential"),
        (["--load_adapter", str(tmp_path / "run" / "cola")], "the adapter of --load_adapter is what it is"),
    ):
        assert main([*words, "--output", str(tmp_path / "no"), *more]) == 2
        assert said in capsys.readouterr().err
