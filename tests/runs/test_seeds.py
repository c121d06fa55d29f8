"""Families of runs: ``--seeds`` makes a parent with a child a seed; kills and failures of children."""

from __future__ import annotations

import json
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forked
from understudy.cli import main
from understudy.record import RunRecord
from understudy.runs import seeds
from understudy.settings.train.finetune import FinetuneSettings

pytestmark = pytest.mark.usefixtures("quick_throughout")


@pytest.fixture
def finetune(reviews: Path, tiny_bert: Path) -> Callable[..., list[str]]:
    """The words of a short finetune of a transformer."""

    def words(output: Path, *more: object) -> list[str]:
        given = ["--data", reviews, "--model", tiny_bert, "--epochs", 1, "--batch_size", 16, "--max_length", 16]
        given += ["--start", "head", "--pooling", "head"]
        return [str(word) for word in ["finetune", *given, "--output", output, *more]]

    return words


@pytest.fixture
def tfidf(reviews: Path) -> Callable[..., list[str]]:
    """The words of a TF-IDF run."""

    def words(output: Path, *more: object) -> list[str]:
        return [str(word) for word in ["finetune", "--data", reviews, "--model", "tfidf", "--output", output, *more]]

    return words


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_family_is_its_runs_summed_up(
    finetune: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(finetune(tmp_path / "family", "--seeds", 0, 1, 2)) == 0
    shown = capsys.readouterr().out
    assert main(finetune(tmp_path / "alone", "--seed", 1)) == 0
    assert weights(tmp_path / "family" / "seed-1") == weights(tmp_path / "alone")
    parent = RunRecord.load(tmp_path / "family" / "record.json")
    assert parent.finished
    assert parent.children == [f"seed-{seed}/record.json" for seed in (0, 1, 2)]
    children = [RunRecord.load(tmp_path / "family" / path) for path in parent.children]
    assert [(child.seed, child.config["seeds"], child.finished) for child in children] == [
        (seed, [], True) for seed in (0, 1, 2)
    ]
    assert parent.split == "test"
    for name in ("model", "tfidf"):
        scores = [child.model(name)["metrics"]["test"]["accuracy"] for child in children]
        found = parent.aggregate[name]["accuracy"]
        assert found["n"] == 3
        assert found["mean"] == pytest.approx(statistics.mean(scores))
        assert found["sd"] == pytest.approx(statistics.stdev(scores))
    assert "±" in shown
    card = (tmp_path / "family" / "README.md").read_text(encoding="utf-8")
    assert "seed-2/README.md" in card
    assert "seeds" in card
    assert main(finetune(tmp_path / "family", "--seeds", 0, 1, 2, "--resume")) == 0
    assert "nothing to do" in capsys.readouterr().out


def killed(arguments: list[str], failpoint: str) -> int:
    """The exit code of a process that dies at a failpoint."""
    return forked.understudy(*arguments, failpoint=failpoint).returncode


def test_killed_between_children_and_inside_one(finetune: Callable[..., list[str]], tmp_path: Path) -> None:
    assert main(finetune(tmp_path / "whole", "--seeds", 0, 1, "--no_baseline")) == 0
    words = finetune(tmp_path / "killed", "--seeds", 0, 1, "--no_baseline", "--save_steps", 3)
    assert killed(words, "family.child:2") == -signal.SIGKILL  # the first child is done
    assert (tmp_path / "killed" / "seed-0" / "README.md").exists()
    assert not (tmp_path / "killed" / "seed-1").exists()
    before = (tmp_path / "killed" / "seed-0" / "record.json").read_bytes()
    assert killed([*words, "--resume"], "train.step:5") == -signal.SIGKILL  # inside the second
    assert main([*words, "--resume"]) == 0
    assert (tmp_path / "killed" / "seed-0" / "record.json").read_bytes() == before
    for seed in (0, 1):
        assert weights(tmp_path / "killed" / f"seed-{seed}") == weights(tmp_path / "whole" / f"seed-{seed}")
    found, expected = (RunRecord.load(tmp_path / name / "record.json") for name in ("killed", "whole"))
    assert found.finished
    assert found.aggregate == expected.aggregate


def test_a_child_that_fails_is_named_and_the_others_go_on(
    tfidf: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "family").mkdir()
    stranger = tmp_path / "family" / "seed-1"
    run_child = seeds.run_child

    def with_a_stranger(parent: Any, name: str, recipe: Any) -> Any:
        if name == "seed-1" and not stranger.exists():
            stranger.mkdir()
            (stranger / "mine.txt").write_text("precious", encoding="utf-8")
        return run_child(parent, name, recipe)

    words = tfidf(tmp_path / "family", "--seeds", 0, 1, 2)
    monkeypatch.setattr(seeds, "run_child", with_a_stranger)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "seed 1 failed" in error
    assert "1 of the runs" in error
    record = RunRecord.load(tmp_path / "family" / "record.json")
    assert not record.finished
    assert record.aggregate["model"]["accuracy"]["n"] == 2
    assert any("seed 1 failed" in note for note in record.notes)
    (stranger / "mine.txt").unlink()
    assert main([*words, "--resume"]) == 0
    record = RunRecord.load(tmp_path / "family" / "record.json")
    assert record.finished
    assert record.notes == []
    assert record.aggregate["model"]["accuracy"]["n"] == 3


def test_a_signal_stops_the_family_and_says_how_to_go_on(
    finetune: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = finetune(tmp_path / "family", "--seeds", 3, 4)
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:2:SIGTERM")
    monkeypatch.setattr("understudy.failpoints._passed", __import__("collections").Counter())
    assert main(words) == 128 + signal.SIGTERM
    assert f"--output {tmp_path / 'family'} and --resume" in capsys.readouterr().err
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    assert main([*words, "--resume"]) == 0


def test_a_dry_run_plans_the_first_and_writes_nothing(
    finetune: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(finetune(tmp_path / "family", "--seeds", 5, 6, "--dry_run")) == 0
    assert "2 runs, one a seed (5 6)" in capsys.readouterr().out
    assert not (tmp_path / "family").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": [1, 1]}, "--seeds names 1 more than once"),
        ({"seeds": [1, 2], "seed": 3}, "--seed and --seeds both say"),
    ],
)
def test_seeds_that_make_no_sense(given: dict[str, Any], said: str) -> None:
    assert any(said in fault for fault in FinetuneSettings(data="a.csv", model="tfidf", **given).faults())


def test_a_time_budget_is_shared_by_the_children() -> None:
    assert seeds.share_of(None, 3) is None
    import time

    assert seeds.share_of(time.monotonic() + 90.0, 3) in ("30s", "29s")
    assert seeds.share_of(time.monotonic() - 5.0, 1) == "1s"


def test_a_family_survives_settings_that_were_added_since(
    tfidf: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tfidf(tmp_path / "run")
    assert main(words) == 0
    path = tmp_path / "run" / "record.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    old["finished"] = False
    del old["config"]["seeds"], old["config"]["pooling"]
    path.write_text(json.dumps(old), encoding="utf-8")
    assert main([*words, "--resume"]) == 0
    path.write_text(json.dumps(old), encoding="utf-8")
    assert main([*words, "--resume", "--pooling", "mean", "--features", "trained"]) == 2
    assert "was begun with pooling = None" in capsys.readouterr().err


def test_a_family_is_of_one_data_and_is_replaced_only_when_the_next_can_begin(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.csv"
    data.write_bytes((reviews / "train.csv").read_bytes())
    words = ["finetune", "--data", str(data), "--model", "tfidf", "--seeds", "0", "1"]
    words += ["--output", str(tmp_path / "family")]
    assert killed(words, "family.child:2") == -signal.SIGKILL
    kept = data.read_bytes()
    data.write_bytes(kept + b"a bad film,positive\n")
    assert main([*words, "--resume"]) == 2
    assert f"was started on other files: {data} changed since" in capsys.readouterr().err
    data.write_bytes(kept)
    assert main([*words, "--resume"]) == 0
    weights(tmp_path / "family" / "seed-1")
    data.write_text("text,label\n", encoding="utf-8")
    assert main([*words, "--overwrite"]) == 2
    assert weights(tmp_path / "family" / "seed-0")
    assert RunRecord.load(tmp_path / "family" / "record.json").finished
