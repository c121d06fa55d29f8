"""``understudy glue``: one task, several, one after another; files, tables, kills and mistakes."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import scipy.special
import torch
import yaml
from glue_toys import write_glue
from safetensors.torch import load_file
from sklearn.metrics import matthews_corrcoef

import forked
import understudy
from understudy.cli import main
from understudy.data.glue.read import read_task
from understudy.errors import DataError
from understudy.folders.run import Run
from understudy.functional.temperature import fit_temperature
from understudy.models.students.apart import ApartClassifier
from understudy.recipes.ship.exportable import rows_of_run
from understudy.recipes.train.finetune import transformer
from understudy.recipes.train.glue import family
from understudy.recipes.train.glue.recipe import Glue
from understudy.record import RunRecord
from understudy.report.scores import shown_split
from understudy.report.tables.tasks import task_rows
from understudy.report.verdict import verdict
from understudy.runs import seeds
from understudy.runs.fitting.worth import Worth

pytestmark = pytest.mark.usefixtures("quick_throughout", "two_folds")

Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("GLUE"))


@pytest.fixture(scope="module")
def glue(root: Path, tiny_bert: Path) -> Words:
    """The words of a short run."""

    def words(output: Path, *more: object) -> list[str]:
        given = ["--data", root, "--model", tiny_bert, "--epochs", 1, "--batch_size", 8, "--max_length", 24]
        given += ["--learning_rate", "1e-3", "--no_baseline"]
        return [str(word) for word in ["glue", *given, "--output", output, *more]]

    return words


def record_of(folder: Path) -> RunRecord:
    return RunRecord.load(folder / "record.json")


def finite(value: Any) -> bool:
    """Whether no number in nested containers is NaN or infinite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def logistic_loss(run: Path, root: Path, name: str) -> float:
    """The mean cross-entropy of a run's model on a task's development rows."""
    rows = read_task(str(root), name).splits.validation
    logs = scipy.special.log_softmax(understudy.load(run).logits(rows.texts), axis=1)
    return float(-logs[range(len(rows)), rows.labels].mean())


@pytest.mark.parametrize(
    ("task", "names"), [("cola", ["eval_matthews_correlation"]), ("stsb", ["eval_pearson", "eval_spearmanr"])]
)
def test_correlations_are_called_as_glues_scripts_called_them(
    glue: Words, root: Path, tmp_path: Path, task: str, names: list[str]
) -> None:
    assert main(glue(tmp_path / "run", "--task", task)) == 0
    found = json.loads((tmp_path / "run" / "eval_results.json").read_text(encoding="utf-8"))
    scores = record_of(tmp_path / "run").model("model")["metrics"]["validation"]
    assert [found[name] for name in names] == list(scores.values())
    others = {"epoch", "eval_loss", "eval_samples", *(["eval_combined_score"] if len(names) > 1 else [])}
    assert found.keys() == {*names, *others}
    if task == "stsb":
        rows = read_task(str(root), task).splits.validation
        answers = understudy.load(tmp_path / "run").logits(rows.texts)[:, 0]
        assert found["eval_loss"] == pytest.approx(((answers - rows.labels) ** 2).mean(), rel=1e-5)
    lines = (tmp_path / "run" / f"eval_results_{task}.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split(" = ")[0] for line in lines} == {*names, *others} - {"epoch"}


def test_one_task_with_the_files_that_people_know(
    glue: Words, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(glue(tmp_path / "run", "--task", "MRPC", "--submit")) == 0
    record = record_of(tmp_path / "run")
    scores = record.model("model")["metrics"]["validation"]
    assert list(scores) == ["accuracy", "f1"]
    found = json.loads((tmp_path / "run" / "eval_results.json").read_text(encoding="utf-8"))
    assert found == {
        "epoch": 1.0,
        "eval_accuracy": scores["accuracy"],
        "eval_f1": scores["f1"],
        "eval_loss": pytest.approx(logistic_loss(tmp_path / "run", root, "mrpc")),
        "eval_combined_score": pytest.approx((scores["accuracy"] + scores["f1"]) / 2),
        "eval_samples": 16,
    }
    lines = (tmp_path / "run" / "eval_results_mrpc.txt").read_text(encoding="utf-8").splitlines()
    assert f"eval_f1 = {scores['f1']}" in lines
    answers = (tmp_path / "run" / "submission" / "MRPC.tsv").read_text(encoding="utf-8").splitlines()
    assert answers[0] == "index\tprediction"
    assert [line.split("\t")[0] for line in answers[1:]] == [str(i) for i in range(6)]
    assert {line.split("\t")[1] for line in answers[1:]} <= {"0", "1"}
    assert understudy.load(tmp_path / "run").task.metrics == ("accuracy", "f1")
    assert "paraphrases in the news; by accuracy and f1" in capsys.readouterr().err
    assert main(glue(tmp_path / "run", "--task", "mrpc", "--submit", "--overwrite")) == 0


@pytest.mark.parametrize("start", ["head", "probe"])
def test_it_is_what_finetune_does_on_the_same_rows(
    glue: Words, root: Path, tiny_bert: Path, tmp_path: Path, start: str
) -> None:
    given = ["--start", "probe"] if start == "probe" else []  # GLUE's heads begin at random
    assert main(glue(tmp_path / "glue", "--task", "rte", *given)) == 0
    assert ("start" in record_of(tmp_path / "glue").training["train"]) == (start == "probe")
    (tmp_path / "data").mkdir()
    for here, there in (("train", "train"), ("dev", "validation")):
        (tmp_path / "data" / f"{there}.tsv").write_bytes((root / "RTE" / f"{here}.tsv").read_bytes())
    words = glue(tmp_path / "finetune")
    words[0], words[words.index("--data") + 1] = "finetune", str(tmp_path / "data")
    given = ["--interpolate", "1"] if start == "probe" else []  # the end is kept, not a point half-way
    assert main([*words, "--start", start, "--pooling", "head", *given]) == 0
    training = record_of(tmp_path / "glue").training["train"]
    assert training.get("start", {}).get("share", 1.0) == 1.0
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("glue", "finetune"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_head_that_cannot_begin_as_a_probe_begins_at_random(
    glue: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those of causal models: no flag that glue does not have is asked back."""
    monkeypatch.setattr(transformer, "find_start", lambda *args, **more: None)
    assert main(glue(tmp_path / "run", "--task", "cola", "--start", "probe")) == 0
    assert "start" not in record_of(tmp_path / "run").training["train"]


def test_pairs_are_read_apart_where_that_probes_better_and_the_next_task_has_the_encoder(
    glue: Words, tmp_path: Path
) -> None:
    words = ["--tasks", "stsb", "cola", "--mode", "sequential", "--start", "probe", "--pooling", "auto"]
    assert main(glue(tmp_path / "run", *words)) == 0
    first, then = understudy.load(tmp_path / "run" / "1-stsb"), understudy.load(tmp_path / "run" / "2-cola")
    assert isinstance(first.model, ApartClassifier)
    assert not isinstance(then.model, ApartClassifier)
    notes = record_of(tmp_path / "run" / "2-cola").notes
    assert any(note.startswith("encoder:") and str(tmp_path / "run" / "1-stsb") in note for note in notes)
    assert main(glue(tmp_path / "apart", "--task", "rte", "--pooling", "apart")) == 0
    assert isinstance(understudy.load(tmp_path / "apart").model, ApartClassifier)


def test_a_task_is_judged_and_calibrated_as_in_finetune(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["glue", "--data", str(write_glue(tmp_path / "GLUE", dev=80)), "--task", "cola", "--epochs", "1"]
    words += ["--model", str(tiny_bert), "--max_length", "24"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    record = record_of(tmp_path / "run")
    assert record.training["train"]["learning_rate"] == 2e-5
    assert [model["name"] for model in record.models] == ["model", "probe", "tfidf"]
    pairs = {(entry["model"], entry["other"]): entry for entry in record.comparisons}
    compared = pairs["model", "tfidf"]
    scores = {name: record.model(name)["metrics"]["validation"]["matthews"] for name in ("model", "tfidf")}
    assert (compared["metric"], compared["split"], compared["rows"]) == ("matthews", "validation", 80)
    assert compared["difference"] == pytest.approx(scores["model"] - scores["tfidf"])
    found = verdict(record.as_dict())
    assert found is not None
    assert found.sentence in capsys.readouterr().out.replace("\n", " ")
    model = understudy.load(tmp_path / "run")
    rows = read_task(str(tmp_path / "GLUE"), "cola").splits.validation
    assert model.temperature == pytest.approx(fit_temperature(model.logits(rows.texts), rows.labels), rel=1e-4)
    assert "start" not in record.training["train"]  # the head began at random, as the papers' do
    assert main([*words, "--output", str(tmp_path / "run"), "--overwrite"]) == 0


def test_the_fields_settings_are_the_defaults(root: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Glue(data=str(root), task="rte", model=str(tiny_bert))
    assert (settings.epochs, settings.batch_size, settings.max_length) == (3, 32, 128)
    assert (
        main(
            ["glue", "--data", str(root), "--task", "rte", "--model", str(tiny_bert), "--max_length", "32", "--dry_run"]
        )
        == 0
    )
    assert "2e-05 at the peak" in capsys.readouterr().err


def test_all_tasks_make_glues_table(glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(glue(tmp_path / "run", "--task", "all", "--submit")) == 0
    record = record_of(tmp_path / "run")
    assert record.finished
    assert record.children == [f"{name}/record.json" for name in ("cola", "mrpc", "stsb", "rte")]
    scores = {model["name"]: model["metrics"]["validation"] for model in record.models}
    assert list(scores) == ["cola", "mrpc", "stsb", "rte", "average"]
    numbers = [sum(part.values()) / len(part) for name, part in scores.items() if name != "average"]
    assert scores["average"]["average"] == pytest.approx(sum(numbers) / 4)
    assert any("over 4 of GLUE's 8 tasks (sst2, qqp, mnli, qnli not among them)" in note for note in record.notes)
    assert any("no submission.zip, because SST-2.tsv, QQP.tsv" in note for note in record.notes)
    shown = capsys.readouterr().out
    assert "Scores on the development sets (times 100)" in shown
    assert "Pearson / Spearman" in shown
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "[stsb](stsb/README.md)" in card
    assert f"| average | – | – | {100 * scores['average']['average']:.1f} |" in card
    assert "Errors" not in card
    assert finite(record.as_dict())
    assert main(glue(tmp_path / "run", "--task", "all", "--submit", "--resume")) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["predict", "--model", str(tmp_path / "run")]) == 2
    assert "is a family of runs" in capsys.readouterr().err


def test_wnli_stands_beside_the_average() -> None:
    def record(score: float) -> RunRecord:
        scores = {"validation": {"accuracy": score}}
        return RunRecord(command="glue", config={}, models=[{"name": "model", "metrics": scores}])

    (entry,) = family._average({"rte": record(0.6), "wnli": record(0.2), "mine": record(0.1)})
    assert entry["metrics"]["validation"]["average"] == 0.6


def test_a_task_of_ones_own_counts_in_no_average_of_glue(
    glue: Words, reviews: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text(f"rte: {{data: {reviews}}}\nmood: {{data: {reviews}}}\n", encoding="utf-8")
    words = glue(tmp_path / "run", "--tasks_file", path, "--tasks", "rte", "mood")
    assert main(words) == 2
    assert f"{path}, task 'rte': {root} has a folder of GLUE's task of that name. Rename" in capsys.readouterr().err
    del words[words.index("--data") : words.index("--data") + 2]
    assert main(words) == 0
    assert [model["name"] for model in record_of(tmp_path / "run").models] == ["rte", "mood"]
    assert not any("GLUE's 8 tasks" in note for note in record_of(tmp_path / "run").notes)


def test_the_table_of_several_tasks_says_what_speaks_against_their_scores(tmp_path: Path) -> None:
    def record(*notes: str, **start: str) -> RunRecord:
        models = [{"name": "model", "metrics": {"validation": {"accuracy": 0.5}}}]
        training = {"train": {"start": start}}
        return RunRecord(command="glue", config={}, models=models, notes=list(notes), training=training)

    run = Run(tmp_path / "run", RunRecord(command="glue", config={}))
    children = {
        "1-sick": record(kept="probe"),
        "2-stsb": record(
            "validation: runs/1-sick learnt from 9 of these, so scores may be too good.", kept="fine-tuned"
        ),
    }
    family.sum_up(run, Glue(tasks=["sick", "stsb"], mode="sequential"), children, [])
    assert run.record.notes == [
        "2-stsb: validation: runs/1-sick learnt from 9 of these, so scores may be too good.",
        "1-sick: fine-tuning was no gain, so the model is the probe that it began with, on the encoder as it was: nothing of the task is in that encoder.",
    ]


def test_a_labelled_test_file_leads_the_report_of_a_task_by_itself_only(glue: Words, tmp_path: Path) -> None:
    """As docs/glue.md says: GLUE's files and tables of several tasks are of the development set."""
    data = write_glue(tmp_path / "GLUE")
    (data / "RTE" / "test.tsv").write_bytes((data / "RTE" / "train.tsv").read_bytes())
    words = glue(tmp_path / "run", "--tasks", "rte", "cola")
    words[words.index("--data") + 1] = str(data)
    assert main(words) == 0
    child, whole = record_of(tmp_path / "run" / "rte"), record_of(tmp_path / "run")
    assert list(child.model("model")["metrics"]) == ["validation", "test"]
    assert shown_split(child.as_dict()) == "test"
    found = json.loads((tmp_path / "run" / "rte" / "eval_results.json").read_text(encoding="utf-8"))
    assert (found["eval_samples"], shown_split(whole.as_dict())) == (16, "validation")
    assert list(whole.model("rte")["metrics"]) == ["validation"]


def write_mnli(root: Path) -> None:
    """MNLI with both halves of its development set, and the diagnostic set with labels."""
    labels = ("entailment", "neutral", "contradiction")
    rows = [f"film {i},book {i % 5},{labels[i % 3]}\n" for i in range(30)]
    for folder, names in (("mnli", ("train", "dev_matched", "dev_mismatched")), ("diagnostic", ("diagnostic",))):
        (root / folder).mkdir(parents=True)
        for name in names:
            some = "".join(rows[:10] if name == "dev_mismatched" else rows)
            (root / folder / f"{name}.csv").write_text(f"sentence1,sentence2,label\n{some}", encoding="utf-8")


def test_a_diagnostic_set_with_labels_is_scored_by_matthews(glue: Words, tmp_path: Path) -> None:
    write_mnli(tmp_path / "GLUE")
    words = glue(tmp_path / "run", "--task", "mnli")
    words[words.index("--data") + 1] = str(tmp_path / "GLUE")
    assert main(words) == 0
    scores = record_of(tmp_path / "run").model("model")["metrics"]
    assert {split: list(found) for split, found in scores.items()} == {
        "validation": ["accuracy"],
        "validation_mismatched": ["accuracy"],
        "diagnostic": ["matthews"],
    }
    predicted = understudy.load(tmp_path / "run").logits([(f"film {i}", f"book {i % 5}") for i in range(30)]).argmax(1)
    assert scores["diagnostic"]["matthews"] == pytest.approx(matthews_corrcoef([i % 3 for i in range(30)], predicted))


def test_both_halves_of_mnli_count_over_seeds_and_in_the_gains(
    glue: Words, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mnli(tmp_path / "GLUE")
    (tmp_path / "GLUE" / "RTE").symlink_to(root / "RTE")
    words = glue(tmp_path / "run", "--tasks", "rte", "mnli", "--mode", "transfer", "--seeds", 0, 1)
    words[words.index("--data") + 1] = str(tmp_path / "GLUE")
    assert main(words) == 0
    children = [record_of(tmp_path / "run" / f"seed-{seed}") for seed in (0, 1)]
    found = record_of(tmp_path / "run").aggregate["mnli"]
    for split, metric in (("validation", "accuracy"), ("validation_mismatched", "accuracy_mm")):
        values = [child.model("mnli")["metrics"][split]["accuracy"] for child in children]
        assert found[metric]["mean"] == pytest.approx(sum(values) / 2)
    assert found["score"]["mean"] == pytest.approx((found["accuracy"]["mean"] + found["accuracy_mm"]["mean"]) / 2)
    assert "accuracy m / accuracy mm" in " ".join(capsys.readouterr().out.split())
    for child in children:  # 30 rows in one half, 10 in the other
        after, direct = (child.model(name)["metrics"] for name in ("mnli after rte", "mnli"))
        right = [
            30 * one["validation"]["accuracy"] + 10 * one["validation_mismatched"]["accuracy"]
            for one in (after, direct)
        ]
        assert child.model("mnli after rte")["gain"]["value"] == pytest.approx((right[0] - right[1]) / 40)


def test_a_task_without_test_file_is_trained_all_the_same(
    glue: Words, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RTE", "CoLA"):
        shutil.copytree(root / name, tmp_path / "GLUE" / name)
    (tmp_path / "GLUE" / "RTE" / "test.tsv").unlink()
    words = glue(tmp_path / "run", "--task", "all", "--submit")
    words[words.index("--data") + 1] = str(tmp_path / "GLUE")
    assert main([*words, "--dry_run"]) == 0
    assert main(words) == 0
    assert "--submit: without a test file there is no SST-2.tsv" in " ".join(capsys.readouterr().err.split())
    assert [model["name"] for model in record_of(tmp_path / "run").models] == ["cola", "rte", "average"]
    assert (tmp_path / "run" / "cola" / "submission" / "CoLA.tsv").is_file()
    assert not (tmp_path / "run" / "rte" / "submission").exists()


def test_two_label_columns_of_a_folder_of_ones_own_are_said_with_what_names_one_here(
    glue: Words, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "GLUE" / "sick").mkdir(parents=True)
    (tmp_path / "GLUE" / "RTE").symlink_to(root / "RTE")
    rows = "".join(f"film {i},book {i},{'yes' if i % 2 else 'no'},{i % 5}\n" for i in range(20))
    for name in ("train", "dev"):
        path = tmp_path / "GLUE" / "sick" / f"{name}.csv"
        path.write_text(f"sentence1,sentence2,label,score\n{rows}", encoding="utf-8")
    words = glue(tmp_path / "run", "--tasks", "sick", "rte", "--mode", "sequential", "--dry_run")
    words[words.index("--data") + 1] = str(tmp_path / "GLUE")
    assert main(words) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "'label' is read as the label, not 'score'. Name what to read with 'label:'" in said
    assert "Such keys are those of a --tasks_file." in said


def test_seeds_of_one_task_and_of_several(glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(glue(tmp_path / "one", "--task", "rte", "--seeds", 0, 1)) == 0
    assert record_of(tmp_path / "one").aggregate["model"]["accuracy"]["n"] == 2
    assert main(glue(tmp_path / "two", "--tasks", "rte", "cola", "--seeds", 0, 1)) == 0
    record = record_of(tmp_path / "two")
    assert record.aggregate["average"]["average"]["n"] == 2
    assert record.aggregate["cola"]["matthews"]["n"] == 2
    assert record.aggregate["cola"]["score"] == record.aggregate["cola"]["matthews"]
    children = [record_of(tmp_path / "two" / f"seed-{seed}") for seed in (0, 1)]
    means = [child.model("average")["metrics"]["validation"]["average"] for child in children]
    assert record.aggregate["average"]["average"]["mean"] == pytest.approx(sum(means) / 2)
    (_, row, average) = task_rows(record.as_dict())
    spread = record.aggregate["average"]["average"]
    assert (row.name, row.metrics) == ("cola", "MCC")
    assert average.score == f"{100 * spread['mean']:.1f} ± {100 * spread['sd']:.1f}"
    shown = capsys.readouterr().out
    assert "(times 100; mean ± standard deviation; n = 2)" in " ".join(shown.split())
    assert "…" not in shown
    assert f"| average | – | – | {average.score} |" in (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert main(glue(tmp_path / "two", "--tasks", "rte", "cola", "--seeds", 0, 1, "--overwrite")) == 0


def killed(arguments: list[str], failpoint: str) -> int:
    """The exit code of a process that dies at a failpoint."""
    return forked.understudy(*arguments, failpoint=failpoint).returncode


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


FAMILY = ("--tasks", "mrpc", "rte", "--save_steps", 2)


@pytest.fixture(scope="module")
def whole(glue: Words, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The family of each mode to which nothing happened."""

    @cache
    def made(mode: str) -> Path:
        folder = tmp_path_factory.mktemp("whole") / mode
        assert main(glue(folder, *FAMILY, "--mode", mode)) == 0
        return folder

    return made


@pytest.mark.parametrize("failpoint", ["train.step:7", "family.child:2"])
@pytest.mark.parametrize("mode", ["single", "sequential", "transfer"])
def test_a_family_that_was_killed_ends_with_the_same_bits(
    glue: Words, whole: Callable[[str], Path], tmp_path: Path, failpoint: str, mode: str
) -> None:
    more = (*FAMILY, "--mode", mode)
    assert killed(glue(tmp_path / "before", *more), failpoint) not in (0, 1, 2)
    (tmp_path / "before").rename(tmp_path / "killed")
    assert main(glue(tmp_path / "killed", *more, "--resume")) == 0
    names = {"single": ["mrpc", "rte"], "sequential": ["1-mrpc", "2-rte", "direct"]}
    for name in names.get(mode, ["mrpc", "rte", "rte-after-mrpc", "mrpc-after-rte"]):
        assert weights(tmp_path / "killed" / name) == weights(whole(mode) / name)
    one, other = (record_of(folder) for folder in (whole(mode), tmp_path / "killed"))
    assert [model["metrics"] for model in one.models] == [model["metrics"] for model in other.models]


def test_a_task_that_fails_is_named_and_the_others_go_on(
    glue: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out = family.task_recipe

    def broken(recipe: Any, name: str, **changes: Any) -> Any:
        made = carry_out(recipe, name, **changes)
        return dataclasses.replace(made, learning_rate=1e30, clip=0.0) if name == "cola" else made

    monkeypatch.setattr(family, "task_recipe", broken)
    assert main(glue(tmp_path / "run", "--tasks", "cola", "rte")) == 2
    assert "cola: the loss is" in capsys.readouterr().err
    record = record_of(tmp_path / "run")
    assert not record.finished
    assert [model["name"] for model in record.models] == ["rte", "average"]


@pytest.mark.parametrize(("mode", "runs"), [("sequential", 4), ("transfer", 9)])
def test_a_time_budget_is_shared_by_all_runs_and_the_plan_counts_them(
    glue: Words,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    runs: int,
) -> None:
    words = ("--tasks", "cola", "rte", "stsb", "--mode", mode)
    assert main(glue(tmp_path / "run", *words, "--dry_run")) == 0
    assert f"3 tasks (cola rte stsb), {runs} runs: each" in capsys.readouterr().out
    budgets: list[str] = []

    def child(run: Any, name: str, recipe: Any) -> RunRecord:
        budgets.append(recipe.time_budget)
        raise DataError("no more.")

    for module in (family, seeds):
        monkeypatch.setattr(module, "run_child", child)
    assert main(glue(tmp_path / "run", *words, "--time_budget", f"{90 * runs}s")) == 2
    assert budgets[0] in ("90s", "89s")


def test_each_stage_carries_over_the_encoder_and_nothing_else(
    glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate of nearly 0 the second stage keeps what it begins with: all but the head is the first stage's, bit for bit."""
    words = glue(tmp_path / "run", "--tasks", "mrpc", "stsb", "--mode", "sequential")
    assert main(words) == 0
    record = record_of(tmp_path / "run")
    assert [model["name"] for model in record.models] == ["stsb after mrpc", "stsb directly", "stage 1-mrpc"]
    child = record_of(tmp_path / "run" / "2-stsb")
    (note,) = [note for note in child.notes if note.startswith("encoder:")]
    assert "carried over from" in note
    assert note.endswith("new: classifier.weight, classifier.bias.")
    first = load_file(tmp_path / "run" / "1-mrpc" / "model" / "model.safetensors")
    from understudy.models.files.classifiers import load_classifier

    torch.manual_seed(0)
    second = load_classifier(
        str(tmp_path / "run" / "1-mrpc"), understudy.load(tmp_path / "run" / "2-stsb").task, fresh_head=True
    )
    for key, value in second.state_dict().items():
        if key.startswith("classifier."):
            assert value.shape[0] == 1
        else:
            assert torch.equal(value, first[key]), key
    assert "stsb after mrpc" in capsys.readouterr().out


@pytest.mark.parametrize("how", [[], ["--pooling", "mean"], ["--pooling", "apart"], ["--start", "probe"]])
def test_a_stage_that_learns_nothing_keeps_what_it_was_given(
    glue: Words, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    """What :func:`run_stages` hands over, tensor by tensor: all but the head is the first stage's, however it reads."""
    made = family.task_recipe

    def later_at_rest(recipe: Any, name: str, **changes: Any) -> Any:
        return made(recipe, name, **changes, **({"learning_rate": 1e-30} if "encoder_from" in changes else {}))

    monkeypatch.setattr(family, "task_recipe", later_at_rest)
    monkeypatch.setattr(transformer, "worth", lambda *args, **more: Worth(1.0, 0.0, 0.0, "accuracy"))
    assert main(glue(tmp_path / "run", "--tasks", "mrpc", "stsb", "--mode", "sequential", *how)) == 0
    first, then = (
        load_file(tmp_path / "run" / stage / "model" / "model.safetensors") for stage in ("1-mrpc", "2-stsb")
    )
    untouched = load_file(tiny_bert / "model.safetensors")
    inside = [
        key for key in first if not key.startswith("classifier.") and not (how[:1] == ["--start"] and "pooler" in key)
    ]
    assert {key.partition(".")[0] for key in inside} == {"bert" if "--pooling" not in how else "encoder"}
    for key in inside:
        assert torch.equal(then[key], first[key]), key
    table = next(key for key in inside if key.endswith("word_embeddings.weight"))
    assert not torch.equal(first[table], next(value for key, value in untouched.items() if key.endswith(table[8:])))


def test_a_new_head_replaces_one_that_would_fit(glue: Words, root: Path, tmp_path: Path) -> None:
    """MRPC's labels are called as CoLA's: without --encoder_from the head would be kept."""
    from understudy.models.files.classifiers import load_classifier

    assert main(glue(tmp_path / "run", "--task", "mrpc")) == 0
    task = understudy.load(tmp_path / "run").task
    heads = []
    for fresh in (False, True):
        torch.manual_seed(3)
        heads.append(load_classifier(str(tmp_path / "run"), task, fresh_head=fresh).classifier.weight)
    kept = load_file(tmp_path / "run" / "model" / "model.safetensors")["classifier.weight"]
    assert torch.equal(heads[0], kept)
    assert not torch.equal(heads[1], kept)


def test_finetune_takes_an_encoder_by_hand(
    glue: Words, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(glue(tmp_path / "first", "--task", "cola")) == 0
    words = ["finetune", "--data", str(reviews), "--epochs", "1", "--max_length", "24", "--no_baseline"]
    assert main([*words, "--encoder_from", str(tmp_path / "first"), "--output", str(tmp_path / "second")]) == 0
    record = record_of(tmp_path / "second")
    assert any("carried over from" in note for note in record.notes)
    assert str(tmp_path / "first") in record.inputs
    assert "start" in record.training["train"]  # a new head begins as a probe of the other run's encoder
    few = ["--encoder_from", str(tmp_path / "first"), "--contrastive", "always", "--output", str(tmp_path / "few")]
    assert main([*words, *few]) == 0
    assert any("carried over from" in note for note in record_of(tmp_path / "few").notes)
    capsys.readouterr()
    assert main([*words, "--encoder_from", str(tmp_path / "first"), "--model", "a/b"]) == 2
    assert "--model and --encoder_from both say where to start" in capsys.readouterr().err
    assert main([*words, "--encoder_from", str(tmp_path / "first"), "--features", "frozen"]) == 2
    assert "--features frozen takes the encoder of --model" in capsys.readouterr().err


def test_the_encoder_of_a_run_that_reads_the_mean_is_probed_in_both_ways(glue: Words, tmp_path: Path) -> None:
    """How a run read its own rows says nothing of how pairs are to be read."""
    assert main(glue(tmp_path / "first", "--task", "cola", "--pooling", "mean", "--start", "probe")) == 0
    words = glue(tmp_path / "second", "--task", "rte", "--start", "probe", "--pooling", "auto")
    words[words.index("--model")] = "--encoder_from"
    words[words.index("--encoder_from") + 1] = str(tmp_path / "first")
    assert main(words) == 0
    record = record_of(tmp_path / "second")
    start = record.training["train"]["start"]
    assert "loss_of_joined_above_apart" in start
    apart = isinstance(understudy.load(tmp_path / "second").model, ApartClassifier)
    assert (start["pooling"] == "apart") == apart


def test_a_head_that_is_not_the_architecture_s_is_said(glue: Words, tmp_path: Path) -> None:
    assert main(glue(tmp_path / "first", "--task", "cola", "--pooling", "mean")) == 0
    words = glue(tmp_path / "second", "--task", "rte")
    words[words.index("--model")] = "--encoder_from"
    words[words.index("--encoder_from") + 1] = str(tmp_path / "first")
    assert main(words) == 0
    assert any("its head is that of" in note for note in record_of(tmp_path / "second").notes)


def test_a_new_head_for_scores_begins_with_their_mean(glue: Words, root: Path, tmp_path: Path) -> None:
    words = glue(tmp_path / "run", "--task", "stsb")
    words[words.index("1e-3")] = "1e-9"
    assert main(words) == 0
    scores = read_task(str(root), "stsb").splits.train.labels
    bias = understudy.load(tmp_path / "run").model.classifier.bias
    assert float(bias.detach()) == pytest.approx(float(scores.mean()), abs=1e-3)


def test_the_rows_of_a_run_are_found_again(glue: Words, tmp_path: Path) -> None:
    assert main(glue(tmp_path / "run", "--task", "rte")) == 0
    found = rows_of_run(str(tmp_path / "run"))
    assert found is not None
    assert found.task.labels == understudy.load(tmp_path / "run").task.labels


def test_constant_answers_are_said_and_reported_as_zero(glue: Words, tmp_path: Path) -> None:
    words = glue(tmp_path / "run", "--task", "cola", "--freeze", "all-but-head")
    words[words.index("1e-3")] = "1e-12"  # an untrained head on one encoder answers alike, or nearly so
    assert main(words) == 0
    record = record_of(tmp_path / "run")
    assert finite(record.as_dict())
    score = record.model("model")["metrics"]["validation"]["matthews"]
    noted = any("matthews on the validation split has no value" in note for note in record.notes)
    assert noted or score != 0.0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--task", "sst3"], "unknown task 'sst3'. Did you mean 'sst2'?"),
        ([], "no task: name one with --task"),
        (["--task", "rte", "--tasks", "cola"], "--task and --tasks both name tasks"),
        (["--tasks", "rte", "RTE"], "--tasks names rte more than once"),
        (["--tasks", "all", "rte"], "--tasks names all and others"),
        (["--task", "rte", "--mode", "sequential"], "--mode sequential needs several tasks"),
        (["--tasks", "rte", "cola", "--metric", "accuracy"], "--metric is of one task, and there are several"),
        (
            ["--tasks", "rte", "cola", "--mode", "sequential", "--submit"],
            "--submit answers for tasks that are trained singly",
        ),
        (["--task", "rte", "--metric", "matthews"], "metric must be one of accuracy for this task"),
        (["--task", "qqp"], "no folder for QQP"),
        (["--tasks", "qqp", "mnli"], "no folder for MNLI"),
        (["--task", "ax"], "'ax' is the diagnostic set"),
        (["--task", "rte", "--data", __file__], "is a file, but --data names a folder that holds a folder a task"),
        (
            ["--task", "rte", "--pooling", "auto"],
            "--pooling auto compares probes of the encoder. Give --start probe too",
        ),
        (
            ["--tasks", "rte", "cola", "--mode", "joint", "--pooling", "auto"],
            "--pooling auto compares probes of the encoder. Give --start probe too",
        ),
        (
            ["--tasks", "rte", "cola", "--mode", "sequential", "--pooling", "apart"],
            "reads the two texts of a pair by themselves, but a row of cola has one text.",
        ),
        (["--task", "rte", "--encoder_from", "nowhere/at/all"], "--model and --encoder_from both say where to start"),
    ],
)
def test_mistakes_are_said(
    glue: Words, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(glue(tmp_path / "run", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_validate_reads_every_task(glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *glue(tmp_path / "run", "--tasks", "rte", "stsb")]) == 0
    said = capsys.readouterr().out
    assert "stsb:" in said
    assert "understudy glue: no fault found." in said


def test_eleven_files_make_a_zip_and_what_would_be_refused_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from understudy.data.glue.submission import FILES, write_answers

    for i, file in enumerate(FILES):
        write_answers(tmp_path / "run" / f"task-{i}" / "submission", file, ["0"])
    run = Run(tmp_path / "run", RunRecord(command="glue", config={}))
    family._submission(run, [f"task-{i}" for i in range(len(FILES))])
    with zipfile.ZipFile(tmp_path / "run" / "submission.zip") as archive:
        assert sorted(archive.namelist()) == sorted(f"{file}.tsv" for file in FILES)
    assert any("MRPC.tsv: has 1 rows, but the test set has 1,725." in note for note in run.record.notes)
    assert "all eleven files, but the leaderboard would refuse them so" in capsys.readouterr().out
    monkeypatch.setattr(family, "submission_faults", lambda name: [])
    family._submission(run, [f"task-{i}" for i in range(len(FILES))])
    assert "all eleven files, for the leaderboard" in capsys.readouterr().out


def own_tasks(folder: Path, reviews: Path, root: Path) -> Path:
    """A file of two tasks of one's own: reviews by other names of columns, and pairs with a score."""
    (folder / "mine").mkdir()
    for split in ("train", "validation", "test"):
        text = (reviews / f"{split}.csv").read_text(encoding="utf-8").replace("text,label", "body,stars", 1)
        (folder / "mine" / f"{split}.csv").write_text(text, encoding="utf-8")
    content = {
        "mood": {"data": str(folder / "mine"), "text": ["body"], "label": "stars", "metrics": ["f1_macro", "accuracy"]},
        "alike": {"train": str(root / "STS-B" / "train.tsv"), "validation": str(root / "STS-B" / "dev.tsv")},
    }
    path = folder / "tasks.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", ["single", "joint", "sequential"])
def test_own_tasks_from_a_file(glue: Words, reviews: Path, root: Path, tmp_path: Path, mode: str) -> None:
    words = glue(tmp_path / "run", "--tasks_file", own_tasks(tmp_path, reviews, root), "--mode", mode)
    del words[words.index("--data") : words.index("--data") + 2]
    assert main(words) == 0
    record = record_of(tmp_path / "run")
    names = [model["name"] for model in record.models]
    first = {"single": "mood", "joint": "mood", "sequential": "stage 1-mood"}[mode]
    assert list(record.model(first)["metrics"]["validation"]) == ["f1_macro", "accuracy"]
    if mode == "joint":  # the error of the scores is no part of the average
        scores = [record.model(name)["metrics"]["validation"] for name in ("mood", "alike")]
        assert list(scores[1]) == ["pearson", "spearman", "mse"]
        card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
        assert f" / {scores[1]['mse']:.3f} |" in card
        assert "Errors (MSE) are shown as they are, and do not count in a task's score." in card
        counted = [sum(list(of.values())[:2]) / 2 for of in scores]
        assert record.model("average")["metrics"]["validation"]["average"] == pytest.approx(sum(counted) / 2)
    assert any(name.startswith("alike") for name in names)
    assert main([*words, "--overwrite"]) == 0


def test_own_tasks_stand_beside_glues(glue: Words, reviews: Path, root: Path, tmp_path: Path) -> None:
    more = ("--tasks", "mood", "rte", "--mode", "joint")
    assert main(glue(tmp_path / "run", "--tasks_file", own_tasks(tmp_path, reviews, root), *more)) == 0
    assert list(understudy.load(tmp_path / "run")) == ["mood", "rte"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("mood: {data: nowhere.csv, labell: x}", "unknown key 'labell' in"),
        ("mood: {text: body}", "task 'mood': has no data"),
        ("mood: reviews.csv", "task 'mood': must hold settings such as"),
        ("a/b: {data: x.csv}", "task 'a/b': a task's folder is called by its name"),
        ("mood: {data: x.csv, kind: many}", "kind must be"),
        ("- mood", "must hold 'name: value' lines"),
    ],
)
def test_mistakes_in_the_file_are_said(
    glue: Words, tmp_path: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks.yaml").write_text(content, encoding="utf-8")
    assert main(glue(tmp_path / "run", "--tasks_file", tmp_path / "tasks.yaml")) == 2
    assert said in capsys.readouterr().err


def test_a_metric_that_does_not_suit_is_refused(
    glue: Words, reviews: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_tasks(tmp_path, reviews, root)
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("f1_macro", "pearson"), encoding="utf-8")
    assert main(glue(tmp_path / "run", "--tasks_file", path, "--task", "mood")) == 2
    assert "metric 'pearson' does not suit this task" in capsys.readouterr().err
    path.write_text(f"{good}  metrics: [mse]\n", encoding="utf-8")
    more = ("--tasks", "alike", "rte", "--mode", "joint")
    assert main(glue(tmp_path / "run", "--tasks_file", path, *more)) == 2
    assert "task 'alike': mse cannot be averaged with the scores of other tasks" in capsys.readouterr().err
    path.write_text(good, encoding="utf-8")
    assert main(glue(tmp_path / "run", "--tasks_file", path, "--task", "moood")) == 2
    assert "unknown task 'moood'. Did you mean 'mood'?" in capsys.readouterr().err


def test_every_ordered_pair_shows_which_task_helps_which(
    glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = glue(tmp_path / "run", "--tasks", "rte", "stsb", "--mode", "transfer", "--limit_train", 24)
    assert main(words) == 0
    record = record_of(tmp_path / "run")
    assert [model["name"] for model in record.models] == ["rte", "stsb", "rte after stsb", "stsb after rte"]
    scores = {model["name"]: list(model["metrics"]["validation"].values()) for model in record.models}
    for task, after in (("rte", "stsb"), ("stsb", "rte")):
        gain = record.model(f"{task} after {after}")["gain"]
        one, other = (sum(scores[name]) / len(scores[name]) for name in (f"{task} after {after}", task))
        assert gain["value"] == pytest.approx(one - other, abs=1e-6)
        assert gain["interval"][0] <= gain["value"] + 1e-9 or gain["value"] == 0
    assert not any("different numbers of training rows" in note for note in record.notes)
    start = RunRecord.load(tmp_path / "run" / "rte-after-stsb" / "record.json").config
    assert (start["model"], start["encoder_from"]) == ("", str(tmp_path / "run" / "stsb"))
    assert (tmp_path / "run" / "plots" / "transfer.png").is_file()
    assert "Gain over direct training" in capsys.readouterr().out
    assert "plots/transfer.png" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert main([*words, "--overwrite"]) == 0


def test_unequal_numbers_of_rows_are_said_and_pairs_have_no_baselines(
    glue: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_glue(tmp_path / "GLUE")
    lines = (data / "RTE" / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "RTE" / "train.tsv").write_text("".join(lines[:21]), encoding="utf-8")
    words = glue(tmp_path / "run", "--tasks", "rte", "stsb", "--mode", "transfer", "--limit_train", 30)
    words[words.index("--data") + 1] = str(data)
    words.remove("--no_baseline")
    assert main(words) == 0
    assert (
        "the tasks have different numbers of training rows (rte 20, stsb 30), which may be what helps; --limit_train 20 makes them alike."
        in record_of(tmp_path / "run").notes
    )
    names = {
        name: [model["name"] for model in record_of(tmp_path / "run" / name).models]
        for name in ("rte", "rte-after-stsb")
    }
    assert "tfidf" in names["rte"]
    assert names["rte-after-stsb"] == ["model"]
