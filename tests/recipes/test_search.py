"""``understudy search``: what is measured, what is trained on which rung, what is chosen, kills and bad input."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forked
import little
import understudy
from understudy.cli import main
from understudy.data.readers.sources import load_splits
from understudy.errors import ModelError
from understudy.evaluation import cost, halving
from understudy.evaluation.halving import promoted
from understudy.evaluation.quality import evaluate
from understudy.folders.contents import strangers
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.recipes.choose.search import trials
from understudy.recipes.choose.search.finishing import _fronts
from understudy.recipes.choose.search.trials import some_of, texts_of
from understudy.record import RunRecord
from understudy.runs.seeds import run_members

SMALLEST = ["tfidf", "static:8", "static:32+words:40", "bilstm:8"]
STUDENTS = [*SMALLEST, "bilstm:64", "layers:9"]
SMALL = ["--epochs", 3, "--max_length", 32, "--batch_size", 24, "--threads", 1]


def words(*given: object) -> list[str]:
    """A command line."""
    return ["search", *map(str, given)]


def here(run: Any, recipe: Any, members: Any, *, parallel: int, budget_s: float | None) -> Any:
    """Trials one after another in this process, which starts no other."""
    notes = run.record.notes
    found = run_members(run, recipe, members)
    run.record.notes = [*notes, *run.record.notes]
    return found


def by_size(predictor: Any, texts: Any, **options: Any) -> dict[str, Any]:
    """A machine on which a model takes a microsecond for every 100 bytes."""
    size = predictor.summary()
    p50 = size["size_bytes"] / 1e5
    return {**size, "texts_per_second": 1000.0, "latency_ms": {"p50": p50, "p99": 2 * p50}, "threads": 1}


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """No process for each trial, no plots, and a machine whose speed depends on nothing but size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.recipes.choose.search.family.run_apart", here)
        little.ask(patch)
        little.ask_for_two_folds(patch)
        patch.setattr(cost, "measure", by_size)
        patch.setattr(halving, "FEWEST", 30)
        yield patch


@pytest.fixture(scope="module")
def teacher(patched: pytest.MonkeyPatch, reviews: Path, tiny_bert: Path, tmp_path_factory: Any) -> Path:
    """A teacher of the toy reviews."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    given = ["--data", reviews, "--model", tiny_bert, "--epochs", 3, "--learning_rate", 3e-3, "--output", folder]
    assert main(["finetune", *map(str, given), "--no_baseline", "--start", "head", "--contrastive", "never"]) == 0
    return folder


@pytest.fixture(scope="module")
def line(reviews: Path, teacher: Path) -> list[object]:
    """A search over a few students, of which not all fit."""
    budget = ["--max_latency_ms", 1, "--max_size_mb", 0.06, "--min_share", 0.5]
    return ["--data", reviews, "--teacher", teacher, "--students", *STUDENTS, "--eta", 2, *budget, *SMALL]


@pytest.fixture(scope="module")
def searched(line: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    assert main(words(*line, "--output", folder)) == 0
    return folder


def test_only_what_fits_is_trained_and_the_best_of_each_rung_goes_on(searched: Path) -> None:
    record = RunRecord.load(searched / "record.json")
    findings = record.findings
    assert record.finished
    limits = {"latency_ms": 1.0, "size_bytes": 60_000.0}
    costs = {}
    for name, known in findings["measured"].items():  # what fits, worked out again
        shares = [max(found[key] / limits[key] for key in limits) for found in known["formats"].values()]
        if shares:
            costs[name] = min(shares)
    fits = {name for name, used in costs.items() if used <= 1}
    assert fits
    assert fits < set(STUDENTS)
    alive, rung = fits, 1
    sizes = [len(fits)]
    while sizes[-1] >= 2 and len(sizes) < 3:
        sizes.append(sizes[-1] // 2)
    for rung, size in enumerate(sizes, 1):
        ran = {path.name.removeprefix(f"rung-{rung}-") for path in searched.glob(f"rung-{rung}-*")}
        assert ran == {name.replace(":", "-") for name in alive}
        assert len(alive) == size
        scores = {
            name: RunRecord.load(searched / f"rung-{rung}-{name.replace(':', '-')}" / "record.json").models[0][
                "metrics"
            ]
            for name in alive
        }
        values = {name: metrics["validation"]["accuracy"] for name, metrics in scores.items()}
        assert all(list(metrics) == ["validation"] for metrics in scores.values())  # the test rows are left alone
        if rung < len(sizes):
            alive = set(promoted(values, costs, sizes[rung]))
    assert findings["chosen"]["name"] in alive
    rows = {row["name"]: row for row in findings["trials"]}
    assert list(rows) == sorted(rows, key=lambda name: (costs.get(name, float("inf")), name))
    assert rows["layers:9"]["state"] == "cannot be built"
    assert "4 layers" in rows["layers:9"]["why"] or "9" in rows["layers:9"]["why"]
    assert {name for name, row in rows.items() if row["state"] == "does not fit"} == set(costs) - fits


def test_what_left_before_the_last_rung_stands_as_the_pytorch_model_that_was_scored(searched: Path) -> None:
    findings = RunRecord.load(searched / "record.json").findings
    trained = [row for row in findings["trials"] if row.get("rung")]
    last = max(row["rung"] for row in trained)
    early = [row for row in trained if row["rung"] < last]
    assert early
    for row in early:
        costs = findings["measured"][row["name"]]["formats"]["pytorch"]
        assert row["format"] == "pytorch"
        assert (row["latency_ms"], row["size_bytes"]) == (costs["latency_ms"], costs["size_bytes"])
    for row in trained:  # the teacher's labelling and the scoring are not what a student costs to train
        record = RunRecord.load(searched / f"rung-{row['rung']}-{row['name'].replace(':', '-')}" / "record.json")
        name = "train" if row["name"] == "tfidf" else "student"
        timings = {key: value for key, value in record.timings.items() if key != f"{name}_s"}
        assert row["seconds"] == record.training.get(name, {}).get("seconds", record.timings.get("train_s"))
        assert row["seconds"] < sum(record.timings.values())
        assert timings


def test_a_student_whose_format_was_not_measured_is_on_no_front() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "score": 0.9, "format": "int8", "latency_ms": 1.0, "size_bytes": 10},
        {"name": "b", "score": 0.95, "format": "pytorch"},
        {"name": "c", "format": "onnx", "latency_ms": 0.1, "size_bytes": 5},
    ]
    assert _fronts(rows, "accuracy") == {"latency": ["a"], "size": ["a"]}


def test_the_folder_holds_the_chosen_model_as_it_is_scored(searched: Path, reviews: Path) -> None:
    record = RunRecord.load(searched / "record.json")
    splits = load_splits(str(reviews), seed=0)
    model = understudy.load(searched)
    chosen = record.findings["chosen"]
    assert isinstance(model, ExportedPredictor) == (chosen["format"] != "pytorch")
    assert splits.test is not None
    for split, rows in {"validation": splits.validation, "test": splits.test}.items():
        found = evaluate(model.logits(list(rows.texts)), rows.labels, splits.task)
        assert record.model("student")["metrics"][split]["accuracy"] == found.metrics["accuracy"]
    row = next(row for row in record.findings["trials"] if row["name"] == chosen["name"])
    assert row["score"] == record.model("student")["metrics"]["validation"]["accuracy"]
    teacher = record.model("teacher")["metrics"]["validation"]["accuracy"]
    assert row["share"] == pytest.approx(row["score"] / teacher)
    assert record.findings["teacher"]["metrics"]["accuracy"] == teacher
    assert model.summary()["size_bytes"] <= 60_000


def test_predict_reads_the_folder_and_the_card_shows_every_student(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("a good film\n", encoding="utf-8")
    assert main(["predict", "--model", str(searched), "--input", str(tmp_path / "texts.txt")]) == 0
    assert capsys.readouterr().out
    card = (searched / "README.md").read_text(encoding="utf-8")
    assert "Verdict: Ship " in card
    assert all(f"| {name} |" in card for name in STUDENTS)
    assert "cannot be built" in card


def test_its_page_says_which_student_to_ship_and_shows_them_all(searched: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(searched), "--output", str(page)]) == 0
    told, findings = page.read_text(encoding="utf-8"), RunRecord.load(searched / "record.json").findings
    assert f"Ship {findings['chosen']['name']} as " in told
    assert "There is no verdict" not in told
    for row in findings["trials"]:
        assert f">{row['name']}" in told, row["name"]


def test_a_finished_search_is_left_alone_and_a_trial_is_a_run_of_its_own(
    searched: Path, line: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(*line, "--output", searched, "--resume")) == 0
    assert "finished already" in capsys.readouterr().out
    assert strangers(searched) == []  # so that --overwrite replaces it
    trial = searched / "rung-1-static-8"
    assert main(words("--config", trial / "config.yaml", "--output", tmp_path / "again")) == 0
    weights = "model/model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (trial / weights).read_bytes()


def test_a_lower_rung_reads_some_of_the_texts_that_a_higher_one_reads(reviews: Path) -> None:
    splits = load_splits(str(reviews), unlabeled=str(reviews / "pool.txt"), seed=0)
    few, more = (some_of(splits, count, seed=3) for count in (90, 180))
    assert texts_of(splits) == 270
    for count, part in ((90, few), (180, more)):
        assert len(part.train) == 120 * count // 270
        assert part.unlabeled is not None
        assert len(part.unlabeled) == 150 * count // 270
        assert part.validation is splits.validation
        assert part.test is splits.test
    assert set(few.train.texts) < set(more.train.texts) < set(splits.train.texts)
    assert few.unlabeled is not None
    assert more.unlabeled is not None
    assert set(few.unlabeled) < set(more.unlabeled)
    labels = dict(zip(splits.train.texts, splits.train.labels, strict=True))
    assert all(labels[text] == label for text, label in zip(few.train.texts, few.train.labels, strict=True))
    assert set(some_of(splits, 90, seed=4).train.texts) != set(few.train.texts)
    assert some_of(splits, 270, seed=3) is splits


def stable(folder: Path) -> str:
    """What a search found, without what a clock measured."""
    record = RunRecord.load(folder / "record.json")
    trials = [{key: value for key, value in row.items() if key != "seconds"} for row in record.findings["trials"]]
    measured = {
        name: {key: value for key, value in known.items() if key != "seconds"}
        for name, known in record.findings["measured"].items()
    }
    scores = [(model["name"], model["metrics"], model["size_bytes"]) for model in record.models]
    return json.dumps([trials, measured, record.findings["chosen"], record.findings["front"], scores])


_KILLED = """
import sys
import torch
from understudy.cli import main
from understudy.evaluation import cost
from understudy.evaluation import halving
import understudy.recipes.choose.search.family as family
halving.FEWEST = 30
torch.set_num_threads(1)
sys.path.insert(0, sys.argv.pop(1))
import test_search
family.run_apart, cost.measure = test_search.here, test_search.by_size
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def small(line: list[object]) -> list[object]:
    """A search that takes little time."""
    first = line.index("--students") + 1
    return [*line[:first], *SMALLEST, *line[first + len(STUDENTS) :], "--formats", "pytorch", "int8"]


@pytest.fixture(scope="module")
def whole(small: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Undisturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(words(*small, "--output", folder)) == 0
    return folder


@pytest.mark.parametrize("where", ["family.child:5", "student.step:14", "label.batch:2"])
def test_a_search_that_is_killed_ends_with_the_same_table_and_measures_nothing_again(
    where: str, whole: Path, small: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    environment = {**os.environ, "UNDERSTUDY_FAILPOINT": where}
    line = words(*small, "--output", folder)
    killed = forked.run(_KILLED, Path(__file__).parent, *line, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not RunRecord.load(folder / "record.json").finished

    def never(*given: Any) -> Any:
        raise AssertionError("what was measured is on the record")

    monkeypatch.setattr("understudy.recipes.choose.search.looking.measure_all", never)
    assert main([*line, "--resume"]) == 0
    assert stable(folder) == stable(whole)
    chosen = {path.name: path.read_bytes() for path in (whole / "model").iterdir()}
    assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == chosen


def test_where_nothing_fits_the_nearest_miss_is_named_and_nothing_is_written(
    reviews: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", reviews, "--teacher", teacher, "--students", "static:8", "static:32", "bilstm:8"]
    assert main(words(*given, "--max_size_mb", 0.0001, *SMALL, "--output", tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert "--max_size_mb: none of 3 students fits 100 B. The nearest miss is bilstm:8 as pytorch" in said
    assert not (tmp_path / "run").exists()


def test_a_share_that_nobody_reaches_is_said_with_the_nearest_miss(
    reviews: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", reviews, "--teacher", teacher, "--students", "layers:1", "--max_size_mb", 1, "--min_share", 2]
    assert main(words(*given, "--formats", "pytorch", *SMALL, "--epochs", 1, "--output", tmp_path / "run")) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "No student that fits reaches 200 % of the teacher. The nearest miss is layers:1 as pytorch" in said


def test_a_dry_run_says_the_space_the_rungs_and_an_estimate_and_writes_nothing(
    line: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(*line, "--output", tmp_path / "run", "--dry_run")) == 0
    said = capsys.readouterr()
    plan, table = " ".join(said.err.split()), said.out
    assert "budget 1 ms, 60.0 kB and 50 % of the teacher" in plan
    assert "students 6, of which" in plan
    assert "rung 1 " in plan
    assert "one in 2 goes on" in plan
    assert "training at most about" in plan
    assert "does not fit" in table
    assert "cannot" in table
    assert not (tmp_path / "run").exists()


def test_a_trial_that_fails_is_said_and_the_others_go_on(
    small: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trials.put_score

    def bad(session: Any, model: Any, splits: Any) -> None:
        if session.run.folder.name == "rung-1-static-8":
            raise ModelError("out of memory.")
        whole(session, model, splits)

    monkeypatch.setattr(trials, "put_score", bad)
    assert main(words(*small, "--output", tmp_path / "run")) == 2
    assert "rung-1-static-8: out of memory." in capsys.readouterr().err
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert not record.finished
    assert {row["name"]: row["state"] for row in record.findings["trials"]}["static:8"] == "failed"
    assert record.findings["chosen"]["name"] != "static:8"
    assert understudy.load(tmp_path / "run").predict(["a good film"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no budget: say what the model may cost"),
        (["--max_latency_ms", 0], "max_latency_ms must be greater than 0"),
        (["--max_size_mb", 1, "--students", "statik:8"], "but is 'statik:8'. Did you mean 'static'?"),
        (["--max_size_mb", 1, "--students", "static:x"], "but is 'static:x'"),
        (["--max_size_mb", 1, "--students", "tfidf:3"], "but is 'tfidf:3'"),
        (["--max_size_mb", 1, "--students", "layers"], "must say how many of the teacher's layers it keeps"),
        (["--max_size_mb", 1, "--students", "layers:2+bpe:100"], "reads with the teacher's tokenizer"),
        (["--max_size_mb", 1, "--students", "static:8+bpe:x"], "static:8+bpe:x: tokenizer 'bpe:x' is neither"),
        (["--max_size_mb", 1, "--students", "tfidf", "tfidf"], "names tfidf more than once"),
        (["--max_size_mb", 1, "--formats", "onnx", "onnx"], "--formats names onnx more than once"),
        (["--max_size_mb", 1, "--formats", "int4"], "'int4'"),
        (["--max_size_mb", 1, "--rung", 2], "with one entry in --students"),
        (["--max_size_mb", 1, "--unfreeze", "gradual"], "--unfreeze: this suits one kind of student"),
        (["--max_size_mb", 1, "--teacher", "answers.jsonl"], "is a file of outputs"),
        (["--max_size_mb", 1, "--metric", "acuracy"], "Did you mean 'accuracy'?"),
    ],
)
def test_bad_input_is_said(
    given: list[object], said: str, reviews: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", reviews, "--teacher", teacher, "--output", tmp_path / "run", *given]
    assert main(words(*line)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_bits_of_the_measured_student_are_those_of_the_trained_shape(searched: Path) -> None:
    findings = RunRecord.load(searched / "record.json").findings
    trained = {row["name"]: row["rung"] for row in findings["trials"] if row.get("rung")}
    for name, rung in trained.items():
        if rung < max(trained.values()) and ("+" in name or name == "tfidf"):
            continue  # its vocabulary is that of the texts of the rung
        entry = RunRecord.load(searched / f"rung-{rung}-{name.replace(':', '-')}" / "record.json").models[0]
        measured = findings["measured"][name]["formats"]["pytorch"]["size_bytes"]
        assert np.isclose(entry["size_bytes"], measured, rtol=0.01)
