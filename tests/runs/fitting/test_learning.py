"""Rates by layer, frozen layers and stages, from the command line to the record."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from understudy.cli import main
from understudy.errors import ConfigError
from understudy.models.structure import compiled
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.record import RunRecord
from understudy.settings.configuration import as_dict, build
from understudy.settings.values import parse_rate
from understudy.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("quick_throughout")

GROUPS = ["embeddings", "layer 0", "layer 1", "layer 2", "layer 3", "pooler", "head"]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finetune(reviews: Path, tiny_bert: Path) -> Callable[..., int]:
    """``understudy finetune`` on the toy reviews."""

    def command(*arguments: object) -> int:
        usual = ["--start", "head", "--epochs", "3", "--batch_size", "32"]
        return run("finetune", "--data", reviews, "--model", tiny_bert, "--no_baseline", *usual, *arguments)

    return command


def progress(folder: Path) -> list[dict[str, str]]:
    with open(folder / "progress.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


ALL_THREE = ["--schedule", "slanted_triangular", "--discriminative", "2", "--learning_rate", "6.4e-3"]


def test_a_frozen_layer_stays_and_the_others_join_with_rates_of_their_own(
    finetune: Callable[..., int], tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    flags = [
        *ALL_THREE,
        "--freeze",
        "embeddings",
        "1",
        "--unfreeze",
        "1",
        "3",
        "all",
        "--unfreeze_epochs",
        "2",
        "1",
        "1",
    ]
    assert finetune(*flags, "--metric", "average_precision", "--output", folder) == 0
    training = RunRecord.load(folder / "record.json").training["train"]
    assert [(stage["name"], stage["steps"]) for stage in training["stages"]] == [
        ("head", 8),
        ("layer 3 and up", 4),
        ("layer 0, layer 2, layer 3, pooler, head", 4),
    ]
    expected = {"layer 0": 2e-4, "layer 2": 8e-4, "layer 3": 1.6e-3, "pooler": 3.2e-3, "head": 6.4e-3}
    assert training["learning_rates"] == pytest.approx(expected)
    assert training["learning_rate"] == pytest.approx(6.4e-3)
    rows = [row for row in progress(folder) if row["learning_rate"]]
    columns = [name.removeprefix("learning_rate_") for name in rows[0] if name.startswith("learning_rate_")]
    assert columns == ["layer_0", "layer_2", "layer_3", "pooler", "head"]
    first, last = rows[0], rows[-1]
    assert first["learning_rate_pooler"] == ""
    assert float(last["learning_rate_pooler"]) == pytest.approx(float(last["learning_rate_head"]) / 2)

    assert training["best_step"] > 12  # what is saved is of the last stage
    before, after = load_file(tiny_bert / "model.safetensors"), load_file(folder / "model" / "model.safetensors")
    for name, value in before.items():
        if name.startswith(("embeddings.", "encoder.layer.1.")):
            assert (after[f"bert.{name}"] == value).all(), name
    assert (after["bert.encoder.layer.0.output.dense.weight"] != before["encoder.layer.0.output.dense.weight"]).any()


def test_the_plan_says_rates_stages_and_what_learns(
    finetune: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--discriminative", "2", "--freeze", "embeddings", "0-1", "--unfreeze", "1", "all", "--epochs", "2"]
    assert finetune(*flags, "--learning_rate", "1e-3", "--dry_run", "--output", tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert "layer 2 0.000125, layer 3 0.00025, pooler 0.0005, head 0.001, each at the peak" in said
    assert "embeddings, layer 0, layer 1; dropout stays on there" in said
    assert "head (2), then layer 2 and up (2)" in said
    assert "16 of 32 rows, 4 epochs at most" in said
    assert " of 3" in said.split("training")[1]  # so many of all parameters
    assert not (tmp_path / "run").exists()


def test_distilling_in_stages_gives_the_student_without_teacher_the_same_ones(
    reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    assert run("finetune", "--data", reviews, "--model", tiny_bert, "--epochs", 1, "--output", tmp_path / "t") == 0
    student = ["--student", "bilstm", "--bilstm.embedding", 8, "--bilstm.lstm", 6, "--bilstm.hidden", 8]
    techniques = ["--learning_rate", "1e-4:1e-2", "--unfreeze", "1", "all", "--unfreeze_epochs", "1", "2"]
    cycle = ["--schedule", "one_cycle", "--cycle_momentum"]
    folder = tmp_path / "run"
    data = ["--data", reviews, "--teacher", tmp_path / "t", "--unlabeled", reviews / "pool.txt"]
    assert run("distill", *data, *student, *techniques, *cycle, "--output", folder) == 0
    record = RunRecord.load(folder / "record.json")
    mine, without = record.training["student"], record.training["student without teacher"]
    steps = mine["steps"] // 3
    assert (
        mine["stages"]
        == without["stages"]
        == [
            {"name": "head", "steps": steps, "stopped_by": "epochs"},
            {"name": "all", "steps": 2 * steps, "stopped_by": "epochs"},
        ]
    )
    assert (mine["epochs"], without["epochs"]) == (3, without["rows"] // 120)  # its own rows are fewer
    assert mine["learning_rates"] == pytest.approx({"embeddings": 1e-4, "layer 0": 1e-3, "head": 1e-2})
    scored = {
        phase: [row["step"] for row in progress(folder) if row["phase"] == phase and row["validation_accuracy"]]
        for phase in ("student", "student without teacher")
    }
    assert scored["student"] == scored["student without teacher"]
    momenta = [float(row["momentum"]) for row in progress(folder) if row["momentum"]]
    assert momenta
    assert all(0.85 <= momentum <= 0.95 for momentum in momenta)


class Killed(BaseException):
    """Nobody catches it."""


def test_killed_in_a_later_stage_and_resumed_it_has_the_same_bits(
    finetune: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*ALL_THREE, "--unfreeze", "1", "2", "all", "--epochs", "1", "--save_steps", "3"]
    assert finetune(*flags, "--output", tmp_path / "whole") == 0
    taken: list[int] = []
    step = Trainer.step

    def dying(self: Any, *arguments: Any) -> Any:
        taken.append(1)
        if len(taken) == 8:  # the last one of the second stage; the last checkpoint is of its second one
            raise Killed
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dying)
        with pytest.raises(Killed):
            finetune(*flags, "--output", tmp_path / "cut")
    assert finetune(*flags, "--output", tmp_path / "cut", "--resume") == 0
    one, other = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--learning_rate", "1e-3:1e-5"], "is the wrong way round: the first layer's rate comes first"),
        (["--learning_rate", "1e-3:1e-5"], "Did you mean 1e-5:1e-3?"),
        (["--learning_rate", "fast"], "learning_rate must be a positive number such as 5e-5, two"),
        (["--learning_rate", "0"], "learning_rate must be a positive number"),
        (["--learning_rate", "1e-5:1e-4:1e-3"], "learning_rate must be a positive number"),
        (["--learning_rate", "nan"], "learning_rate must be a finite number"),
        (["--discriminative", "1"], "discriminative must be greater than 1"),
        (
            ["--learning_rate", "1e-5:1e-3", "--discriminative", "2.6"],
            "both say how the rate falls from layer to layer",
        ),
        (["--unfreeze_epochs", "1"], "--unfreeze_epochs belongs to --unfreeze"),
        (["--unfreeze", "gradualy"], "Did you mean 'gradual'?"),
        (["--unfreeze", "1", "all", "--unfreeze_epochs", "1", "1", "1"], "each of the 2 stages, but are 3: 1 1 1"),
        (["--cycle_momentum", "--schedule", "one_cycle", "--beta1", "0.7"], "both say what Adam's first beta is"),
        (["--optimizer", "nt_asgd", "--beta2", "0.99"], "--beta2 is AdamW's, but the optimizer is nt_asgd"),
        (["--warmup", "1.5"], "warmup"),
        (["--warmup", "0.2", "--schedule", "constant"], "--warmup belongs to --schedule linear and cosine, but"),
        (["--cycle_momentum"], "--cycle_momentum belongs to --schedule one_cycle, but the schedule is linear"),
        (
            ["--freeze", "embedings", "0-9"],
            "there is no 'embedings' in this model. It has embeddings, layers 0-3, pooler, head.",
        ),
        (["--freeze", "embedings", "0-9"], "there is no '0-9' in this model"),
        (["--freeze", "all-but-head", "head"], "leaves nothing to learn"),
        (["--unfreeze", "9", "all"], "unfreeze 9 all: only 7 groups can learn"),
        (["--freeze", "all-but-head", "--unfreeze", "gradual"], "there is only head to learn, in one stage"),
        (["--unfreeze", "gradual", "--unfreeze_epochs", "1", "2"], "each of the 7 stages, but are 2"),
        (
            ["--features", "frozen", "--unfreeze", "gradual"],
            "--unfreeze, --start, --epochs, --batch_size: this is for layers",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    flags: list[str], said: str, finetune: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(*flags, "--output", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_all_flags_that_tfidf_cannot_heed_are_named_together(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--freeze", "head", "--discriminative", "2", "--learning_rate", "1e-5:1e-3", "--beta2", "0.99"]
    assert run("finetune", "--data", reviews, "--model", "tfidf", *flags) == 2
    error = capsys.readouterr().err
    assert (
        "--discriminative, --freeze, --learning_rate 1e-5:1e-3, --beta2: this is for layers that are trained in steps, and --model tfidf trains none"
        in error
    )


@pytest.mark.parametrize("given", [5e-5, "5e-5", "0.00005"])
def test_a_rate_is_the_same_however_it_is_written(given: float | str) -> None:
    recipe = Finetune(data="a.csv", model="x/y", learning_rate=given)
    assert recipe.learning_rate == 5e-5
    assert build(Finetune, yaml.safe_load(yaml.safe_dump(as_dict(recipe)))).learning_rate == 5e-5


def test_rates_are_numbers_ranges_or_auto() -> None:
    assert parse_rate("1e-5:1e-3") == (1e-5, 1e-3)
    assert parse_rate("auto") == "auto"
    with pytest.raises(ConfigError, match="learning_rate must be"):
        parse_rate("1e-5:fast")


def test_yaml_may_write_lists_as_people_do() -> None:
    made = build(
        Finetune, yaml.safe_load("unfreeze: [1, 2, all]\nunfreeze_epochs: 1\nfreeze: 0-1\nlearning_rate: 1e-5:1e-3")
    )
    assert (made.unfreeze, made.unfreeze_epochs, made.freeze) == (["1", "2", "all"], [1], ["0-1"])
    assert made.learning_rate == "1e-5:1e-3"
    assert build(Finetune, {"freeze": 3}).freeze == ["3"]
    with pytest.raises(ConfigError, match="unfreeze_epochs must be greater than 0"):
        build(Finetune, {"unfreeze": ["1", "all"], "unfreeze_epochs": [0, 1]})


def test_a_mean_of_the_states_learns_in_every_stage(finetune: Callable[..., int], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert finetune("--pooling", "mean", "--unfreeze", "chain-thaw", "--epochs", "1", "--output", folder) == 0
    stages = RunRecord.load(folder / "record.json").training["train"]["stages"]
    assert [stage["name"] for stage in stages] == ["head", *GROUPS[:5], "all"]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, as it traces
def test_blocks_are_compiled_for_training_and_plain_in_what_is_written(
    finetune: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def compile_(function: Any, **options: Any) -> Any:
        asked.append(function.__self__)
        return function

    monkeypatch.setattr(compiled.torch, "compile", compile_)
    flags = ["--epochs", "1", "--learning_rate", "auto"]
    assert finetune(*flags, "--output", tmp_path / "plain") == 0
    assert not asked
    assert finetune(*flags, "--compile", "--output", tmp_path / "compiled") == 0
    assert len(asked) == 2 * 4  # for the sweep and for the training
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("plain", "compiled"))
    assert list(first) == list(second)


@pytest.mark.parametrize("model", ["awd_lstm", "tfidf"])
def test_what_has_no_blocks_cannot_be_compiled(
    model: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"a good film {i}\n" for i in range(400)), encoding="utf-8")
    command = ["finetune", "--data", reviews] if model == "tfidf" else ["pretrain", "--data", texts]
    assert run(*command, "--model", model, "--compile", "--output", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "--compile: " in error
    assert "Leave" in error
    assert not (tmp_path / "run").exists()


def test_without_a_compiler_it_says_what_is_missing(
    finetune: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.runs import devices

    monkeypatch.setattr(devices, "can_compile", lambda: False)
    assert finetune("--compile") == 2
    assert "Install g++, name another in the environment variable CXX" in capsys.readouterr().err


def test_the_betas_are_those_asked_for(finetune: Callable[..., int], tmp_path: Path) -> None:
    weights = []
    for betas in (["0.9", "0.999"], ["0.7", "0.99"]):
        folder = tmp_path / betas[0]
        assert finetune("--epochs", "1", "--beta1", betas[0], "--beta2", betas[1], "--output", folder) == 0
        weights.append((folder / "model" / "model.safetensors").read_bytes())
    assert weights[0] != weights[1]
