"""``understudy distill-lm`` from one end to the other, at toy size."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM, AutoTokenizer

import forked
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.models.files.classifiers import load_classifier
from understudy.models.shrink.albert import albert
from understudy.recipes.train.distill_lm.recipe import DistillLM
from understudy.recipes.train.distill_lm.work import LanguageDistillation
from understudy.record import RunRecord
from understudy.runs.fitting import rate_sweep as lr_finding
from understudy.settings.configuration import build
from understudy.training import stop, trainer
from understudy.training.lr_finder.curve import Curve

WEIGHTS = Path("model") / "model.safetensors"
TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))


pytestmark = pytest.mark.usefixtures("quick_throughout", "two_folds")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts in which every adjective has a noun of its own, so that there is something to learn."""
    folder = tmp_path_factory.mktemp("corpus")
    pairs = [("good", "film"), ("bad", "book"), ("fine", "song"), ("sad", "play")]
    for seed, (name, count) in enumerate({"train": 64, "valid": 24, "test": 16}.items()):
        rng = random.Random(seed)
        texts = (
            " ".join(w for _ in range(rng.randint(1, 4)) for w in ("the", *rng.choice(pairs))) for _ in range(count)
        )
        (folder / f"{name}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def teacher(tiny_bert: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model of four layers of 32 that has learnt the texts."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    flags = ["--learning_rate", "0.01", "--epochs", "6", "--batch_size", "8"]
    assert main(["pretrain", "--data", str(corpus), "--model", str(tiny_bert), "--output", str(folder), *flags]) == 0
    return folder


def command(corpus: Path, teacher: Path, output: Path, *flags: object) -> list[str]:
    given = {"data": corpus, "teacher": teacher, "output": output, "batch_size": 16, "epochs": 1}
    return [
        "distill-lm",
        *(str(part) for name, value in given.items() for part in (f"--{name}", value)),
        *map(str, flags),
    ]


def run(*arguments: Any) -> RunRecord:
    assert main(command(*arguments)) == 0
    return RunRecord.load(arguments[2] / "record.json")


EVERYTHING = ["--hidden_weight", "1", "--attention_weight", "0.1", "--relation_weight", "1"]


@pytest.fixture(scope="module")
def distilled(corpus: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "student"
    run(corpus, teacher, folder, "--student", "layers:2", "--epochs", 6, "--learning_rate", 3e-3, *EVERYTHING)
    return folder


def test_the_record_has_both_side_by_side(distilled: Path) -> None:
    record = RunRecord.load(distilled / "record.json")
    assert record.command == "distill-lm"
    assert record.finished
    assert [model["name"] for model in record.models] == ["student", "student before training", "teacher"]
    student, start, teacher = record.models
    for part in ("validation", "test"):
        assert start["metrics"][part]["loss"] > student["metrics"][part]["loss"]
    assert start["parameters"] == student["parameters"] < teacher["parameters"]
    assert student["size_bytes"] < teacher["size_bytes"]
    assert (teacher["trainable_parameters"], student["trainable_parameters"]) == (0, student["parameters"])
    for model in (student, teacher):
        assert {"texts_per_second", "latency_ms", "embedding_parameters"} <= set(model)
        for part in ("validation", "test"):
            assert set(model["metrics"][part]) == {"loss", "perplexity", "accuracy"}
    assert student["metrics"]["validation"]["accuracy"] > 0.4  # 27 words to choose from
    assert record.training["student"]["metrics"]["loss"] == student["metrics"]["validation"]["loss"]
    assert record.data["train"]["rows"] == 64
    assert (
        record.teacher_forward_texts == 6 * 64
    )  # other masks in each epoch: what it made of one is no use in the next


def progress(run: Path) -> list[dict[str, str]]:
    """The rows that report on training."""
    with open(run / "progress.csv", newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["loss"]]


def mean(rows: list[dict[str, str]], term: str, epoch: str) -> float:
    """Of a term over the reports of an epoch."""
    return fmean(float(row[term]) for row in rows if row["epoch"] == epoch)


def test_every_term_has_a_column_and_falls(distilled: Path) -> None:
    rows = progress(distilled)
    assert all(
        float(row["masked_lm"]) > 0 for row in rows
    )  # it may rise: the student starts from what its teacher knows
    for term in ("soft_targets", "cosine", "hidden", "attention", "relation"):
        assert mean(rows, term, rows[-1]["epoch"]) < mean(rows, term, "1"), term


def test_the_student_is_plain_and_goes_on_to_tasks(distilled: Path, teacher: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(distilled / "model")
    assert type(model) is transformers.BertForMaskedLM
    assert model.config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(distilled / "model").mask_token == "[MASK]"
    classifier = load_classifier(str(distilled), TASK)
    assert torch.equal(classifier.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_config_yaml_runs_the_same_again(distilled: Path, tmp_path: Path) -> None:
    assert main(["distill-lm", "--config", str(distilled / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (distilled / WEIGHTS).read_bytes()


class Killed(BaseException):
    """Nobody catches it."""


def test_killed_and_resumed_it_ends_with_the_same_bits(
    corpus: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, a learned projection, packed rows and micro-batches: everything that has a memory."""
    flags = ["--student", "layers:2", "--layers.hidden", "16", "--blocks", "pack"]
    flags += ["--batch_size", "4", "--max_length", "16", "--max_tokens", "32", "--epochs", "2", "--save_steps", "2"]
    flags += [*EVERYTHING[:2], *EVERYTHING[4:]]
    run(corpus, teacher, tmp_path / "whole", *flags)
    step, calls = trainer.Trainer.step, []

    def dying(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) in (4, 7):  # the checkpoint is a step old; then it dies again after it has gone on
            raise Killed
        step(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "step", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            main(command(corpus, teacher, tmp_path / "killed", *flags, "--resume"))
    state = torch.load(tmp_path / "killed" / "checkpoints" / "student.pt", weights_only=True)
    assert "projection.weight" in state["model"]
    record = run(corpus, teacher, tmp_path / "killed", *flags, "--resume")
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    expected = RunRecord.load(tmp_path / "whole" / "record.json")
    assert [model["metrics"] for model in record.models] == [model["metrics"] for model in expected.models]
    assert record.notes == expected.notes
    assert record.teacher_forward_texts == expected.teacher_forward_texts


ALONE = "student without teacher"


def test_the_baseline_is_the_same_student_on_masked_words_alone(
    corpus: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--student", "layers:2", "--learning_rate", 3e-3, "--epochs", 2]
    beside = run(corpus, teacher, tmp_path / "beside", *flags, "--baseline")
    assert [model["name"] for model in beside.models] == ["student", ALONE, "student before training", "teacher"]
    assert beside.training[ALONE]["steps"] == beside.training["student"]["steps"] == 8
    _, alone, start, _ = beside.models
    words = ["--ce_weight", 0, "--cosine_weight", 0, "--mlm_weight", 1]
    expected = run(corpus, teacher, tmp_path / "words", *flags, *words).models
    for part in ("validation", "test"):
        assert alone["metrics"][part] == pytest.approx(expected[0]["metrics"][part], rel=1e-5)
    assert start["metrics"] == expected[1]["metrics"]
    plain = run(corpus, teacher, tmp_path / "plain", *flags)
    assert plain.models[0]["metrics"] == beside.models[0]["metrics"]

    step, calls = trainer.Trainer.step, []

    def dying(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 11:
            raise Killed
        step(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "step", dying)
    with pytest.raises(Killed):
        main(command(corpus, teacher, tmp_path / "killed", *flags, "--baseline", "--save_steps", 2))
    resumed = run(corpus, teacher, tmp_path / "killed", *flags, "--baseline", "--save_steps", 2, "--resume")
    assert len(calls) == 8 + 3 + 6  # those of the student are not done again
    assert [model["metrics"] for model in resumed.models] == [model["metrics"] for model in beside.models]


DRAWN = ["--teacher_words", "8", "--cosine_weight", "0", "--mask_rounds", "2", "--epochs", "5"]


def test_a_teacher_that_draws_reads_each_text_once_for_every_round_of_masks(
    corpus: Path, teacher: Path, tmp_path: Path
) -> None:
    record = run(corpus, teacher, tmp_path / "first", "--student", "layers:2", *DRAWN, "--learning_rate", 3e-3)
    assert record.teacher_forward_texts == 2 * 64
    student = record.models[0]
    assert student["metrics"]["validation"]["accuracy"] > 0.4
    rows = progress(tmp_path / "first")
    assert mean(rows, "soft_targets", "5") < mean(rows, "soft_targets", "1")
    assert not (tmp_path / "first" / "teacher_words").exists()
    another = run(corpus, teacher, tmp_path / "second", "--student", "layers:1", *DRAWN)
    assert another.teacher_forward_texts == 0  # other students of the same texts and masks find what is there


@pytest.fixture(scope="module")
def drawn(corpus: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a cache of its own that nothing stopped."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(folder / "cache"))
        run(corpus, teacher, folder / "run", "--student", "layers:2", *DRAWN, "--max_tokens", "64")
    return folder / "run"


@pytest.mark.parametrize("stop", ["draw.batch:14", "draw.batch:14:SIGTERM", "draw.kept:2"])
def test_stopped_while_the_teacher_draws_it_ends_with_the_same_bits(
    stop: str, drawn: Path, corpus: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second round, of which there are some texts already; or with all of them, before the run knows it."""
    flags = ["--student", "layers:2", *DRAWN, "--max_tokens", "64"]
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    killed = command(corpus, teacher, tmp_path / "killed", *flags)
    died = forked.understudy(*killed, failpoint=stop)
    assert died.returncode == (143 if "SIGTERM" in stop else -9)
    record = run(corpus, teacher, tmp_path / "killed", *flags, "--resume")
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (drawn / WEIGHTS).read_bytes()
    assert record.teacher_forward_texts == 2 * 64
    assert not (tmp_path / "killed" / "teacher_words").exists()


def test_a_time_budget_that_ends_before_the_teacher_is_done_says_how_to_go_on(
    corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    flags = [*DRAWN, "--student", "layers:2", "--max_tokens", "64"]
    with monkeypatch.context() as patch:
        asked = []
        patch.setattr(stop.Stop, "out_of_time", lambda self, share_left=0.0: bool(asked.append(1)) or len(asked) > 3)
        assert main(command(corpus, teacher, tmp_path / "run", *flags, "--time_budget", "9s")) == 2
    error = capsys.readouterr().err
    assert "of 128 texts; they are kept" in error
    assert " 0 of 128" not in error
    assert f"longer --time_budget. Go on with the same command, --output {tmp_path / 'run'} and --resume." in error
    assert run(corpus, teacher, tmp_path / "run", *flags, "--resume").teacher_forward_texts == 2 * 64


def test_a_sweep_takes_more_epochs_than_were_drawn_for(corpus: Path, teacher: Path, tmp_path: Path) -> None:
    flags = ["--student", "layers:2", *DRAWN[:4], "--epochs", "2", "--learning_rate", "auto"]
    assert "sweep" in run(corpus, teacher, tmp_path / "run", *flags).training["student"]


def test_the_plan_says_what_is_drawn(
    corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(corpus, teacher, tmp_path / "run", "--student", "layers:2", *DRAWN, "--dry_run")) == 0
    said = capsys.readouterr().err
    assert "8 words for each masked token, 2 times; about" in said
    assert "a teacher that reads in every epoch" in said


@pytest.mark.parametrize(("flags", "times"), [([], 3), (["--mask_rounds", "2"], 2)])
def test_the_teacher_draws_for_the_epochs_of_all_stages(
    flags: list[str], times: int, corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ["--unfreeze", "1", "all", "--unfreeze_epochs", "1", "2", "--epochs", "9"]
    flags = [*DRAWN[:4], *stages, *flags, "--student", "layers:2", "--dry_run"]
    assert main(command(corpus, teacher, tmp_path / "run", *flags)) == 0
    assert f"8 words for each masked token, {times} times; about" in capsys.readouterr().err


def prepared(corpus: Path, teacher: Path, **settings: Any) -> LanguageDistillation:
    """All that a run has before its training."""
    recipe = build(DistillLM, {"data": str(corpus), "teacher": str(teacher), **settings})
    return recipe.prepare(recipe.read())


TINYBERT = {"ce_weight": 0, "mlm_weight": 0, "cosine_weight": 0, "hidden_weight": 1, "attention_weight": 1}


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"student": "layers", "layers": {"keep": [1, 3]}, "ce_positions": "all", "temperature": 3.0}, ("bert", 2, 32)),
        ({"student": "layers:3", "layers": {"hidden": 16, "start": "svd"}, "relation_weight": 1}, ("bert", 3, 16)),
        ({"student": "layers:1", "layers": {"start": "random"}, "blocks": "pack"}, ("bert", 1, 32)),
        ({"student": "albert", "albert": {"embedding": 8, "hidden": 16}, "attention_weight": 1}, ("albert", 4, 16)),
        ({"student": "albert", "albert": {"embedding": 8, "share": "none", "layers": 2}}, ("albert", 2, 32)),
        ({"student": "layers:1", "relation_weight": 1, "relation_heads": 2, "relation_layer": 1}, ("bert", 1, 32)),
        ({"student": "layers:2", "layers": {"hidden": 16}, **TINYBERT}, ("bert", 2, 16)),
    ],
)
def test_students_and_options(
    settings: dict[str, Any], shape: tuple[str, int, int], corpus: Path, teacher: Path
) -> None:
    work = prepared(corpus, teacher, **settings)
    config = work.model.config
    assert (config.model_type, config.num_hidden_layers, config.hidden_size) == shape
    (batch, *_) = next(iter(work.batches.windows(0)))
    terms = work.objective(batch.to("cpu"))
    sum(term.weight * term.sum for term in terms).backward()
    taught = [p for name, p in work.model.named_parameters() if settings.get("ce_weight") != 0 or "bert." in name]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in taught)
    assert all(p.grad is None for p in work.teacher.parameters())
    assert [term.name for term in terms] == [name for name, weight in work.settings.weights().items() if weight]
    assert work.objective.everywhere == ("ce_positions" in settings)
    assert work.objective.temperature == settings.get("temperature", 2.0)
    if "relation_layer" in settings:
        assert (work.objective.relation, work.objective.relation_heads) == ((0, 1), 2)


def test_an_albert_starts_from_what_the_training_texts_have(
    corpus: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"student": "albert", "albert": {"embedding": 8}, "max_length": 12}
    work = prepared(corpus, teacher, **settings)
    texts = [
        torch.tensor(work.tokenizer(text, truncation=True, max_length=12)["input_ids"]) for (text,) in work.corpus.train
    ]
    expected = albert(work.teacher, embedding=8, texts=texts)
    assert torch.equal(work.model.get_input_embeddings().weight, expected.get_input_embeddings().weight)
    monkeypatch.setattr("understudy.recipes.train.distill_lm.work._SOME_TEXTS", 3)
    count = len(texts)
    few = albert(work.teacher, embedding=8, texts=[texts[0], texts[(count - 1) // 2], texts[-1]])
    again = prepared(corpus, teacher, **settings)
    assert torch.equal(again.model.get_input_embeddings().weight, few.get_input_embeddings().weight)
    assert not torch.equal(few.get_input_embeddings().weight, expected.get_input_embeddings().weight)


def test_a_teacher_that_counts_positions_otherwise_shares_its_blocks(
    corpus: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """RoBERTa's begin behind the padding id, its ALBERT student's at 0."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.RobertaConfig(vocab_size=len(tokenizer), pad_token_id=0, max_position_embeddings=40, **sizes)
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    work = prepared(corpus, tmp_path, student="albert", albert={"embedding": 8}, blocks="pack", max_length=32)
    assert work.texts.rows == "blocks"
    assert not any("--blocks pack" in note for note in work.notes)


@pytest.mark.parametrize(
    ("student", "cap"),
    [
        (["layers:1"], 5e-4),
        (["layers:1", "--layers.start", "random"], None),
        (["albert", "--albert.embedding", "8", "--albert.start", "random"], None),
    ],
)
def test_an_automatic_rate_is_held_down_for_what_was_trained_and_to_no_less_than_usual(
    student: list[str], cap: float | None, corpus: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = np.linspace(5, 1, 100)
    curve = Curve(np.geomspace(1e-6, 1, 100), falling, falling, planned=100, diverged=False)
    monkeypatch.setattr(lr_finding, "sweep", lambda *args, **options: curve)
    monkeypatch.setattr(lr_finding, "_draw", lambda *args: None)
    flags = ["--learning_rate", "auto", "--limit_train", "16"]
    record = run(corpus, teacher, tmp_path / "run", "--student", *student, *flags)
    assert record.training["student"]["sweep"]["cap"] == cap


def test_a_large_batch_is_one_step_of_many_pieces(corpus: Path, teacher: Path) -> None:
    work = prepared(corpus, teacher, batch_size=4000, max_tokens=32)
    (window,) = work.batches.windows(0)
    assert work.batches.steps(0) == 1
    assert sum(batch.counts["rows"] for batch in window) == 64
    assert all(batch.inputs["input_ids"].numel() <= 32 for batch in window)


def test_an_earlier_student_can_be_taught_on(distilled: Path, corpus: Path, teacher: Path, tmp_path: Path) -> None:
    record = run(corpus, teacher, tmp_path / "run", "--student", distilled, "--learning_rate", 1e-8)
    before = RunRecord.load(distilled / "record.json").models[0]["metrics"]["validation"]["loss"]
    assert record.models[0]["metrics"]["validation"]["loss"] == pytest.approx(before, rel=1e-3)


def test_without_words_the_distance_chooses(corpus: Path, teacher: Path, tmp_path: Path) -> None:
    flags = ["--student", "layers:2", "--epochs", 3, "--learning_rate", 3e-3, "--relation_weight", 1]
    flags += ["--ce_weight", 0, "--mlm_weight", 0, "--cosine_weight", 0]
    record = run(corpus, teacher, tmp_path / "run", *flags)
    with open(tmp_path / "run" / "progress.csv", newline="", encoding="utf-8") as file:
        seen = [float(row["validation_distance"]) for row in csv.DictReader(file) if row["validation_distance"]]
    assert len(seen) == 3
    assert seen[-1] < seen[0]
    student, start, taught_by = record.models
    assert start["metrics"]["validation"]["distance"] > seen[0]
    assert student["metrics"]["validation"]["distance"] == pytest.approx(min(seen))
    assert taught_by["metrics"]["validation"]["distance"] == 0.0


def test_a_teacher_without_words_can_teach_its_states(corpus: Path, tiny_bert: Path, tmp_path: Path) -> None:
    record = run(corpus, tiny_bert, tmp_path / "run", "--ce_weight", 0, "--limit_train", 16)
    assert any("no masked-LM head of its own" in note for note in record.notes)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--student", "layers:9"], ["the teacher has 4 layers", "9 were asked for"]),
        (["--student", "layers"], ["student layers needs a number"]),
        (["--student", "layers:2", "--layers.keep", "0"], ["--layers.keep lists them", "--student layers"]),
        (["--student", "layers:2", "--layers.start", "svd"], ["Give --layers.hidden too"]),
        (["--student", "layers:2", "--albert.embedding", "8"], ["--student layers:2 does not use --albert.embedding"]),
        (["--student", "bert"], ["layers:N, albert, a model folder or a hub id", "'bert'"]),
        (["--student", "alberta"], ["Did you mean 'albert'?"]),
        (["--student", "albert", "--albert.share", "men"], ["albert.share must be mean, none", "Did you mean 'mean'?"]),
        (["--student", "albert", "--albert.share", "4", "--albert.embedding", "8"], ["0 to 3, but '4'"]),
        (
            ["--student", "albert", "--albert.embedding", "64", "--albert.share", "9", "--albert.hidden", "15"],
            ["1 to 32 wide, but 64", "0 to 3, but '9'", "a multiple of its 2 heads, but 15"],
        ),
        (["--student", "layers:2", "--layers.hidden", "15"], ["a multiple of its 2 heads, but 15", "For example: 16"]),
        (
            ["--ce_weight", "0", "--mlm_weight", "0", "--cosine_weight", "0"],
            ["all weights are 0", "--relation_weight"],
        ),
        (["--cosine_weight", "-1"], ["cosine_weight must be greater than or equal to 0, but is -1.0"]),
        (["--relation_heads", "4"], ["--relation_heads belongs to --relation_weight, which is 0"]),
        (["--relation_weight", "1", "--relation_heads", "5"], ["must divide the widths", "32 and 32, but is 5", "4."]),
        (["--relation_weight", "1", "--relation_layer", "4"], ["0 to 3, but is 4"]),
        (["--ce_weight", "0", "--ce_positions", "all"], ["--ce_positions belongs to --ce_weight"]),
        (["--ce_weight", "0", "--temperature", "4"], ["--temperature belongs to --ce_weight"]),
        (["--baseline", "--ce_weight", "0", "--mlm_weight", "0"], ["the student does not learn to"]),
        (["--ce_weight", "0", "--teacher_words", "8"], ["--teacher_words belongs to --ce_weight"]),
        (["--teacher_words", "8"], ["not its states, which are needed for --cosine_weight", "Give 0 there"]),
        (
            ["--teacher_words", "8", "--cosine_weight", "0", "--ce_positions", "all"],
            ["covers only masked tokens", "Leave --ce_positions all out"],
        ),
        (["--compile", "--relation_weight", "1"], ["--relation_weight need its queries and keys"]),
        (["--teacher_words", "0"], ["teacher_words must be greater than 0"]),
        (["--mask_rounds", "0"], ["mask_rounds must be greater than 0"]),
        (["--temperature", "0"], ["temperature must be greater than 0"]),
        (["--temperature", "inf", "--ce_weight", "inf"], ["temperature must be a finite number", "ce_weight must be a finite number"]),
        (["--metric", "f1"], ["metric must be one of loss, perplexity, accuracy for", "but is 'f1'"]),
        (["--max_length", "65"], ["max_length is 65, but this model (bert) reads at most 64 tokens"]),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(
    flags: list[str], said: list[str], corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(corpus, teacher, tmp_path / "run", *flags)) == 2
    error = capsys.readouterr().err
    for part in said:
        assert part in error, part
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_all_faults_come_together(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--teacher", str(tmp_path / "none"), "--student", "layer:3", "--relation_layer", "1"]
    assert main(["distill-lm", *flags]) == 2
    error = capsys.readouterr().err
    for part in (
        "no texts: name a file",
        "none: there is no such folder",
        "Did you mean 'layers'?",
        "--relation_layer",
    ):
        assert part in error
    assert main(["distill-lm", "--data", str(corpus)]) == 2
    assert "no teacher: name a masked language model" in capsys.readouterr().err


def with_words(teacher: Path, folder: Path, **moved: int) -> Path:
    """The teacher again, with some words under other numbers."""
    AutoModelForMaskedLM.from_pretrained(teacher / "model").save_pretrained(folder)
    AutoTokenizer.from_pretrained(teacher / "model").save_pretrained(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"] |= moved
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_another_vocabulary_is_refused(
    corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = AutoTokenizer.from_pretrained(teacher / "model").get_vocab()
    other = with_words(teacher, tmp_path / "other", film=vocabulary["book"], book=vocabulary["film"])
    assert main(command(corpus, teacher, tmp_path / "run", "--student", other)) == 2
    error = capsys.readouterr().err
    assert "its vocabulary is not the teacher's: of its 27 tokens, 25 have the same id" in error
    assert "such as layers:3" in error
    larger = with_words(teacher, tmp_path / "larger")
    model = AutoModelForMaskedLM.from_pretrained(larger)
    model.resize_token_embeddings(32)
    model.save_pretrained(larger)
    assert main(command(corpus, teacher, tmp_path / "run", "--student", larger)) == 2
    assert "scores 32 words, but the teacher 27, though their tokenizers are the same" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_head_that_nothing_trained_is_not_passed_on(
    corpus: Path, teacher: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A student that learns from states alone has its teacher's head: a random one, if that has none."""
    states = ["--ce_weight", 0, "--mlm_weight", 0, "--cosine_weight", 0, "--relation_weight", 1, "--limit_train", 16]
    record = run(corpus, tiny_bert, tmp_path / "headless", "--student", "layers:2", *states)
    assert any("it is saved without one" in note for note in record.notes)
    card = (tmp_path / "headless" / "README.md").read_text(encoding="utf-8")
    assert "An encoder (`layers:2`) that stands in for" in card
    assert "pipeline_tag: feature-extraction" in card
    assert "AutoModel.from_pretrained" in card
    assert "understudy finetune --model" in card
    assert not [
        word for word in ("fill-mask", "AutoModelForMaskedLM", "fill in a word", "what is likely") if word in card
    ]
    assert main(["fill-mask", str(tmp_path / "headless"), "the [MASK] film"]) == 2
    assert "masked-LM head" in capsys.readouterr().err
    assert main(command(corpus, tmp_path / "headless", tmp_path / "next", "--student", "layers:1")) == 2
    assert "has no trained masked-LM head" in capsys.readouterr().err
    assert load_classifier(str(tmp_path / "headless"), TASK).config.num_hidden_layers == 2
    run(corpus, teacher, tmp_path / "headed", "--student", "layers:2", *states)
    assert main(["fill-mask", str(tmp_path / "headed"), "the [MASK] film"]) == 0
    assert "AutoModelForMaskedLM" in (tmp_path / "headed" / "README.md").read_text(encoding="utf-8")


def test_teachers_that_cannot_teach_are_refused(
    corpus: Path, teacher: Path, tiny_bert: Path, byte_level: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(corpus, tiny_bert, tmp_path / "run")) == 2
    assert "has no trained masked-LM head, so it has no words to teach" in capsys.readouterr().err
    config = transformers.GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    byte_level.save_pretrained(tmp_path / "gpt")
    assert main(command(corpus, tmp_path / "gpt", tmp_path / "run")) == 2
    assert "a 'gpt2' model has no masked-LM head" in capsys.readouterr().err


def test_attention_of_other_numbers_of_heads_is_refused(
    corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = transformers.BertConfig.from_pretrained(teacher / "model", num_attention_heads=4, num_hidden_layers=1)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "four")
    AutoTokenizer.from_pretrained(teacher / "model").save_pretrained(tmp_path / "four")
    flags = ["--student", str(tmp_path / "four")]
    assert main(command(corpus, teacher, tmp_path / "run", *flags, "--attention_weight", "1")) == 2
    error = capsys.readouterr().err
    assert "the student has 4 and the teacher 2" in error
    assert "give --relation_weight" in error
    assert (
        main(command(corpus, teacher, tmp_path / "run", *flags, "--relation_weight", "1", "--limit_train", "16")) == 0
    )


# --- before the work -------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done(
    corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(corpus, teacher, tmp_path / "run", "--student", "layers:2", "--dry_run")) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "64 to train on, 24 validation, 16 test" in said
    weights = sum(
        parameter.numel() for parameter in AutoModelForMaskedLM.from_pretrained(teacher / "model").parameters()
    )
    assert f"for a checkpoint; {4 * weights / 1000:.0f} kB of memory more for the teacher" in said
    assert "4 of 16 texts, 1 epochs at most" in said
    assert not (tmp_path / "run").exists()


def test_validate_knows_it(corpus: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = command(corpus, teacher, tmp_path / "run", "--student", "layers:2")
    assert main(["validate", *flags]) == 0
    assert "texts: train 64, validation 24, test 16" in capsys.readouterr().out
    assert main(["validate", *flags[:-1], "layers:7"]) == 2
    assert "the teacher has 4 layers" in capsys.readouterr().err
    wrong = ["--relation_weight", "1", "--relation_heads", "7", "--relation_layer", "9", "--metric", "f1"]
    assert main(["validate", *flags, *wrong]) == 2
    error = capsys.readouterr().err
    for said in ("relation_heads must divide", "relation_layer must be one of", "metric must be one of"):
        assert said in error


def test_a_dry_run_and_validate_say_what_was_found(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["", "the good film", "the bad book " * 20, "the new new song", "the sad play", "the fine song"]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = command(tmp_path / "texts.txt", teacher, tmp_path / "run", "--student", "layers:2", "--max_length", "16")
    assert main([*flags, "--dry_run"]) == 0
    said = capsys.readouterr().err
    assert main(["validate", *flags]) == 0
    for found in (said, capsys.readouterr().out):
        assert "1 empty line" in found
        assert "have 16 tokens or more" in found


def test_the_defaults_are_distilberts() -> None:
    assert DistillLM().weights() == {
        "soft_targets": 5.0,
        "masked_lm": 2.0,
        "cosine": 1.0,
        "hidden": 0.0,
        "attention": 0.0,
        "relation": 0.0,
    }
    assert DistillLM().temperature == 2.0
    assert DistillLM().ce_positions == "masked"
