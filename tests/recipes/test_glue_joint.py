"""``understudy glue --mode joint``: one model for several tasks, its best weights, its folder, kills and mistakes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from glue_toys import write_glue
from safetensors.torch import load_file
from transformers import BertModel

import forked
import understudy
from understudy.cli import main
from understudy.data.glue.read import read_task
from understudy.errors import ConfigError
from understudy.functional.temperature import fit_temperature
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.multitask import load_tasks
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pooled import PooledClassifier
from understudy.recipes.train.glue.joint import work
from understudy.recipes.train.glue.joint.start import start_tasks
from understudy.record import RunRecord
from understudy.runs import plans
from understudy.runs.fitting.learning import learning_plan
from understudy.settings.train.glue import GlueSettings

pytestmark = pytest.mark.usefixtures("quick_throughout", "two_folds")

Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("GLUE"))


@pytest.fixture
def joint(root: Path, tiny_bert: Path) -> Words:
    """The words of a short run on three tasks."""

    def words(output: Path, *more: object) -> list[str]:
        given = ["--data", root, "--model", tiny_bert, "--epochs", 2, "--batch_size", 8, "--max_length", 24]
        given += ["--learning_rate", "1e-3", "--mode", "joint"]
        given += [] if "--tasks" in more else ["--tasks", "cola", "rte", "stsb"]
        return [str(word) for word in ["glue", *given, "--output", output, *more]]

    return words


def record_of(folder: Path) -> RunRecord:
    return RunRecord.load(folder / "record.json")


def test_one_model_for_all_and_one_for_each(
    joint: Words, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(joint(run, "--then", "finetune")) == 0
    shown = capsys.readouterr()
    assert "one for all" in shown.err
    assert "4 copies in main memory" in shown.err
    assert "each task by itself, each about as long again as training" in shown.err
    record = record_of(run)
    names = [model["name"] for model in record.models]
    ends = ("", ", at its own best", ", fine-tuned")
    assert names == [f"{name}{end}" for end in ends for name in ("cola", "rte", "stsb", "average")]
    scores = {name: record.model(name)["metrics"]["validation"] for name in names}
    for end in ends:
        numbers = [sum(s.values()) / len(s) for s in (scores[f"{task}{end}"] for task in ("cola", "rte", "stsb"))]
        assert scores[f"average{end}"]["average"] == pytest.approx(sum(numbers) / 3)
    # the best in common is the best average of all evaluations, and a task's own best is its best of all
    with open(run / "progress.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == "joint" and row["validation_average"]]
    assert len(rows) == 2
    assert scores["average"]["average"] == pytest.approx(max(float(row["validation_average"]) for row in rows))
    for task, metric in (("cola", "matthews"), ("rte", "accuracy"), ("stsb", "pearson")):
        best = max(float(row[f"validation_{task}/{metric}"]) for row in rows)
        assert scores[f"{task}, at its own best"][metric] == pytest.approx(best)

    model = understudy.load(run)
    assert list(model) == ["cola", "rte", "stsb"]
    assert model["cola"].predict(["the film is good"])[0].label in ("0", "1")
    assert understudy.load(run / "best-stsb").task.kind == "regression"
    assert understudy.load(run / "finetuned-rte").task.labels == ("entailment", "not_entailment")
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "| rte, fine-tuned | accuracy |" in card
    assert 'understudy.load("run")["cola"]' in card
    assert "Scores on the development sets" in shown.out

    (tmp_path / "texts.txt").write_text("the film is good\nthe book is bad\n", encoding="utf-8")
    words = ["predict", "--model", str(run), "--input", str(tmp_path / "texts.txt")]
    assert main([*words, "--task", "cola"]) == 0
    assert main(words) == 2
    assert main([*words, "--task", "colla"]) == 2
    assert main(["bench", "--models", str(run)]) == 2
    said = capsys.readouterr().err
    assert "was trained for several tasks (cola, rte, stsb)" in said
    assert "Did you mean 'cola'?" in said
    assert "is a model for several tasks (cola, rte, stsb). Measure the model of one" in said
    assert main(joint(run, "--then", "finetune", "--overwrite")) == 0  # all that is in the folder is the run's own


def test_each_task_has_the_temperature_that_suits_its_rows(tiny_bert: Path, tmp_path: Path) -> None:
    root = write_glue(tmp_path / "GLUE", dev=60)
    words = ["glue", "--data", root, "--model", tiny_bert, "--epochs", 1, "--max_length", 24, "--mode", "joint"]
    words += ["--learning_rate", "1e-2", "--tasks", "rte", "cola", "stsb", "--output", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    heads = understudy.load(tmp_path / "run")
    assert heads["stsb"].temperature == 1.0
    for name in ("rte", "cola"):
        rows = read_task(str(root), name).splits.validation
        for model in (heads[name], understudy.load(tmp_path / "run" / f"best-{name}")):
            wanted = fit_temperature(model.logits(rows.texts), rows.labels)
            assert model.temperature == pytest.approx(wanted, rel=1e-4)


def killed(arguments: list[str], failpoint: str) -> int:
    """The exit code of a process that dies at a failpoint."""
    return forked.understudy(*arguments, failpoint=failpoint).returncode


@pytest.fixture(scope="module")
def whole(root: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped, on two tasks, with annealed sampling and a training of each after it."""
    output = tmp_path_factory.mktemp("whole") / "run"
    assert main(_killable(root, tiny_bert, output)) == 0
    return output


def _killable(root: Path, tiny_bert: Path, output: Path) -> list[str]:
    words = ["glue", "--data", root, "--model", tiny_bert, "--epochs", 3, "--batch_size", 8, "--max_length", 24]
    words += ["--learning_rate", "1e-3", "--mode", "joint", "--tasks", "rte", "cola", "--then", "finetune"]
    words += ["--sampling", "annealed", "--save_steps", 2, "--eval_steps", 7, "--output", output]
    return [str(word) for word in words]


@pytest.mark.parametrize(
    "failpoint", ["joint.step:17", "checkpoint.written:9", "finetune rte.step:3", "finetune cola.step:2"]
)
def test_killed_and_resumed_it_ends_with_the_same_bits(
    whole: Path, root: Path, tiny_bert: Path, tmp_path: Path, failpoint: str
) -> None:
    words = _killable(root, tiny_bert, tmp_path / "run")
    assert killed(words, failpoint) not in (0, 1, 2)
    assert main([*words, "--resume"]) == 0
    for folder in ("model", "best-rte", "best-cola", "finetuned-rte", "finetuned-cola"):
        one, other = (load_file(run / folder / "model.safetensors") for run in (whole, tmp_path / "run"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), folder
    assert [m["metrics"] for m in record_of(whole).models] == [m["metrics"] for m in record_of(tmp_path / "run").models]


def test_soft_sharing_has_an_encoder_a_task(joint: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = joint(
        tmp_path / "run", "--tasks", "rte", "cola", "--sharing", "soft", "--soft_weight", "0.1", "--epochs", 1
    )
    assert main(words) == 0
    assert "2, one a task, held together with weight 0.1" in capsys.readouterr().err
    model = load_tasks(tmp_path / "run").model
    one, other = (model.task(name).bert.embeddings.word_embeddings.weight for name in ("rte", "cola"))
    assert not model.shared
    assert not torch.equal(one, other)
    with open(tmp_path / "run" / "progress.csv", encoding="utf-8") as file:
        assert "encoder_distance" in next(csv.reader(file))


def test_pairs_are_read_apart_on_the_encoder_that_reads_single_texts_too(
    joint: Words, root: Path, tmp_path: Path
) -> None:
    words = joint(tmp_path / "run", "--tasks", "rte", "cola", "--pooling", "apart", "--epochs", 1)
    assert main(words) == 0
    model = understudy.load(tmp_path / "run")
    assert isinstance(model["rte"].model, ApartClassifier)
    assert isinstance(model["cola"].model, PooledClassifier)
    assert model["rte"].model.encoder is model["cola"].model.encoder
    pair, text = ("a good film", "a bad one"), "a good film"
    alone = understudy.load(tmp_path / "run" / "best-rte").logits([pair])
    assert model["rte"].logits([pair]) == pytest.approx(alone, abs=1e-6)
    assert model["cola"].predict([text])[0].label in ("0", "1")
    task = read_task(str(root), "cola").splits.task
    lent = load_classifier(str(tmp_path / "run"), task)
    assert isinstance(lent, PooledClassifier)
    for key, value in lent.encoder.state_dict().items():
        assert torch.equal(value, model["rte"].model.encoder.state_dict()[key]), key
    settings = GlueSettings(
        data=str(root), tasks=["cola"], mode="joint", pooling="apart", model="", encoder_from=str(tmp_path / "run")
    )
    with pytest.raises(ConfigError, match="the two texts of a pair by themselves, but the rows of cola have one"):
        start_tasks(settings, [read_task(str(root), "cola")])


@pytest.mark.parametrize("sharing", ["hard", "soft"])
def test_heads_begin_as_probes_of_one_encoder(
    root: Path, tiny_bert: Path, sharing: Literal["hard", "soft"], tmp_path: Path
) -> None:
    names = ["cola", "rte"]
    settings = GlueSettings(
        data=str(root),
        tasks=names,
        mode="joint",
        start="probe",
        pooling="auto",
        sharing=sharing,
        max_length=24,
        model=str(tiny_bert),
    )
    start = start_tasks(settings, [read_task(str(root), name) for name in names])
    encoder = BertModel.from_pretrained(tiny_bert)
    for name in names:
        found = start.probes[name]
        model = start.model.task(name)
        assert isinstance(model, PooledClassifier | ApartClassifier)
        assert isinstance(model, ApartClassifier) == (found.read == "apart")
        for key, value in encoder.state_dict().items():  # the encoder is as it was
            if "pooler" not in key:
                assert torch.equal(value, model.encoder.state_dict()[key]), key
        assert torch.equal(model.classifier.weight, torch.from_numpy(found.probe.weight))
    assert (start.model.task("cola").encoder is start.model.task("rte").encoder) == (sharing == "hard")
    assert start.probes["rte"].joined is not None  # both ways were tried for the pairs
    assert start.probes["cola"].joined is None


def test_a_run_whose_heads_begin_as_probes(joint: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = joint(tmp_path / "run", "--tasks", "rte", "stsb", "--start", "probe", "--pooling", "auto", "--epochs", 1)
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "heads are linear probes, scored in cross-validation: rte of" in said
    found = record_of(tmp_path / "run").training["joint"]["start"]
    assert list(found) == ["rte", "stsb"]
    model = understudy.load(tmp_path / "run")
    for name, start in found.items():
        assert isinstance(model[name].model, ApartClassifier if start["pooling"] == "apart" else PooledClassifier)
        assert "loss_of_joined_above_apart" in start


def test_soft_sharing_starts_alike_where_the_checkpoint_has_no_pooler(
    root: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    load_tokenizer(str(tiny_bert)).save_pretrained(tmp_path / "bare")
    names = ["cola", "rte", "stsb"]
    settings = GlueSettings(
        data=str(root), tasks=names, mode="joint", sharing="soft", model="", encoder_from=str(tmp_path / "bare")
    )
    start = start_tasks(settings, [read_task(str(root), name) for name in names])
    assert [float(start.model.distance(name).detach()) for name in names] == pytest.approx([0.0] * 3, abs=1e-10)
    (note,) = start.notes
    assert note.endswith("new: bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight and 1 more.")


def test_a_time_budget_is_shared_by_the_trainings(
    joint: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float] = []
    train_phase = work.train_phase

    def watched(*args: Any, budget_s: float, **more: Any) -> Any:
        budgets.append(budget_s)
        return train_phase(*args, budget_s=budget_s, **more)

    monkeypatch.setattr(work, "train_phase", watched)
    more = ("--tasks", "rte", "cola", "--then", "finetune", "--epochs", 1, "--time_budget", "1h")
    assert main(joint(tmp_path / "run", *more)) == 0
    assert budgets == [pytest.approx(share * 3600, rel=0.03) for share in (0.5, 0.5, 1.0)]  # of what is left each time


@pytest.mark.parametrize("tasks", [("rte", "cola"), ("rte", "cola", "stsb")])
def test_the_plan_counts_the_best_weights_of_each_task(
    root: Path, tiny_bert: Path, tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    megabyte = 10**6
    monkeypatch.setattr(plans, "training_seconds", lambda *args, **more: 1.0)
    settings = GlueSettings(data=str(root), tasks=list(tasks), mode="joint", max_length=24, model=str(tiny_bert))
    found = work.Joint(settings, [read_task(str(root), name) for name in tasks])
    found.objective.ballast = torch.nn.Parameter(torch.zeros(megabyte // 4 * 10))
    found.plan = learning_plan(found.objective, settings, learning_rate=1e-3)
    size = sum(p.numel() * p.element_size() for p in found.objective.parameters()) / megabyte
    copies = 3 + 1 + len(tasks)  # weights and two moments; the best in common, and those of each task
    lines = found.plan_lines()
    assert lines["memory"].endswith(f"{copies * size:,.0f} MB of disk for a checkpoint")
    assert "then" not in lines


def test_seeds(joint: Words, tmp_path: Path) -> None:
    words = joint(
        tmp_path / "run", "--tasks", "rte", "cola", "--seeds", 0, 1, "--epochs", 1, "--task_weights", "1", "0.5"
    )
    assert main(words) == 0
    record = record_of(tmp_path / "run")
    assert record.aggregate["average"]["average"]["n"] == 2
    assert record.aggregate["rte, at its own best"]["accuracy"]["n"] == 2


def test_its_folder_teaches_and_lends_its_encoder(
    joint: Words, root: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(joint(tmp_path / "run", "--tasks", "cola", "rte", "--epochs", 1)) == 0
    (tmp_path / "data").mkdir()
    lines = [line.split("\t") for line in (root / "CoLA" / "train.tsv").read_text(encoding="utf-8").splitlines()]
    rows = "".join(f"{text},{label}\n" for _, label, _, text in lines)
    (tmp_path / "data" / "train.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    words = [
        "distill",
        "--data",
        str(tmp_path / "data"),
        "--teacher",
        str(tmp_path / "run"),
        "--epochs",
        "1",
        "--no_baseline",
    ]
    words += ["--bilstm.lstm", "8", "--bilstm.hidden", "8", "--max_length", "24"]
    assert main([*words, "--output", str(tmp_path / "student")]) == 0  # only cola has these labels for single texts
    said = "its head for cola teaches, because no other one has the data's labels; --task names another."
    assert any(said in note for note in record_of(tmp_path / "student").notes)
    assert main([*words, "--task", "rte", "--output", str(tmp_path / "other")]) == 2
    assert "task rte: was trained on pairs of texts, but the data's rows are single texts" in capsys.readouterr().err
    words = ["finetune", "--data", str(reviews), "--encoder_from", str(tmp_path / "run"), "--epochs", "1"]
    assert main([*words, "--max_length", "24", "--no_baseline", "--output", str(tmp_path / "next")]) == 0
    assert any("carried over from" in note for note in record_of(tmp_path / "next").notes)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tasks", "rte"], "--mode joint needs several tasks"),
        (["--freeze", "embeddings"], "--freeze: this is for the layers of one task's model"),
        (["--learning_rate", "auto"], "trains several tasks at once, and no sweep tries rates for them. Give a number"),
        (["--task_weights", "1", "2"], "task_weights must be one for each task: 3 tasks, but 2 weights"),
        (["--task_weights", "1", "2", "0"], "task_weights must be positive"),
        (["--soft_weight", "1"], "--soft_weight belongs to --sharing soft"),
        (["--sampling_temperature", "2"], "--sampling_temperature belongs to --sampling temperature"),
        (["--start", "probe"], "which all tasks share. Give --pooling auto, mean or apart too"),
        (
            ["--start", "probe", "--pooling", "auto", "--teachers", "a", "b", "c", "--student", "bilstm"],
            "--start probe is for an encoder of transformers, but --student is bilstm",
        ),
        (["--submit"], "--submit answers for tasks that are trained singly"),
        (["--mode", "single", "--then", "finetune"], "--then belongs to --mode joint, but the mode is single"),
    ],
)
def test_mistakes_are_said(
    joint: Words, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = joint(tmp_path / "run", *more)
    for flag in ("--mode", "--learning_rate"):  # the last one counts for people, but a flag stands once
        if flag in more:
            del words[words.index(flag) : words.index(flag) + 2]
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_a_model_without_an_encoder_of_its_own_is_refused(
    joint: Words, reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "distill",
        "--data",
        str(reviews),
        "--teacher",
        str(tmp_path / "teacher"),
        "--epochs",
        "1",
        "--no_baseline",
    ]
    teach = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    assert main([*teach, "--output", str(tmp_path / "teacher")]) == 0
    assert main([*words, "--student", "static", "--output", str(tmp_path / "student")]) == 0
    words = joint(tmp_path / "run", "--tasks", "cola", "cola2")
    words[words.index("--tasks") + 2] = "rte"
    words[words.index("--model") + 1] = str(tmp_path / "student")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "has no encoder apart from its head" in said or "was built for single texts" in said
