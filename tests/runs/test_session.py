"""What runs have in common: data that must stay the same, signals, the chosen metric, a baseline that cannot be fitted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from understudy import Distill
from understudy.cli import main
from understudy.data.readers.sources import load_splits
from understudy.errors import Interrupted
from understudy.inference.answering import Answering
from understudy.recipes.train.distill.recipe import Distill as DistillRecipe
from understudy.record import RunRecord
from understudy.runs import devices
from understudy.runs.devices import machine_faults, make_accelerator
from understudy.runs.session import Session
from understudy.settings.configuration import check
from understudy.settings.training import TrainSettings
from understudy.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("quick_throughout")


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


@pytest.fixture
def begun(
    rows: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str | Path]]:
    """Begins a run that dies in its third step; the words that resume it."""

    def begin(command: str, *given: str | Path) -> list[str | Path]:
        words = [command, "--data", rows, *given, "--epochs", "2", "--batch_size", "8", "--output", tmp_path / "run"]
        with monkeypatch.context() as patch:

            def die(path: Path) -> None:
                patch.setattr(RunRecord, "save", lambda self, path: None)  # the dead write no more
                raise Killed

            steps = Counter[str]()
            known = Trainer.step

            def step(self: Trainer, *arguments: object) -> None:
                steps["step"] += 1
                if steps["step"] == 3:
                    die(tmp_path)
                known(self, *arguments)  # type: ignore[arg-type]

            patch.setattr(Trainer, "step", step)
            with pytest.raises(Killed):
                run(*words)
        return [*words, "--resume"]

    return begin


class Killed(BaseException):
    """Nobody catches it."""


def test_a_run_goes_on_only_with_the_labels_and_the_model_it_was_begun_with(
    begun: Callable[..., list[str | Path]],
    rows: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "bert"
    shutil.copytree(tiny_bert, model)
    words = begun("finetune", "--model", model, "--no_baseline")
    kept = rows.read_text(encoding="utf-8")
    swapped = kept.replace(",yes", ",?").replace(",no", ",yes").replace(",?", ",no")
    named = kept.replace(",yes", ",yeah")
    for content, said in (
        (swapped, "was started on other data: train"),
        (named, "was started on another task: labels changed since"),
    ):
        rows.write_text(content, encoding="utf-8")
        capsys.readouterr()
        assert run(*words) == 2
        assert said in capsys.readouterr().err
    rows.write_text(kept, encoding="utf-8")
    for name in ("tokenizer.json", "model.safetensors"):
        content = (model / name).read_bytes()
        other = content.replace(b'"good"', b'"goof"') if name.endswith("json") else content[:-4] + b"\0\0\0\1"
        (model / name).write_bytes(other)
        assert run(*words) == 2
        assert f"was started on other files: {model} changed since" in capsys.readouterr().err
        (model / name).write_bytes(content)
    (model / "README.md").write_text("read by nobody", encoding="utf-8")
    assert run(*words) == 0
    assert run(*words) == 0  # finished, and still of these rows
    rows.write_text(swapped, encoding="utf-8")
    assert run(*words) == 2
    assert "was started on other data" in capsys.readouterr().err


def test_a_distillation_goes_on_only_with_its_teacher_its_answers_and_its_vectors(
    begun: Callable[..., list[str | Path]], rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("finetune", "--data", rows, "--model", "tfidf", "--output", tmp_path / "tfidf") == 0
    (tmp_path / "tfidf" / "model" / "checksums.json").unlink()  # a change that is meant
    answers = write(tmp_path / "answers.csv", [])
    answers.write_bytes(rows.read_bytes())
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("good 0.1 0.2\nbad 0.3 0.4\n", encoding="utf-8")
    student = ["--student", "static", "--static.embedding", "2", "--static.hidden", "0", "--embeddings", str(vectors)]
    words = begun("distill", "--teacher", tmp_path / "tfidf", answers, *student, "--no_baseline")
    weights = tmp_path / "tfidf" / "model" / "model.safetensors"
    for path in (weights, answers, vectors):
        content = path.read_bytes()
        path.write_bytes(content[:-4] + b"\0\0\0\0" if path == weights else content + content.splitlines()[-1] + b"\n")
        assert run(*words) == 2
        assert (
            f"was started on other files: {tmp_path / 'tfidf' if path == weights else path}" in capsys.readouterr().err
        )
        path.write_bytes(content)
    assert run(*words) == 0


def test_a_run_of_before_has_no_fingerprints_and_goes_on(
    begun: Callable[..., list[str | Path]], tiny_bert: Path, tmp_path: Path
) -> None:
    words = begun("finetune", "--model", tiny_bert, "--no_baseline")
    path = tmp_path / "run" / "record.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["inputs"]
    for part in old["data"].values():
        del part["labels"]
    path.write_text(json.dumps(old), encoding="utf-8")
    assert run(*words) == 0


def test_a_run_goes_on_with_the_threads_and_says_what_else_is_another(
    begun: Callable[..., list[str | Path]], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = begun("finetune", "--model", tiny_bert, "--no_baseline")
    path = tmp_path / "run" / "record.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    assert old["hardware"]["threads"] == torch.get_num_threads() == 1
    old["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(old), encoding="utf-8")
    torch.set_num_threads(2)
    try:
        assert run(*words) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert "uses 1 threads, as when it was begun, not 2" in capsys.readouterr().err
    record = RunRecord.load(path)
    assert record.hardware["threads"] == 1
    assert f"begun with torch 1.0, and gone on with {torch.__version__}" in record.notes[0].replace(
        record.versions["torch"], str(torch.__version__)
    )


def test_a_command_does_not_replace_what_it_reads(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher"
    fit = ["finetune", "--data", rows, "--model", "tfidf", "--output", teacher]
    assert run(*fit) == 0
    kept = {path: path.read_bytes() for path in teacher.rglob("*") if path.is_file()}
    distill = ["distill", "--data", rows, "--student", "static", "--overwrite"]
    predict = ["predict", "--model", teacher, "--overwrite"]
    texts = tmp_path / "texts.txt"
    texts.write_text("a good film\n", encoding="utf-8")
    for words, said in (
        ([*distill, "--teacher", teacher, "--output", teacher], "the command reads it"),
        ([*distill, "--teacher", teacher / "model", "--output", teacher], "holds"),
        ([*distill, "--teacher", teacher, "--output", teacher / "student"], "lies in"),
        ([*distill, "--teacher", teacher, "--seeds", "0", "1", "--output", teacher], "the command reads it"),
        ([*predict, "--input", texts, "--output", texts], "the command reads it"),
        ([*predict, "--input", texts, "--output", teacher / "record.json"], "lies in"),
    ):
        assert run(*words) == 2
        assert said in capsys.readouterr().err
    steps = tmp_path / "steps.yaml"
    later = {"command": "finetune", "data": str(rows), "model": "tfidf", "output": str(teacher)}
    first = {"command": "distill", "data": str(rows), "teacher": str(teacher), "output": str(tmp_path / "student")}
    steps.write_text(yaml.safe_dump_all([first, later]), encoding="utf-8")
    assert run("run", steps, "--overwrite") == 2
    assert "the command reads it" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in teacher.rglob("*") if path.is_file()} == kept
    assert texts.read_text(encoding="utf-8") == "a good film\n"
    assert run(*fit, "--overwrite") == 0


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
    assert [model["name"] for model in record.models] == ["model", "probe"]
    assert any("tfidf is left out: TF-IDF found no word" in note for note in record.notes)


def test_one_string_will_do_for_a_list_of_one(tmp_path: Path) -> None:
    answers = str(write(tmp_path / "answers.csv", [("mine", "a")]))
    recipe = Distill(data="rows.csv", teacher=answers, text="text")
    check(recipe)
    assert isinstance(recipe, DistillRecipe)
    assert recipe.teacher == [answers]
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


def test_bf16_is_refused_where_the_processor_does_not_multiply_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(precision="bf16")
    monkeypatch.setattr(devices, "computes_bf16", lambda: True)
    assert machine_faults(settings) == []
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    assert "it would take ten times as long as fp32. Give --precision auto." in machine_faults(settings)[0]
    assert machine_faults(replace(settings, precision="auto")) == []


@pytest.mark.parametrize("threads", ["1", None, True, 0, -1, 10**9, 2.5])
def test_threads_that_cannot_be_are_refused(
    threads: object,
    begun: Callable[..., list[str | Path]],
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = begun("finetune", "--model", tiny_bert, "--no_baseline")
    path = tmp_path / "run" / "record.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    old["hardware"]["threads"] = threads
    path.write_text(json.dumps(old), encoding="utf-8")
    assert run(*words) == 2
    assert "threads must be a number from 1 to" in capsys.readouterr().err
