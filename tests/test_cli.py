"""The command line: help, configurations, faults, exit codes."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from understudy import cli
from understudy.cli import main
from understudy.commands import COMMANDS
from understudy.errors import UnderstudyError, require
from understudy.settings.configuration import as_dict, build, check
from understudy.settings.train.distill import DistillSettings
from understudy.settings.train.finetune import FinetuneSettings


def test_help_imports_no_torch_and_lists_every_command() -> None:
    code = "import sys; from understudy.cli import main; main(['--help']); main(['distill', '--help']); main(['distill', '--help_all']); assert not {'torch', 'transformers', 'pyarrow', 'sklearn'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for row in COMMANDS:
        assert row.name in done.stdout
        assert row.help in done.stdout
    assert "--student" in done.stdout


@pytest.mark.parametrize("command", [row.name for row in COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("command", [row.name for row in COMMANDS])
def test_every_flag_shows_one_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help_all"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert not re.findall(r"\(([^()]+)\) \(\1\)", told)


def test_one_label_or_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*arguments: str) -> object:
        assert main(["finetune", "--data", "a.csv", "--model", "x", *arguments, "--print_config"]) == 0
        return yaml.safe_load(capsys.readouterr().out)["label"]

    assert printed() is None
    assert printed("--label", "topic") == ["topic"]
    assert printed("--label", "toxic", "insult") == ["toxic", "insult"]
    for written, read in (("topic", ["topic"]), ("[a, b]", ["a", "b"]), ("null", None), ("7", ["7"])):
        (tmp_path / "c.yaml").write_text(f"label: {written}\n", encoding="utf-8")
        assert printed("--config", str(tmp_path / "c.yaml")) == read
    settings = FinetuneSettings(data="a.csv", model="x", label="topic")  # type: ignore[arg-type]
    check(settings)
    assert settings.label == ["topic"]


def test_printed_config_runs_the_same_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "distill",
                "--data",
                "a.csv",
                "--teacher",
                "x/y",
                "--no-baseline",
                "--bilstm.hidden",
                "99",
                "--print_config",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["bilstm"]["hidden"] == 99
    (tmp_path / "c.yaml").write_text(printed, encoding="utf-8")
    assert main(["distill", "--config", str(tmp_path / "c.yaml"), "--epochs", "4", "--print_config"]) == 0
    again = yaml.safe_load(capsys.readouterr().out)
    assert again == yaml.safe_load(printed) | {"epochs": 4}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distil"], "unknown command 'distil'. Did you mean 'distill'?"),
        (["validate", "--data", "x"], "--data: the command comes before its flags. The commands are demo"),
        (["distill", "--studnt", "bilstm"], "unknown flag --studnt. Did you mean '--student'?"),
        (["finetune", "--data", "nowhere.csv", "--model", "tfidf"], "nowhere.csv"),
        (["finetune", "--data", "a.csv", "--model", "tfidff"], "Did you mean 'tfidf'?"),
        (["distill", "--config"], "--config needs a value"),
        (["distill", "--config", "a.yaml", "--config=b.yaml"], "--config names one file, but is given twice."),
        (["distill", "--print-config=true"], "--print_config takes no value."),
        (
            ["finetune", "--data", "a.csv", "--model", "tfidf", "--text", "premise", "--text", "the hypothesis"],
            "--text is given more than once. Write its values after one: --text premise 'the hypothesis'.",
        ),
        (["distill", "--config", "none.yaml"], "none.yaml: no such file"),
        (
            ["distill", "--data", "a.csv", "--teacher", "x/y", "--student", "layers:none"],
            "student layers needs a number",
        ),
        (
            ["distill", "--data", "a.csv", "--teacher", "x/y", "--teacher_weights", "1", "2"],
            "teacher_weights must be one for each teacher",
        ),
        (["distill", "--data", "a.csv", "--teacher", "x/y", "--resume", "--overwrite"], "contradict"),
        (
            ["distill", "--data", "a.csv", "--teacher", "x/y", "--temperature", "2"],
            "--temperature belongs to --distance kl",
        ),
        (
            ["finetune", "--data", "a.csv", "--model", "tfidf", "--epochs", "0"],
            "epochs must be greater than 0 or 'auto', but is 0.",
        ),
    ],
)
def test_mistakes_end_with_two_and_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_all_faults_of_a_configuration_come_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text(
        "studnt: bilstm\nepochs: none\nbilstm: {hiden: 3, dropout: 2}\ndistance: mle\n", encoding="utf-8"
    )
    assert main(["distill", "--config", str(tmp_path / "c.yaml")]) == 2
    error = capsys.readouterr().err
    assert "unknown key 'studnt'" in error
    assert "Did you mean 'student'?" in error
    assert "unknown key 'bilstm.hiden'" in error
    assert "epochs must be" in error
    assert "bilstm.dropout must be less than 1" in error
    assert "distance must be 'mse', 'kl' or 'hard'" in error


def test_a_configuration_of_another_command_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("command: finetune\ndata: x.csv\n", encoding="utf-8")
    assert main(["distill", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "configuration of 'finetune'" in capsys.readouterr().err


def test_a_bare_string_is_a_list_of_one() -> None:
    assert build(DistillSettings, {"teacher": "runs/teacher"}).teacher == ["runs/teacher"]
    assert as_dict(DistillSettings(data="a.csv"))["teacher"] == []


def test_a_full_disk_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(arguments: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/checkpoints/student.pt")

    monkeypatch.setattr(cli, "_dispatch", full)
    assert main([]) == 2
    assert "no space left on the device" in capsys.readouterr().err


def test_our_own_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: list[str]) -> int:
        raise RuntimeError("ours")

    monkeypatch.setattr(cli, "_dispatch", broken)
    with pytest.raises(RuntimeError):
        main([])


def test_a_missing_extra_says_how_to_install_it() -> None:
    with pytest.raises(UnderstudyError, match=r"pip install 'understudy\[serve\]'"):
        require("surely_not_installed", extra="serve")
