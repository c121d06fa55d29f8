"""``lr-find``, ``--learning_rate auto`` and ``--optimizer nt_asgd`` from the command line, on tiny data."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from understudy.cli import main
from understudy.models.files.fingerprints import weights_fingerprint
from understudy.models.files.trained import load_trained
from understudy.record import RunRecord
from understudy.runs.fitting import rate_sweep
from understudy.runs.fitting.learning import learning_plan, stages
from understudy.settings.training import TrainSettings
from understudy.training import loop
from understudy.training.lr_finder.sweep import OutOfTime
from understudy.training.optimizers.lazy_adamw import LazyAdamW
from understudy.training.optimizers.nt_asgd import NTASGD

SWEEP = ["--steps", "100", "--lowest", "1e-5", "--batch_size", "20"]
SMALL = ["--epochs", "1", "--max_length", "16", "--no_baseline", "--start", "head"]


pytestmark = pytest.mark.usefixtures("quick_throughout")


def weights(run: Path) -> str:
    return weights_fingerprint(load_trained(str(run)).model)


def record(run: Path) -> RunRecord:
    return RunRecord.load(run / "record.json")


def flags(reviews: Path, model: Path, *more: str) -> list[str]:
    return ["--data", str(reviews), "--model", str(model), *SMALL, *more]


def test_lr_find_leaves_a_curve_a_picture_a_record_and_the_command(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "rate"
    asked = flags(reviews, tiny_bert, "--discriminative", "2", *SWEEP, "--output", str(run))
    assert main(["lr-find", "finetune", *asked]) == 0
    assert {path.name for path in run.iterdir()} == {"config.yaml", "lr_find.csv", "lr_find.png", "record.json"}
    with open(run / "lr_find.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = record(run)
    sweep = found.training["sweep"]
    assert (found.finished, found.command, len(rows)) == (True, "lr-find finetune", sweep["steps"])
    assert float(rows[0]["learning_rate"]) == pytest.approx(1e-5)
    said = capsys.readouterr()
    (line,) = [line.strip() for line in said.out.splitlines() if line.strip().startswith("understudy finetune")]
    # what it prints is a command that this program understands, with everything that was asked for
    words = shlex.split(line)
    assert main([*words[1:], "--print_config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["learning_rate"] == sweep["rate"]
    assert {name: config[name] for name in ("data", "model", "discriminative", "max_length", "baseline")} == {
        "data": str(reviews),
        "model": str(tiny_bert),
        "discriminative": 2.0,
        "max_length": 16,
        "baseline": False,
    }
    assert sweep["rate"] <= sweep["cap"] == 1e-4  # pretrained blocks learn


def test_a_sweep_that_suggests_nothing_leaves_its_curve(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "rate"
    nothing = ["--steps", "20", "--lowest", "1e-9", "--highest", "1e-8"]
    assert main(["lr-find", "finetune", *flags(reviews, tiny_bert, *nothing, "--output", str(run))]) == 2
    said = capsys.readouterr().err
    assert "the loss did not fall" in said
    assert f"The curve is in {run / 'lr_find.png'}." in said
    assert (run / "lr_find.png").stat().st_size > 1000
    assert len((run / "lr_find.csv").read_text().splitlines()) == 21
    assert not record(run).finished

    auto = tmp_path / "auto"
    asked = flags(reviews, tiny_bert, "--learning_rate", "auto", "--freeze", "all-but-head", "--output", str(auto))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.training.lr_finder.suggestion._SURE", 1e9)
        assert main(["finetune", *asked]) == 2
    assert f"The curve is in {auto / 'plots' / 'lr_find.png'}." in capsys.readouterr().err
    assert (auto / "lr_find.csv").exists()
    assert (auto / "plots" / "lr_find.png").exists()


def test_rates_of_a_range_are_suggested_in_proportion(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "rate"
    asked = flags(reviews, tiny_bert, "--learning_rate", "1e-5:1e-3", *SWEEP, "--output", str(run))
    assert main(["lr-find", "finetune", *asked]) == 0
    said = shlex.split(capsys.readouterr().out.splitlines()[-1])
    low, high = map(float, said[said.index("--learning_rate") + 1].split(":"))
    assert high == record(run).training["sweep"]["rate"]
    assert high / low == pytest.approx(100, rel=0.02)


def test_auto_is_the_same_run_as_one_with_the_rate_that_it_found(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.runs.fitting.amount._RATES", ((1e12, 5e-5),))
    auto, named = tmp_path / "auto", tmp_path / "named"
    assert main(["finetune", *flags(reviews, tiny_bert, "--learning_rate", "auto", "--output", str(auto))]) == 0
    training = record(auto).training["train"]
    rate = training["sweep"]["rate"]
    assert rate != 5e-5  # so that it shows if the sweep's is not used
    assert training["learning_rate"] == rate
    assert any(f"suggests the learning rate {rate:.1e}" in note for note in record(auto).notes)
    assert (auto / "lr_find.csv").exists()
    assert (auto / "plots" / "lr_find.png").exists()
    assert main(["finetune", *flags(reviews, tiny_bert, "--learning_rate", str(rate), "--output", str(named))]) == 0
    assert weights(auto) == weights(named)


class Killed(BaseException):
    """As a process is by SIGKILL."""


def test_killed_and_resumed_it_keeps_the_rate_and_ends_with_the_same_weights(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--learning_rate", "auto", "--batch_size", "16", "--save_steps", "3"]
    asked = ["finetune", *flags(reviews, tiny_bert, *more)]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*asked, "--output", str(whole)]) == 0
    calls: list[str] = []

    def dies(name: str) -> None:
        calls.append(name)
        if calls.count("train.step") == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "failpoint", dies)
        with pytest.raises(Killed):
            main([*asked, "--output", str(cut)])
    found = record(cut).training["train"]["sweep"]

    def searched(*args: Any, **options: Any) -> None:
        raise AssertionError("a resumed run has its rate")

    monkeypatch.setattr("understudy.runs.fitting.rate_sweep.sweep", searched)
    assert main([*asked, "--output", str(cut), "--resume"]) == 0
    assert record(cut).training["train"]["sweep"] == found == record(whole).training["train"]["sweep"]
    assert weights(cut) == weights(whole)
    for key in ("steps", "best_step", "metrics", "learning_rate"):
        assert record(cut).training["train"][key] == record(whole).training["train"][key]


def test_stages_have_the_optimizer_that_is_named_and_its_own_decay() -> None:
    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 2)

    def decays(**given: Any) -> tuple[type, set[float], set[float]]:
        asked = TrainSettings(**given)
        (stage,) = stages(learning_plan(Objective(), asked, learning_rate=0.5), asked, learning_rate=0.25)
        optimizer = stage.optimizer()
        groups = optimizer.param_groups
        return type(optimizer), {group["weight_decay"] for group in groups}, {group["lr"] for group in groups}

    averaging = {"optimizer": "nt_asgd", "schedule": "constant", "learning_rate": 30}
    assert decays() == (LazyAdamW, {0.01, 0.0}, {0.25})
    assert decays(**averaging) == (NTASGD, {1.2e-6, 0.0}, {0.25})
    assert decays(**averaging, weight_decay=0.1) == (NTASGD, {0.1, 0.0}, {0.25})


def test_a_budget_pays_for_the_sweep(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from understudy.runs.fitting import phase as fitting

    given: list[float] = []
    fit = fitting.fit

    def watched(*args: Any, **options: Any) -> Any:
        given.append(options["budget_s"])
        return fit(*args, **options)

    clock = iter([100.0, 130.0])
    monkeypatch.setattr(fitting, "fit", watched)
    monkeypatch.setattr(fitting, "rate_for", lambda *args, **options: 1e-4)
    monkeypatch.setattr(fitting.time, "monotonic", lambda: next(clock, 130.0))
    asked = flags(
        reviews, tiny_bert, "--learning_rate", "auto", "--time_budget", "60s", "--output", str(tmp_path / "run")
    )
    assert main(["finetune", *asked]) == 0
    assert given[0] <= 30.0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["lr-find", "finetune", "--lowest", "1", "--highest", "0.1"], "lowest must be below highest"),
        (["lr-find", "finetune", "--steps", "3"], "steps must be greater than or equal to 20"),
        (["lr-find", "finetune", "--features", "frozen"], "--features frozen has no learning rate to find"),
        (["lr-find", "finetun"], "unknown command 'lr-find finetun'. Did you mean 'lr-find finetune'?"),
        (["finetune", "--optimizer", "nt_asgd", "--learning_rate", "1"], "Give --schedule constant."),
        (["finetune", "--optimizer", "nt_asgd", "--schedule", "constant"], "nt_asgd has no default rate"),
        (
            ["finetune", "--optimizer", "nt_asgd", "--schedule", "constant", "--learning_rate", "1", "--patience", "6"],
            "--patience 6 stops before nt_asgd begins to average",
        ),
        (["finetune", "--features", "frozen", "--optimizer", "nt_asgd"], "--optimizer nt_asgd: this is for layers"),
    ],
)
def test_mistakes_are_said(
    command: list[str], said: str, reviews: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--data", str(reviews), "--model", str(tiny_bert)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_configuration_of_the_command_itself_serves(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"command: finetune\ndata: {reviews}\nmodel: {tiny_bert}\nbatch_size: 7\n", encoding="utf-8")
    assert main(["lr-find", "finetune", "--config", str(file), "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["command"], printed["batch_size"], printed["steps"]) == ("lr-find finetune", 7, 100)
    assert main(["lr-find"]) == 0
    assert "understudy lr-find pretrain [flags]" in capsys.readouterr().out


def test_the_sweep_of_a_masked_language_model(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runs.fitting.rate_sweep._draw", lambda *args: None)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"the plot is good but film {i} was bad and sad\n" for i in range(40)), encoding="utf-8")
    asked = ["--data", str(text), "--model", str(tiny_bert), "--batch_size", "8", "--steps", "20"]
    assert main(["lr-find", "pretrain", *asked, "--output", str(tmp_path / "rate")]) == 0
    assert record(tmp_path / "rate").training["sweep"]["rate"] <= 1e-4


def test_an_optimizer_without_a_default_rate_needs_none_to_find_one(reviews: Path, tmp_path: Path) -> None:
    asked = ["--data", str(reviews / "pool.txt"), "--model", "awd_lstm", "--tokenizer", "words:60", "--batch_size", "4"]
    asked += ["--awd_lstm.embedding", "8", "--awd_lstm.hidden", "10", "--bptt", "10", "--epochs", "1"]
    asked += ["--optimizer", "nt_asgd", "--schedule", "constant", "--output", str(tmp_path / "run")]
    assert main(["lr-find", "pretrain", *asked, "--lowest", "1e-3", "--highest", "100", "--steps", "60"]) == 0
    assert record(tmp_path / "run").training["sweep"]["rate"] > 1e-3
    assert main(["pretrain", *asked, "--overwrite"]) == 2


def test_the_sweep_of_a_language_model(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the plot is good but film {i} was bad and sad" for i in range(200)), encoding="utf-8")
    run = tmp_path / "rate"
    sizes = ["--awd_lstm.embedding", "12", "--awd_lstm.hidden", "16", "--awd_lstm.layers", "1", "--bptt", "12"]
    asked = ["--data", str(text), "--model", "awd_lstm", "--tokenizer", "words:50", "--batch_size", "8", *sizes]
    assert main(["lr-find", "pretrain", *asked, "--steps", "60", "--output", str(run)]) == 0
    sweep = record(run).training["sweep"]
    assert sweep["cap"] is None
    assert 1e-4 < sweep["rate"] < 1.0
    assert (run / "lr_find.png").exists()


@pytest.mark.parametrize("command", [["lr-find", "pretrain"], ["pretrain", "--learning_rate", "auto"]])
def test_a_budget_that_ends_within_the_sweep_is_said(
    command: list[str], reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*command, "--data", str(reviews / "pool.txt"), "--model", str(tiny_bert), "--batch_size", "8"]
    assert main([*asked, "--time_budget", "0.000001s", "--output", str(tmp_path / "run")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the time budget ended after 1 of 100 steps of the sweep. Name a --learning_rate, or give a longer" in said
    assert not record(tmp_path / "run").finished


def test_a_later_sweep_that_ends_with_the_time_does_not_lose_what_was_learnt(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tmp_path / "teacher")]) == 0
    find_rate, calls = rate_sweep.find_rate, list[str]()

    def watched(*args: Any, **options: Any) -> Any:
        calls.append("")
        if len(calls) > 1:
            raise OutOfTime("the time budget ended after 3 of 100 steps of the sweep. Name a rate.")
        return find_rate(*args, **options)

    monkeypatch.setattr(rate_sweep, "find_rate", watched)
    words = ["distill", "--data", str(reviews), "--teacher", str(tmp_path / "teacher"), "--student", "static"]
    words += ["--learning_rate", "auto", "--epochs", "1", "--threads", "1", "--static.embedding", "8"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "the time budget ended after 3 of 100 steps of the sweep, so the rate is the usual one" in said
    training = record(tmp_path / "run").training
    assert "sweep" in training["student"]
    assert "sweep" not in training["student without teacher"]


def test_below_a_frozen_layer_the_highest_that_learns_has_the_rate_that_was_found(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = flags(reviews, tiny_bert, "--freeze", "head", "--discriminative", "4", "--output", str(tmp_path / "run"))
    assert main(["finetune", *asked, "--learning_rate", "auto"]) == 0
    training = record(tmp_path / "run").training["train"]
    found = training["sweep"]["rate"]
    assert training["learning_rate"] == pytest.approx(found)
    assert max(training["learning_rates"].values()) == pytest.approx(found)
    assert "head" not in training["learning_rates"]
    capsys.readouterr()
    assert main(["lr-find", "finetune", *asked, "--overwrite"]) == 0
    said = shlex.split(capsys.readouterr().out.splitlines()[-1])
    named = float(said[said.index("--learning_rate") + 1])
    assert named == pytest.approx(4 * record(tmp_path / "run").training["sweep"]["rate"], rel=0.05)
