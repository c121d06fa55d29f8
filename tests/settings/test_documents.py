"""YAML files of settings: what cannot be meant is refused in a sentence, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.cli import main
from understudy.errors import ConfigError, shortened
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.settings.configuration import build, check
from understudy.settings.documents import read_documents

DIGITS = "9" * 5000
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (BOMB + "data: *a8\n", "stands for more than 10,000 values"),
        ("a: &a {b: 1}\n" + "c: &c {<<: [*a, *a]}\n" * 1 + "d: &d [*d]\n", "stands for more than 10,000 values"),
        ("seed: " + "9" * 5000, "cannot be read as int"),
        ("a: " + "[" * 1500, "nested too deeply"),
        ("a: " * 5000, "not a YAML file"),
        ("epochs: 1\nepochs: 2\n", "the key 'epochs' stands here a second time"),
        ("text: !!set {a, b}\n", "could not determine a constructor"),
        ("data: !!binary eA==\n", "could not determine a constructor"),
        ("data: !!timestamp 2024-01-01\n", "could not determine a constructor"),
        ("data: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("overwrite: !!bool perhaps\n", "cannot be read as bool"),
        ('epochs: !!int ""\n', "cannot be read as int"),
        ("1: 2\n", "must hold 'name: value' lines"),
        ("? [a]\n: b\n", "not a YAML file"),
        ("data: a\0b\n", "not a YAML file"),
        ("x: " + "y" * (1 << 20), "has more than 1,048,576 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_documents(str(path))
    (fault,) = raised.value.faults
    assert fault.startswith(f"{path}: ")
    assert sentence in fault
    assert len(fault) < 600


def test_dates_are_texts_and_aliases_and_merges_work(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "output: 2024-01-01\ndata: 2024-99-99\nbase: &base {epochs: 1, seed: 2}\nmore: {<<: *base, epochs: 3}\nlist: [*base]\n",
        encoding="utf-8",
    )
    (found,) = read_documents(str(path))
    assert found["output"] == "2024-01-01"
    assert found["data"] == "2024-99-99"
    assert found["more"] == {"epochs": 3, "seed": 2}
    assert found["list"] == [{"epochs": 1, "seed": 2}]


def test_numbers_are_decimal(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "a: [010, 1:30, 0x10, 1:30.5, 0b1, 0o17]\nb: [12, -3, 1_000, 0, 2.50, 1.0e-5, -.inf]\n", encoding="utf-8"
    )
    (found,) = read_documents(str(path))
    assert found["a"] == ["010", "1:30", "0x10", "1:30.5", "0b1", "0o17"]
    assert found["b"] == [12, -3, 1000, 0, 2.5, 1e-5, float("-inf")]
    assert build(Finetune, {"epochs": "010"}, origin="a.yaml").epochs == 10
    with pytest.raises(ConfigError, match="epochs must be an integer or 'auto', but is '1:30'"):
        build(Finetune, {"epochs": "1:30"}, origin="a.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", True), ("learning_rate", True), ("clip", False), ("seeds", [0, True]), ("seeds", True)],
)
def test_yes_and_no_are_no_numbers(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a number, but is"):
        build(Finetune, {name: value}, origin="a.yaml")
    assert build(Finetune, {"overwrite": True, "baseline": False}, origin="a.yaml").overwrite


@pytest.mark.parametrize(
    "arguments",
    [
        ["finetune", "--model", "bert", "--unfreeze", DIGITS],
        ["finetune", "--model", "bert", "--freeze", f"0-{DIGITS}"],
        ["finetune", "--model", "bert", "--seed", DIGITS],
        ["distill", "--teacher", "t", "--student", f"layers:{DIGITS}"],
        ["distill", "--teacher", "t", "--student", "layers", "--layers.keep", DIGITS],
        ["distill-lm", "--teacher", "t", "--student", "albert", "--albert.share", DIGITS],
        ["pretrain", "--model", "awd_lstm", "--tokenizer", f"bpe:{DIGITS}"],
        ["pretrain", "--model", "bert", "--vocabulary", f"new:{DIGITS}"],
    ],
)
def test_numbers_of_thousands_of_digits_are_refused_wherever_they_stand(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--data", "a.csv"]) == 2
    said = capsys.readouterr().err
    assert "without numbers of more than 1,000 digits" in said or "an integer of fewer digits" in said


@pytest.mark.parametrize("path", [".", "none.yaml", "a\0b.yaml", "x" * 5000])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        read_documents(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", float("inf")),
        ("learning_rate", "nan"),
        ("learning_rate", "1e-5:1e999"),
        ("learning_rate", "9" * 5000),
        ("learning_rate", 10**400),
        ("clip", float("inf")),
        ("clip", "inf"),
        ("clip", "1e999"),
        ("discriminative", float("inf")),
        ("weight_decay", float("nan")),
        ("warmup", float("nan")),
        ("epochs", 10**4000),
        ("epochs", 10**5000),
        ("seed", 2**32),
        ("batch_size", float("inf")),
        ("seeds", [1, 10**30]),
        ("time_budget", "9" * 400 + "h"),
        ("time_budget", "infh"),
        ("data", "a\0b"),
        ("data", "caf\udce9.csv"),
        ("text", ["a", "\ud800"]),
    ],
    ids=lambda value: shortened(value, 20),
)
def test_numbers_without_end_and_texts_that_are_none_are_refused(name: str, value: object) -> None:
    told = {"model": "tfidf", "data": "none.csv", name: value}
    with pytest.raises(ConfigError) as built:
        check(build(Finetune, told))
    with pytest.raises(ConfigError) as given:
        check(Finetune(**told))  # type: ignore[arg-type]
    for raised in (built, given):
        mine = [fault for fault in raised.value.faults if fault.startswith(name)]
        assert len(mine) == 1
        assert len(mine[0]) < 400


@pytest.mark.parametrize("flag", ["--clip=inf", "--weight_decay=nan", "--learning_rate=inf", "--time_budget=1e9h"])
@pytest.mark.parametrize("value", ["", "9" * 5000])
def test_flags_are_checked_alike(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    flag = f"{flag.partition('=')[0]}={value}" if value else flag
    assert main(["finetune", "--model", "tfidf", "--data", "none.csv", flag]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_values_that_commas_divide_are_told_to_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--data", "x.csv", "--model", "tfidf", "--seeds", "0,1"]) == 2
    assert "is '0,1'. Values stand apart: --seeds 0 1." in capsys.readouterr().err


def test_a_file_whose_name_is_no_utf8_or_too_long_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--model", "tfidf", "--data", "caf\udce9.csv"]) == 2
    assert (
        "data must be text (in UTF-8, without NUL; rename such a file), but is 'caf\\udce9.csv'"
        in capsys.readouterr().err
    )
    assert main(["finetune", "--model", "tfidf", "--data", "x" * 5000 + ".csv"]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_long_values_are_shortened() -> None:
    assert shortened("x" * 5000).count("x") < 100
    assert shortened([10**5000]) == "a value of type list that is too long to write"
