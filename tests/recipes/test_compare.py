"""``understudy compare``: equal conditions, what is found, failures and kills."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import little
import understudy
from understudy.cli import main
from understudy.evaluation import cost
from understudy.recipes.choose.compare.summing_up import _costs
from understudy.record import RunRecord
from understudy.report import plots
from understudy.training.trainer import Trainer

SMALL = ["--epochs", 2, "--max_length", 32, "--batch_size", 24, "--eval_steps", 3]


def words(*given: object) -> list[str]:
    """A command line."""
    return ["compare", *map(str, given)]


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """No process for each run, no plots of single runs, little measuring."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.recipes.choose.compare.family.run_apart", little.in_this_process)
        patch.setattr(plots, "draw_all", lambda folder, record: [])
        patch.setattr(cost, "measure", partial(cost.measure, latency_texts=3, throughput_texts=10, warmup=1))
        yield patch


@pytest.fixture(scope="module")
def compared(
    patched: pytest.MonkeyPatch, reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[Any]]]:
    """A comparison of everything there is, and the tokens of every step of each run."""
    folder, steps = tmp_path_factory.mktemp("compared") / "run", dict[str, list[Any]]()
    before = Trainer.step

    def step(self: Any, window: Any, *rest: Any) -> None:
        run = self.reporter.log.path.parent.name
        steps.setdefault(run, []).append([batch.inputs["input_ids"].tolist() for batch in window])
        before(self, window, *rest)

    patched.setattr(Trainer, "step", step)
    models = [f"bert={tiny_bert}", f"lora={tiny_bert}+lora", "layers:2", "layers:2+distilled", "static", "tfidf"]
    line = words("--data", reviews, "--models", *models, "--seeds", 0, 1, "--output", folder, *SMALL)
    assert main(line) == 0
    patched.setattr(Trainer, "step", before)
    return folder, steps


def test_models_with_one_tokenizer_see_the_same_batches_in_the_same_order(
    compared: tuple[Path, dict[str, list[Any]]],
) -> None:
    folder, steps = compared
    for seed in (0, 1):
        seen = {
            name: steps[f"{name}-seed-{seed}"] for name in ("bert", "lora", "layers-2", "layers-2+distilled", "static")
        }
        assert all(len(found) == 10 for found in seen.values())
        assert all(found == seen["bert"] for found in seen.values())
    assert steps["bert-seed-0"] != steps["bert-seed-1"]
    findings = RunRecord.load(folder / "record.json").findings
    assert findings["same_batches"] == [["bert", "lora", "layers:2", "layers:2+distilled", "static"]]


def test_the_record_says_what_was_found(compared: tuple[Path, dict[str, list[Any]]]) -> None:
    folder, _ = compared
    record = RunRecord.load(folder / "record.json")
    names = ["bert", "lora", "layers:2", "layers:2+distilled", "static", "tfidf"]
    assert record.finished
    assert [model["name"] for model in record.models] == names
    assert len(record.children) == 12
    assert {(entry["model"], entry["other"]) for entry in record.comparisons} == set(combinations(names, 2))
    for name in names:
        runs = record.findings["runs"][name]
        scores = [RunRecord.load(folder / run / "record.json").models[0]["metrics"]["test"]["accuracy"] for run in runs]
        assert record.findings["scores"][name]["mean"] == pytest.approx(np.mean(scores))
        assert record.aggregate[name]["accuracy"]["n"] == 2
        costs = next(model for model in record.models if model["name"] == name)["training"]
        assert costs["seconds"] > 0
        assert costs["energy_wh"] == pytest.approx(costs["seconds"] * 10 / 3600)
        assert costs["peak_memory_bytes"] > 10**7
        assert ("steps_to_best" in costs) == (name != "tfidf")
    assert record.findings["distilled"] == {"layers:2+distilled": "layers:2"}
    child = RunRecord.load(folder / "layers-2+distilled-seed-1" / "record.json")
    assert child.config["teacher"] == str(folder / "bert-seed-1")
    assert (folder / "README.md").read_text(encoding="utf-8").count("](plots/") == 14


def test_the_energy_of_tfidf_is_that_of_one_thread() -> None:
    for kind, threads in (("bert", 4), ("tfidf", 1)):
        record = RunRecord(command="compare", config={}, seed=0, timings={"train_s": 36.0})
        record.hardware = {"threads": 8, "training_threads": 4}
        record.models = [{"name": "a", "model_type": kind}]
        assert _costs({"a": record}, SimpleNamespace(watts=10))["energy_wh"] == pytest.approx(0.1 * threads)


def test_each_run_is_a_run_of_its_own(
    compared: tuple[Path, dict[str, list[Any]]], reviews: Path, tmp_path: Path
) -> None:
    folder, _ = compared
    static = folder / "static-seed-1"
    assert understudy.load(static).predict(["a good film"])[0].label in ("negative", "positive")
    assert main(words("--config", static / "config.yaml", "--output", tmp_path / "again")) == 0
    weights = "model/model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (static / weights).read_bytes()


def test_answers_are_those_of_the_saved_model(compared: tuple[Path, dict[str, list[Any]]], reviews: Path) -> None:
    folder, _ = compared
    with np.load(folder / "lora-seed-0" / "answers.npz") as file:
        answers = file["answers"]
    rows = [line.rpartition(",")[0] for line in (reviews / "test.csv").read_text().splitlines()[1:]]
    np.testing.assert_allclose(
        understudy.load(folder / "lora-seed-0").logits([(row,) for row in rows]), answers, atol=1e-5
    )


def test_a_finished_comparison_is_left_as_it_is_and_replaced_when_asked(
    compared: tuple[Path, dict[str, list[Any]]],
    reviews: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = compared
    before = (folder / "record.json").read_bytes()
    assert main(words("--config", folder / "config.yaml", "--output", folder, "--resume")) == 0
    assert (folder / "record.json").read_bytes() == before
    assert "finished already" in capsys.readouterr().out
    assert main(words("--config", folder / "config.yaml", "--output", folder)) == 2
    line = ["--data", reviews, "--models", "tfidf", "static", "--output", folder, *SMALL]
    assert main(words(*line, "--overwrite")) == 0
    assert sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) == ["plots", "static", "tfidf"]


@pytest.mark.usefixtures("patched")
def test_quality_against_labels(reviews: Path, tmp_path: Path) -> None:
    line = ["--data", reviews, "--models", "tfidf", "static", "--limit_train", 20, 100, "--output", tmp_path / "run"]
    assert main(words(*line, *SMALL)) == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert list(record.findings["labels"]) == ["20", "100"]
    assert record.findings["labels"]["100"] == record.findings["scores"]
    assert record.data["train"]["rows"] == 100
    assert (tmp_path / "run" / "plots" / "labels.svg").exists()


def test_more_labels_than_there_are_have_no_point_on_the_curve(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", reviews, "--models", "tfidf", "static", "--output", tmp_path / "run", *SMALL]
    assert main(words(*line, "--limit_train", 20, 121, 5000)) == 2
    assert main(words("--train", reviews / "train.csv", *line[2:], "--limit_train", 20, 100)) == 2
    assert "--limit_train has several numbers, but there is no test split" in capsys.readouterr().err
    assert main(words(*line, "--limit_train", 20, 121, 5000)) == 2
    told = "--limit_train 121 and 5,000: there are 120 labelled training rows. Name 120 as the largest."
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("patched")
def test_a_model_that_fails_is_named_and_the_others_go_on(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_bert.iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(content[: len(content) // 2] if path.suffix == ".safetensors" else content)
    line = ["--data", reviews, "--output", tmp_path / "run", *SMALL]
    assert main(words(*line, "--models", broken, "static+distilled", "tfidf")) == 2
    said = capsys.readouterr().err
    assert "broken: " in said
    assert "static+distilled: its teacher, broken, failed" in said
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert not record.finished
    assert [model["name"] for model in record.models] == ["tfidf"]
    assert record.findings["missing"] == ["broken", "static+distilled"]


def test_other_batches_under_one_tokenizer_are_an_error_of_ours() -> None:
    from understudy.recipes.choose.compare.conditions import same_conditions

    def record(order: str) -> RunRecord:
        training = {"train": {"conditions": {"tokens": "a", "order": order}}}
        return RunRecord(command="compare", config={}, training=training)

    assert same_conditions({"one": record("x"), "two": record("x")}, {"one": "1", "two": "2"}) == [["1", "2"]]
    with pytest.raises(RuntimeError, match="one, two: read the same tokens in different batches"):
        same_conditions({"one": record("x"), "two": record("y")}, {"one": "1", "two": "2"})


def test_a_metric_that_the_task_does_not_have_is_refused_before_anything_is_written(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", reviews, "--models", "tfidf", "static", "--output", tmp_path / "run", *SMALL]
    assert main(words(*line, "--metric", "pearson")) == 2
    assert "metric must be one of accuracy" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_dry_run_says_what_each_model_would_do(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", reviews, "--models", tiny_bert, "static+distilled", "tfidf", "--output", tmp_path / "run"]
    assert main(words(*line, "--dry_run", "--seeds", 0, 1)) == 0
    said = capsys.readouterr().out
    assert "6 runs of 3 models" in said
    assert "learns from tiny-bert" in said
    assert not (tmp_path / "run").exists()


def test_it_is_not_started_in_several_processes(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("understudy.recipes.choose.compare.recipe.processes", lambda: SimpleNamespace(num_processes=2))
    line = ["--data", reviews, "--models", "tfidf", "static", "--output", tmp_path / "run"]
    assert main(words(*line)) == 2
    assert "Start it without accelerate launch or torchrun" in capsys.readouterr().err
