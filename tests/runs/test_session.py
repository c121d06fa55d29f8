"""What runs have in common: data that must stay the same, signals, the chosen metric, a baseline that cannot be fitted."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from understudy import Distill
from understudy.cli import main
from understudy.data.readers.sources import load_splits
from understudy.errors import Interrupted
from understudy.inference.answering import Answering
from understudy.recipes.train.distill.recipe import Distill as DistillRecipe
from understudy.record import RunRecord
from understudy.runs.devices import make_accelerator
from understudy.runs.session import Session
from understudy.settings.configuration import check
from understudy.settings.training import TrainSettings


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    texts = [(f"a {'good' if i % 4 else 'bad'} film number {i}", "yes" if i % 4 else "no") for i in range(60)]
    return write(tmp_path / "rows.csv", texts)


def test_a_run_does_not_go_on_over_other_data(
    rows: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:3:SIGTERM")
    command = ["finetune", "--data", rows, "--model", tiny_bert, "--epochs", 2, "--batch_size", 8]
    command += ["--output", tmp_path / "run"]
    assert run(*command) == 128 + signal.SIGTERM
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    kept = rows.read_text(encoding="utf-8")
    rows.write_text(kept.replace("film", "song"), encoding="utf-8")
    capsys.readouterr()
    assert run(*command, "--resume") == 2
    assert "was started on other data: train, validation changed since" in capsys.readouterr().err
    rows.write_text(kept, encoding="utf-8")
    assert run(*command, "--resume") == 0


def test_rows_without_a_label_stay_when_labelled_ones_are_drawn(tmp_path: Path) -> None:
    data = write(
        tmp_path / "rows.csv",
        [*((f"labelled {i}", "ab"[i % 2]) for i in range(40)), *((f"unlabelled {i}", "") for i in range(60))],
    )
    for limit, labelled in ((20, 20), (1000, 40)):
        splits = load_splits(str(data), limit_train=limit, allow_unlabelled=True, pool_rest=True)
        found = int(splits.train.labelled.sum()) + len(splits.validation)
        assert found == labelled
        assert int((~splits.train.labelled).sum()) == 60
        assert (0 if splits.unlabeled is None else len(splits.unlabeled)) == 40 - labelled


class Slow(Answering):
    """Answers, and is told to stop after the first texts."""

    def __init__(self) -> None:
        self.answered = 0

    def logits(self, texts: object) -> np.ndarray:
        self.answered += len(texts)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        return np.zeros((len(texts), 2), np.float32)  # type: ignore[arg-type]


def test_a_signal_is_heeded_between_the_answers_of_an_evaluation() -> None:
    from understudy.data.texts import Texts
    from understudy.training.stop import Stop

    model = Slow()
    with Stop() as stop:
        session = Session(None, None, stop, None, None, None, ())  # type: ignore[arg-type]
        with pytest.raises(Interrupted):
            session.answers(model, Texts.of([str(i) for i in range(2000)]))
    assert 0 < model.answered < 2000


def test_the_metric_that_selects_heads_the_report_and_chooses_the_baseline(rows: Path, tmp_path: Path) -> None:
    command = ["finetune", "--data", rows, "--model", "tfidf", "--output", tmp_path / "run"]
    assert run(*command, "--metric", "average_precision") == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.task["metrics"][0] == "average_precision"
    assert set(record.task["metrics"]) > {"average_precision", "accuracy"}
    assert "average precision" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8").lower()


def test_a_baseline_that_finds_no_word_is_left_out_and_said(tiny_bert: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "signs.csv", [("!" * (1 + i % 7) + "?" * (i % 5), "ab"[i % 2]) for i in range(40)])
    command = ["finetune", "--data", data, "--model", tiny_bert, "--epochs", 1, "--output", tmp_path / "run"]
    assert run(*command) == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.finished
    assert [model["name"] for model in record.models] == ["model"]
    assert any("tfidf is left out: TF-IDF found no word" in note for note in record.notes)


def test_one_string_will_do_for_a_list_of_one() -> None:
    recipe = Distill(data="rows.csv", teacher="answers.csv", text="text")
    check(recipe)
    assert isinstance(recipe, DistillRecipe)
    assert recipe.teacher == ["answers.csv"]
    assert recipe.text == ["text"]


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = write(tmp_path / "train.csv", [("mine", "a")])
    before = precious.read_bytes()
    assert run("demo", "--output", tmp_path) == 2
    assert "the folder is not empty and holds no run" in capsys.readouterr().err
    (tmp_path / "record.json").write_text(json.dumps({"command": "finetune", "config": {}}), encoding="utf-8")
    assert run("demo", "--output", tmp_path) == 2
    assert precious.read_bytes() == before


def test_runs_of_one_process_may_differ_in_precision() -> None:
    for precision, known in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        assert make_accelerator(TrainSettings(precision=precision)).mixed_precision == known  # type: ignore[arg-type]
