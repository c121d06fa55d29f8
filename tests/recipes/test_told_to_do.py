"""What a refusal of a data file tells to do works; and so does what a command prints for the shell, spaces and all."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from understudy.cli import main
from understudy.models.files.names import fine_tune, pretrain
from understudy.parsing import parse
from understudy.recipes.choose.lr_find import usage
from understudy.recipes.train.demo import _next_steps
from understudy.settings.configuration import given

ROWS = [("good film", "up"), ("bad plot", "down")] * 12
NUMBERED = [(f"{text} {i}", label) for i, (text, label) in enumerate(ROWS)]


def lines(separator: str, header: str, rows: list[tuple[str, ...]] | None = None) -> str:
    return "\n".join([header, *(separator.join(row) for row in rows or NUMBERED)]).lstrip("\n") + "\n"


COUNTED = [(str(i), *row) for i, row in enumerate(NUMBERED)]
TRAILING = [(*row, "") for row in NUMBERED]
ALIKE = [("0", "0", f"{text} {i}") if i % 2 else ("1", "0", f"{text} {i}") for i, (text, _) in enumerate(ROWS)]

FILES = {
    "header one short": (
        ("a.csv", lines(",", "text,label", COUNTED), []),
        "every row has one field more than the header (text, label). Put a name for the first column",
        ("a.csv", lines(",", "row,text,label", COUNTED), []),
    ),
    "header one short, tabs": (
        ("a.tsv", lines("\t", "text\tlabel", COUNTED), []),
        "Put a name for the first column",
        ("a.tsv", lines("\t", "row\ttext\tlabel", COUNTED), []),
    ),
    "separator at the end": (
        ("a.csv", lines(",", "text,label", TRAILING), []),
        "put a separator at the end of the header too",
        ("a.csv", lines(",", "text,label,", TRAILING), []),
    ),
    "a field with the separator": (
        ("a.csv", lines(",", "text,label", [*NUMBERED, ("a, b", "up")]), []),
        "line 26: too many fields, 3 where the header has 2 (text, label). Quote the field",
        ("a.csv", lines(",", "text,label", [*NUMBERED, ('"a, b"', "up")]), []),
    ),
    "no header, equal cells": (
        ("a.tsv", lines("\t", "", ALIKE[1:]), []),
        "if this line is a row of data, put a line with the names of the columns above it",
        ("a.tsv", lines("\t", "label\tzero\ttext", ALIKE[1:]), []),
    ),
    "no header": (
        ("a.csv", lines(",", "", NUMBERED), []),
        "if the first line of the file is a row of data, put a line with the names of the columns above it",
        ("a.csv", lines(",", "text,label", NUMBERED), []),
    ),
    "no header, its cells named": (
        ("a.csv", lines(",", "", NUMBERED), ["--text", "good film 0", "--label", "up"]),
        "the label is 'up', as the column is called. If the first line of the file is a row of data",
        ("a.csv", lines(",", "text,label", NUMBERED), []),
    ),
    "a header twice": (
        ("a.csv", lines(",", "text,label", [*NUMBERED, ("text", "label")]), []),
        "line 26: the label is 'label', as the column is called.",
        ("a.csv", lines(",", "text,label", NUMBERED), []),
    ),
    "no header, its columns named": (
        ("a.csv", lines(",", "", NUMBERED), []),
        "or name them in order with --columns, as in --columns text label",
        ("a.csv", "", ["--columns", "text", "label"]),
    ),
    "a header that the rows do not fit": (
        ("a.csv", "text;label\none\n", []),
        "Correct the rows and give --separator semicolon",
        ("a.csv", lines(";", "text;label"), ["--separator", "semicolon"]),
    ),
    "two separators": (
        (
            "a.csv",
            lines(";", "text;label", [(f"{text}, or so", label) for text, label in NUMBERED]).replace(
                "text", "text, all"
            ),
            [],
        ),
        "--separator semicolon or --separator comma",
        ("a.csv", "", ["--separator", "semicolon", "--text", "text, all"]),
    ),
    "cp1252": (
        ("a.csv", lines(",", "text,label").replace("good", "fiancé"), []),
        "name its encoding with --encoding, such as cp1252",
        ("a.csv", "", ["--encoding", "cp1252"]),
    ),
    "a folder": (("b/a.csv", lines(",", "text,label"), []), "Name the file in it", ("b/a.csv", "", [])),
    "a sheet": (("a.doc", "PK", []), "Save it in one of these: .csv", ("a.csv", lines(",", "text,label"), [])),
    "two texts too many": (
        (
            "a.csv",
            lines(",", "a,b,c,label", [(*row[:1], "x", "y", row[1]) for row in NUMBERED]),
            ["--text", "a", "b", "c"],
        ),
        "--text names 3 texts (a b c), but a row has one or two. Join columns into one text with '+'",
        (
            "a.csv",
            lines(",", "a,b,c,label", [(*row[:1], "x", "y", row[1]) for row in NUMBERED]),
            ["--text", "a+b", "c"],
        ),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_put_right_as_told_is_read_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (wrong, content, flags), said, (right, corrected, other) = FILES[name]
    Path(wrong).parent.mkdir(exist_ok=True)
    encoding = "cp1252" if name == "cp1252" else "utf-8"
    Path(wrong).write_text(content, encoding=encoding)
    command = ["validate", "finetune", "--model", "tfidf", "--train"]
    assert main([*command, "b" if name == "a folder" else wrong, *flags]) == 2
    assert said in capsys.readouterr().err
    Path(right).write_text(corrected or content, encoding=encoding)
    assert main([*command, right, *other]) == 0
    rows = ALIKE[1:] if name == "no header, equal cells" else NUMBERED
    expected = len(rows) + (name == "a field with the separator")
    found = capsys.readouterr().out.splitlines()[0]
    assert sum(int(word.strip(",")) for word in found.split() if word.strip(",").isdigit()) == expected


def test_a_single_text_and_a_validation_file(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.txt").write_text("the good film was lovely " * 20 + "\n", encoding="utf-8")
    command = ["validate", "pretrain", "--data", str(tmp_path / "one.txt"), "--model", str(tiny_bert)]
    assert main(command) == 2
    assert "or name a file with --validation" in capsys.readouterr().err
    assert main([*command, "--validation", str(reviews / "pool.txt")]) == 0


def test_a_file_of_steps_is_run_as_told(
    reviews: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    step = f"command: finetune\ndata: {reviews}\nmodel: tfidf\noutput: 'my {{}}'\n"
    Path("my steps.yaml").write_text(f"{step.format(1)}---\n{step.format(2)}", encoding="utf-8")
    assert main(["finetune", "--config", "my steps.yaml"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert main(shlex.split(told.partition("Run them all: understudy ")[2])) == 0
    Path("odd.yaml").write_text("command: finetun\n", encoding="utf-8")
    assert main(["pretrain", "--config", "odd.yaml"]) == 2
    assert "There is no such command. Did you mean 'finetune'?" in capsys.readouterr().err
    Path("my one.yaml").write_text(step.format(3), encoding="utf-8")
    assert main(["pretrain", "--config", "my one.yaml"]) == 2
    assert main(shlex.split(capsys.readouterr().err.partition("Run: understudy ")[2])) == 0


def interrupt(patch: pytest.MonkeyPatch, step: int) -> None:
    """SIGTERM at a step of the training, counted from one."""
    taken = 0

    def signal_there(name: str) -> None:
        nonlocal taken
        taken += name.endswith(".step")
        if taken == step:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr("understudy.training.loop.failpoint", signal_there)


def test_a_run_that_was_stopped_goes_on_as_told(
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    command = [*flags, "--overwrite"]
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        assert main([*command, "--output", "my run"]) == 128 + signal.SIGTERM
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("Go on with the same command, --output 'my run' and --resume, without --overwrite.")
    assert main([*flags, "--output", "my run", "--resume"]) == 0

    settings = f"command: finetune\ndata: {reviews}\nmodel: {tiny_bert}\nepochs: 1\nbaseline: false\noutput: a run\n"
    Path("my steps.yaml").write_text(settings, encoding="utf-8")
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        assert main(["run", "my steps.yaml", "--overwrite"]) == 128 + signal.SIGTERM
    told = capsys.readouterr().err.splitlines()[-1].partition("Go on with: understudy ")[2]
    assert main(["predict", "--model", "a run", "--input", str(reviews / "pool.txt")]) == 2
    finish = capsys.readouterr().err.partition("Finish it first: understudy ")[2]
    assert shlex.split(finish) == ["finetune", "--config", "a run/config.yaml", "--output", "a run", "--resume"]
    assert main(shlex.split(told)) == 0
    assert main(["predict", "--model", "a run", "--input", str(reviews / "pool.txt")]) == 0


def test_the_command_that_lr_find_suggests_has_the_settings_of_the_sweep() -> None:
    flags = ["--data", "my texts", "--model", "awd_lstm", "--awd_lstm.no_tied", "--awd_lstm.hidden", "9", "--text"]
    flags += [
        "a+b",
        "it's",
        "--steps",
        "30",
        "--output",
        "x",
        "--tokenizer",
        "words:50",
        "--backward",
        "--clip",
        "0.25",
    ]
    swept = parse("lr-find pretrain", flags)
    command = usage(swept, SimpleNamespace(with_highest=float), 0.002)  # type: ignore[arg-type]
    trained = parse("pretrain", shlex.split(command)[2:])
    assert command.startswith("understudy pretrain ")
    assert given(trained) == {"learning_rate": 0.002} | {
        key: value for key, value in given(swept).items() if key not in ("output", "steps")
    }


def test_what_is_printed_for_the_shell_is_quoted(tmp_path: Path) -> None:
    place = "my 'runs'; rm"
    (line,) = [line for line in _next_steps(Path(place)).splitlines() if "predict" in line]
    assert shlex.split(line)[-1] == f"{place}/student"
    for command in (fine_tune(place), pretrain(place)):
        assert shlex.split(command)[3] == place


def test_a_card_says_how_to_run_it_again(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["finetune", "--data", str(reviews), "--model", "tfidf", "--output", "my run"]
    assert main(command) == 0
    (again,) = [
        line for line in Path("my run/README.md").read_text(encoding="utf-8").splitlines() if "--config" in line
    ]
    assert main(shlex.split(again)[1:]) == 0
    assert Path("my run-again/record.json").exists()
