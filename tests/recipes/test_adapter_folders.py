"""``understudy adapter list``, ``info``, ``merge`` and ``average``."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import understudy
from understudy.cli import main
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick_throughout")
TEXTS = ["a good film", "the bad book, quite", "lovely"]


@pytest.fixture(scope="module")
def runs(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters of one shape, by seed, and one of another."""
    folder = tmp_path_factory.mktemp("adapters")
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    assert main([*command, "--adapter", "houlsby", "--seeds", "0", "1", "--output", str(folder / "family")]) == 0
    assert main([*command, "--adapter", "pfeiffer", "--output", str(folder / "other")]) == 0
    return folder


def test_list_and_info(
    runs: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(runs)
    assert main(["adapter", "list", "."]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 120
    rows = [line.split() for line in out.splitlines()]
    assert [row for row in rows if row[:2] == ["adapter", "kind"]] == [
        ["adapter", "kind", "size", "task", "fingerprint"]
    ]
    for name, kind in (("family/seed-0", "houlsby"), ("family/seed-1", "houlsby"), ("other", "pfeiffer")):
        assert any(row[:2] == [name, kind] for row in rows)
    told = understudy.AdapterInfo(adapter="other").run()
    share, fingerprint = told["share"].partition(" of")[0], told["fingerprint"][:8]
    for said in (
        told["parameters"],
        share,
        told["size"],
        told["score"],
        told["task"],
        fingerprint,
        f"…/{tiny_bert.name}",
    ):
        assert said in out
    assert main(["adapter", "info", str(runs / "other")]) == 0
    out = capsys.readouterr().out
    entry = RunRecord.load(runs / "other" / "record.json").models[0]
    share = 100 * entry["own_parameters"] / entry["parameters"]
    for said in (
        "pfeiffer",
        f"{share:.2g} %",
        "single_label: negative, positive",
        str(tiny_bert.resolve()),
        "accuracy",
    ):
        assert said.lower() in out.lower()
    assert main(["adapter", "list", str(tiny_bert)]) == 0
    assert "no adapters" in capsys.readouterr().out


def test_the_mean_of_two(runs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [runs / "family" / f"seed-{i}" for i in (0, 1)]
    out = tmp_path / "mean"
    assert main(["adapter", "average", "--adapters", *map(str, seeds), "--output", str(out)]) == 0
    for file in ("adapter.safetensors", "head.safetensors"):
        one, two = (load_file(seed / "model" / file) for seed in seeds)
        mean = load_file(out / file)
        assert mean.keys() == one.keys()
        assert all(np.allclose(mean[key], (one[key] + two[key]) / 2, atol=1e-7) for key in mean)
    assert len(understudy.load(out).predict(TEXTS)) == 3
    told, trained = (understudy.AdapterInfo(adapter=str(folder)).run() for folder in (out, seeds[0]))
    assert told["score"] == "–"  # nobody has scored it
    own = RunRecord.load(seeds[0] / "record.json").models[0]["own_parameters"]
    base = sum(value.numel() for value in load_file(tiny_bert / "model.safetensors").values())
    assert told["share"].startswith(f"{100 * own / (own + base):.2g} % of ")
    for key in ("parameters", "size", "task", "base", "fingerprint"):
        assert told[key] == trained[key] != "–"
    shorter = shutil.copytree(seeds[1] / "model", tmp_path / "shorter")
    told = json.loads((shorter / "adapter_config.json").read_text())
    told["understudy"]["max_length"] -= 7
    (shorter / "adapter_config.json").write_text(json.dumps(told))
    for first, second in ((seeds[0], shorter), (shorter, seeds[0])):  # whichever is named first
        words = ["adapter", "average", "--adapters", str(first), str(second), "--output", str(tmp_path / "long")]
        assert main([*words, "--overwrite"]) == 0
        assert understudy.load(tmp_path / "long").max_length == told["understudy"]["max_length"] + 7
    pairs = shutil.copytree(seeds[1] / "model", tmp_path / "pairs")  # another task, whose labels have the same names
    told = json.loads((pairs / "adapter_config.json").read_text())
    told["understudy"]["task"]["text"] = [["one"], ["two"]]
    (pairs / "adapter_config.json").write_text(json.dumps(told))
    capsys.readouterr()
    assert main(["adapter", "average", "--adapters", str(seeds[0]), str(pairs), "--output", str(tmp_path / "x")]) == 2
    assert "has another kind of task than" in capsys.readouterr().err
    odd = [str(seeds[0]), str(runs / "other")]
    assert main(["adapter", "average", "--adapters", *odd, "--output", str(tmp_path / "x")]) == 2
    assert "has another shape than" in capsys.readouterr().err


def test_another_base_is_taken_with_force(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of the adapters was trained on a base of the same shape whose weights are others now."""
    seeds = [runs / "family" / f"seed-{i}" for i in (0, 1)]
    odd = shutil.copytree(seeds[1] / "model", tmp_path / "odd")
    path = odd / "adapter_config.json"
    path.write_text(
        path.read_text().replace(json.loads(path.read_text())["understudy"]["base"]["fingerprint"], "0" * 64)
    )
    for first, second in ((seeds[0], odd), (odd, seeds[0])):
        words = ["adapter", "average", "--adapters", str(first), str(second), "--output", str(tmp_path / "mean")]
        assert main(words) == 2
        assert "has another base than" in capsys.readouterr().err
        assert main([*words, "--force", "--overwrite"]) == 0
        one, two, mean = (
            load_file(one / "adapter.safetensors") for one in (seeds[0] / "model", odd, tmp_path / "mean")
        )
        assert all(np.allclose(mean[key], (one[key] + two[key]) / 2, atol=1e-7) for key in mean)
        assert len(understudy.load(tmp_path / "mean").predict(TEXTS)) == 3
        shutil.rmtree(tmp_path / "mean")
    words = ["adapter", "export", str(odd), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert "with --force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 2
    assert "its head is more than layers on the first token's state" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_merged_it_is_a_plain_model(kind: str, reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "2", "--no_baseline"]
    command += ["--pooling", "head", "--start", "head"]
    assert main([*command, "--adapter", kind, "--learning_rate", "0.05", "--output", str(tmp_path / "run")]) == 0
    assert main(["adapter", "merge", str(tmp_path / "run"), "--output", str(tmp_path / "merged")]) == 0
    before: Any = understudy.load(tmp_path / "run")
    after: Any = understudy.load(tmp_path / "merged")
    np.testing.assert_allclose(after.logits(TEXTS), before.logits(TEXTS), atol=1e-5)
    names = set(AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").state_dict())
    assert set(load_file(tmp_path / "merged" / "model.safetensors")) == names


@pytest.mark.parametrize("function", ["linear", "gelu"])
def test_a_parallel_one_makes_its_base_wider(function: str, reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """One that is linear, or has the base's function: transformers alone loads the merged model."""
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "2", "--no_baseline"]
    command += ["--pooling", "head", "--start", "head", "--adapter", "parallel", "--reductions", "1-2=4", "3=16"]
    command += ["--non_linearity", function, "--learning_rate", "0.05", "--reduction", "8"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    before: Any = understudy.load(tmp_path / "run")
    assert [len(before.own()[f"layer.{i}.output.down.bias"]) for i in range(4)] == [4, 8, 8, 2]
    assert main(["adapter", "merge", str(tmp_path / "run"), "--output", str(tmp_path / "merged")]) == 0
    after: Any = understudy.load(tmp_path / "merged")
    np.testing.assert_allclose(after.logits(TEXTS), before.logits(TEXTS), atol=1e-5)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert plain.config.intermediate_size == 64 + 8 * (2 if function == "linear" else 1)
    assert set(load_file(tmp_path / "merged" / "model.safetensors")) == set(plain.state_dict())


def test_what_cannot_be(runs: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    damaged = shutil.copytree(runs / "other" / "model", tmp_path / "damaged")
    (damaged / "adapter_config.json").write_text("{")
    cut = shutil.copytree(runs / "other" / "model", tmp_path / "cut")
    (cut / "adapter.safetensors").write_bytes((cut / "adapter.safetensors").read_bytes()[:-9])
    other = str(runs / "other")
    cases = [
        (["merge", other, "--output", str(tmp_path / "x")], "Only lora, ia3, and a parallel one"),
        (["merge", other, "--output", str(tmp_path / "full"), "--overwrite"], "holds no model of understudy"),
        (["info", str(tiny_bert)], "is no adapter"),
        (["info", str(damaged)], "cannot be read as JSON"),
        (["info", str(cut)], "adapter.safetensors is not what was saved"),
        (["list", "nowhere"], "there is no such folder"),
        (["average", "--adapters", other, "--output", str(tmp_path / "x")], "must name two adapters or more"),
        (
            ["average", "--adapters", other, other, "--output", str(tmp_path / "x")],
            f"--adapters names {other} more than",
        ),
    ]
    for words, message in cases:
        assert main(["adapter", *words]) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")
    assert (tmp_path / "full" / "mine.txt").exists()
