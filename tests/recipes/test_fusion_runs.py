"""``understudy finetune --fuse``: trained adapters fused by attention for a new task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_glue_joint import killed

import understudy
from understudy.adapters.facts import AdapterFacts
from understudy.cli import main
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick")

SHORT = ["--batch_size", "8", "--max_length", "24", "--no_baseline", "--learning_rate", "0.01", "--start", "head"]


def words(reviews: Path, base: Path, folder: Path, *more: str) -> list[str]:
    return ["finetune", "--data", str(reviews), "--model", str(base), "--output", str(folder), *SHORT, *more]


@pytest.fixture(scope="module")
def several(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two adapters of one kind, whose bottlenecks differ, and one of another kind."""
    folder = tmp_path_factory.mktemp("several")
    for name, more in {
        "one": ["--adapter", "pfeiffer", "--reduction", "4"],
        "two": ["--adapter", "pfeiffer", "--reduction", "8", "--seed", "1"],
        "other": ["--adapter", "houlsby"],
    }.items():
        assert main(words(reviews, tiny_bert, folder / name, "--epochs", "1", *more)) == 0
    return [str(folder / name) for name in ("one", "two", "other")]


def test_the_fused_adapters_stay_as_they_are(
    reviews: Path, tiny_bert: Path, several: list[str], tmp_path: Path
) -> None:
    more = ["--fuse", *several[:2], "--epochs", "2", "--save_steps", "3"]
    whole = words(reviews, tiny_bert, tmp_path / "whole", *more)
    assert main(whole) == 0
    found = load_file(tmp_path / "whole" / "model" / "adapter.safetensors")
    for name, run in zip(("one", "two"), several):
        own = load_file(Path(run) / "model" / "adapter.safetensors")
        held = {key.replace(f".fused.{name}.", "."): value for key, value in found.items() if f".fused.{name}." in key}
        assert own.keys() == held.keys()
        assert all(torch.equal(own[key], held[key]) for key in own)
    assert not torch.equal(found["layer.0.output.value.weight"], torch.eye(32))
    facts = AdapterFacts.read(tmp_path / "whole" / "model")
    assert (facts.kind, list(facts.design)) == ("fusion", ["one", "two"])
    record = RunRecord.load(tmp_path / "whole" / "record.json")
    entry = record.model("model")
    fused = sum(value.numel() for key, value in found.items() if ".fused." in key)
    assert entry["trainable_parameters"] + fused == entry["own_parameters"]
    model = understudy.load(tmp_path / "whole")
    assert model.predict(["a good film"])[0].label in ("negative", "positive")
    base = understudy.load_base(str(tiny_bert))
    base.load_adapter(tmp_path / "whole")
    np.testing.assert_allclose(base.logits(["a good film"]), model.logits(["a good film"]), atol=1e-5)

    again = words(reviews, tiny_bert, tmp_path / "killed", *more)
    assert killed(again, "train.step:14") not in (0, 1, 2)
    assert main([*again, "--resume"]) == 0
    other = load_file(tmp_path / "killed" / "model" / "adapter.safetensors")
    assert all(torch.equal(found[key], other[key]) for key in found)

    assert (
        main(words(reviews, tiny_bert, tmp_path / "on", "--load_adapter", str(tmp_path / "whole"), "--epochs", "1"))
        == 0
    )
    assert AdapterFacts.read(tmp_path / "on" / "model").design == facts.design


@pytest.mark.parametrize(
    ("fuse", "more", "said"),
    [
        ([0], [], "--fuse names one adapter. Name two or more"),
        ([0, 0], [], "more than once"),
        ([0, 2], [], "adapters of one kind can be fused, but 'other' is a houlsby and 'one' a pfeiffer"),
        ([0, 1], ["--adapter", "pfeiffer"], "the adapters of --fuse are what they are"),
        ([0, 1], ["--drop_adapters", "0"], "the adapters of --fuse are what they are"),
    ],
)
def test_mistakes_are_said(
    reviews: Path,
    tiny_bert: Path,
    several: list[str],
    tmp_path: Path,
    fuse: list[int],
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [several[i] for i in fuse]
    assert main(words(reviews, tiny_bert, tmp_path / "run", "--fuse", *named, *more)) == 2
    assert said in capsys.readouterr().err


def test_a_fusion_is_neither_exported_nor_merged(
    reviews: Path, tiny_bert: Path, several: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(words(reviews, tiny_bert, run, "--fuse", *several[:2], "--epochs", "1")) == 0
    assert main(["adapter", "export", str(run), "--output", str(tmp_path / "out")]) == 2
    assert main(["adapter", "merge", str(run), "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "a fusion is not exported" in said
    assert "is a fusion, which is no part of any weight of the base" in said
