"""``understudy compare --search``: an equal tuned budget, the same proposals after a kill, and bad ranges."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
import little
from understudy.cli import main
from understudy.errors import ModelError
from understudy.evaluation import cost
from understudy.recipes.choose.compare.contenders import Contending
from understudy.recipes.choose.compare.tuning import Tuner, best_settings
from understudy.record import RunRecord
from understudy.report import plots
from understudy.settings.choose.compare import CompareSettings
from understudy.settings.choose.ranges import TUNABLE, Range

pytest.importorskip("optuna")

SMALL = ["--max_length", 32, "--batch_size", 24, "--threads", 1]
RANGES = ["learning_rate=1e-4..1e-1:log", "epochs=1..3"]


def words(*given: object) -> list[str]:
    """A command line."""
    return ["compare", *map(str, given)]


def no_clock(predictor: Any, texts: Any, **options: Any) -> dict[str, Any]:
    """A model's size, and the same time for all."""
    return {**predictor.summary(), "texts_per_second": 1.0, "latency_ms": {"p50": 1.0, "p99": 1.0}, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def _patched() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("family", "tuning"):
            patch.setattr(f"understudy.recipes.choose.compare.{module}.run_apart", little.in_this_process)
        patch.setattr(plots, "draw_all", lambda folder, record: [])
        patch.setattr("understudy.recipes.choose.compare.family.draw_comparison", lambda folder, record: [])
        patch.setattr(cost, "measure", no_clock)
        yield


@pytest.fixture(scope="module")
def line(reviews: Path) -> list[object]:
    """Two models that are tuned and one that tunes itself."""
    return ["--data", reviews, "--models", "static", "bilstm", "tfidf", "--search", 3, "--ranges", *RANGES, *SMALL]


@pytest.fixture(scope="module")
def tuned(line: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of tuned models."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    assert main(words(*line, "--seeds", 0, 1, "--output", folder)) == 0
    return folder


def test_every_model_has_the_same_number_of_trials_and_its_best_settings_with_all_seeds(tuned: Path) -> None:
    record = RunRecord.load(tuned / "record.json")
    tuning = record.findings["tuning"]
    assert record.finished
    assert set(tuning["trials"]) == {"static", "bilstm"}
    for name, trials in tuning["trials"].items():
        scores = []
        for number, trial in enumerate(trials, 1):
            one = RunRecord.load(tuned / f"trial-{number}-{name}" / "record.json")
            assert {key: one.config[key] for key in trial["settings"]} == trial["settings"]
            assert list(one.models[0]["metrics"]) == ["validation"]  # a trial leaves the test rows alone
            assert one.models[0]["metrics"]["validation"]["accuracy"] == trial["score"]
            assert one.seed == 0
            assert 1e-4 <= trial["settings"]["learning_rate"] <= 1e-1
            assert trial["settings"]["epochs"] in (1, 2, 3)
            scores.append(trial["score"])
        assert len(scores) == 3
        best = trials[scores.index(max(scores))]["settings"]
        assert tuning["best"][name] == best
        for seed in (0, 1):
            final = RunRecord.load(tuned / f"{name}-seed-{seed}" / "record.json")
            assert {key: final.config[key] for key in best} == best
            assert "test" in final.models[0]["metrics"]
    assert not list(tuned.glob("trial-*-tfidf"))
    assert record.findings["same_batches"] == []  # epochs were tuned
    assert "Settings found" in (tuned / "README.md").read_text(encoding="utf-8")


_KILLED = """
import sys
import torch
from understudy.cli import main
torch.set_num_threads(1)
sys.path.insert(0, sys.argv.pop(1))
import little
import test_compare_tuned as toys
import understudy.recipes.choose.compare.family as family
import understudy.recipes.choose.compare.tuning as tuning
from understudy.errors import ModelError
from understudy.evaluation import cost
from understudy.recipes.choose.compare.contenders import Contending
from understudy.report import plots
family.run_apart = tuning.run_apart = little.in_this_process
family.draw_comparison = plots.draw_all = lambda folder, record: []
cost.measure = toys.no_clock
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("where", ["family.child:4", "train.step:30"])
def test_a_tuned_comparison_that_is_killed_proposes_the_same_settings_again(
    where: str, tuned: Path, line: list[object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = words(*line, "--seeds", 0, 1, "--output", folder)
    environment = {**os.environ, "UNDERSTUDY_FAILPOINT": where}
    killed = forked.run(_KILLED, Path(__file__).parent, *given, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert main([*given, "--resume"]) == 0
    whole, again = (RunRecord.load(place / "record.json") for place in (tuned, folder))
    assert json.dumps(again.findings["tuning"]) == json.dumps(whole.findings["tuning"])
    assert again.comparisons == whole.comparisons
    assert again.aggregate == whole.aggregate


def out_of_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[], None]:
    """From here on, runs in whose folder's name this is have no memory to be scored in; what ends that."""
    whole = Contending._score

    def bad(self: Any, session: Any, model: Any) -> None:
        if name in session.run.folder.name:
            raise ModelError("out of memory.")
        whole(self, session, model)

    monkeypatch.setattr(Contending, "_score", bad)
    return lambda: monkeypatch.setattr(Contending, "_score", whole)


def test_a_trial_that_fails_counts_as_failed_and_the_others_choose(
    line: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out_of_memory(monkeypatch, "trial-2-static")
    given = words("--data", line[1], "--models", "static", "tfidf", *line[6:], "--output", tmp_path / "run")
    assert main(given) == 0
    assert "trial-2-static failed: out of memory." in " ".join(capsys.readouterr().err.split())
    tuning = RunRecord.load(tmp_path / "run" / "record.json").findings["tuning"]
    assert [trial["score"] is None for trial in tuning["trials"]["static"]] == [False, True, False]
    assert tuning["best"]["static"] in [tuning["trials"]["static"][number]["settings"] for number in (0, 2)]


def test_a_model_all_of_whose_trials_failed_is_not_trained_untuned_later(
    line: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_back = out_of_memory(monkeypatch, "static")
    given = words("--data", line[1], "--models", "static", "tfidf", *line[6:], "--output", tmp_path / "run")
    assert main(given) == 2
    assert "static failed: none of its trials succeeded: out of memory." in " ".join(capsys.readouterr().err.split())
    put_back()
    assert main([*given, "--resume"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "static failed: none of its trials succeeded: they failed before this comparison went on." in said
    assert not (tmp_path / "run" / "static").exists()
    assert not RunRecord.load(tmp_path / "run" / "record.json").finished


def test_proposals_depend_on_the_seed_and_the_scores_alone() -> None:
    ranges = [Range("learning_rate", 1e-5, 1e-2, log=True), Range("epochs", 1, 9), Range("batch_size", choices=(8, 16))]

    def proposed(seed: int, score: Any) -> list[dict[str, Any]]:
        tuner, found = Tuner(ranges, trials=12, seed=seed), []
        for _ in range(12):
            found.append(tuner.propose())
            tuner.tell(score(found[-1]))
        return found

    assert proposed(0, lambda one: one["epochs"]) == proposed(0, lambda one: one["epochs"])
    assert proposed(0, lambda one: one["epochs"]) != proposed(1, lambda one: one["epochs"])
    late = [one["epochs"] for one in proposed(0, lambda one: one["epochs"])[6:]]
    early = [one["epochs"] for one in proposed(0, lambda one: -one["epochs"])[6:]]
    assert sum(late) > sum(early)  # it learns what is good
    assert all(1e-5 <= one["learning_rate"] <= 1e-2 for one in proposed(2, lambda one: None))
    assert {one["batch_size"] for one in proposed(2, lambda one: 0.0)} <= {8, 16}


def test_the_first_of_equally_good_settings_is_the_best() -> None:
    trials = [{"settings": {"epochs": number}, "score": score} for number, score in enumerate([0.1, 0.9, 0.9, None])]
    assert best_settings(trials) == {"epochs": 1}
    assert best_settings([{"settings": {}, "score": None}]) is None


def test_what_can_be_tuned_are_settings_of_training() -> None:
    settings = CompareSettings()
    assert all(hasattr(settings, name) for name in TUNABLE)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--search", 3], "--search needs --ranges"),
        (["--ranges", "epochs=1..3"], "--ranges says what --search tunes"),
        (["--search", 0, "--ranges", "epochs=1..3"], "search must be greater than or equal to 1"),
        (["--search", 3, "--ranges", "epoch=1..3"], "but this is 'epoch'. Did you mean 'epochs'?"),
        (["--search", 3, "--ranges", "epochs=3..1"], "the first end must be below the second, but they are 3..1"),
        (["--search", 3, "--ranges", "epochs=1.5..3"], "a value must be a whole number from 1, but is 1.5"),
        (["--search", 3, "--ranges", "learning_rate=0..1"], "a value must be a number above 0, but is 0"),
        (["--search", 3, "--ranges", "weight_decay=0..1:log"], "a logarithmic range begins above 0"),
        (["--search", 3, "--ranges", "warmup=0..2"], "a value must be a number from 0 to 1, but is 2"),
        (["--search", 3, "--ranges", "epochs=a..3"], "'a' is no number"),
        (["--search", 3, "--ranges", "epochs=2,2"], "there must be two values or more"),
        (["--search", 3, "--ranges", "epochs=1..3:lin"], "but is 'epochs=1..3:lin'"),
        (["--search", 3, "--ranges", "epochs"], "but is 'epochs'"),
        (["--search", 3, "--ranges", "epochs=1..3", "epochs=1..4"], "--ranges names epochs more than once"),
        (["--search", 3, "--ranges", "epochs=1..2", "--epochs", 5], "--epochs and --ranges both say what epochs is"),
        (["--trial"], "--trial scores one model with one seed"),
    ],
)
def test_bad_ranges_are_said(
    given: list[object], said: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("--data", reviews, "--models", "static", "tfidf", "--output", tmp_path / "run", *given)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
