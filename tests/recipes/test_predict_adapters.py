"""``understudy predict --model base --adapters a b``: all adapters answer for each text."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import understudy
from understudy.cli import main

pytestmark = pytest.mark.usefixtures("quick_throughout")


@pytest.fixture(scope="module")
def runs(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    made = []
    for name, kind in (("one", "houlsby"), ("two", "pfeiffer")):
        command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--adapter", kind, "--epochs", "1"]
        assert main([*command, "--no_baseline", "--learning_rate", "0.02", "--output", str(folder / name)]) == 0
        made.append(folder / name)
    return made


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_each_adapter_answers_as_it_does_alone(ending: str, runs: list[Path], tiny_bert: Path, tmp_path: Path) -> None:
    texts = ["a good film", "the bad book, quite", "lovely"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    out = tmp_path / f"out.{ending}"
    command = ["predict", "--model", str(tiny_bert), "--input", str(tmp_path / "texts.txt"), "--output", str(out)]
    assert main([*command, "--threads", "1", "--adapters", *map(str, runs)]) == 0
    expected: Any = [understudy.load(run).predict(texts) for run in runs]
    if ending == "csv":
        with open(out, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = ["text"]
        for name in ("one", "two"):
            names += [f"{name}_label", f"{name}_probability_negative", f"{name}_probability_positive"]
        assert list(rows[0]) == names
        found = [[(row[f"{n}_label"], float(row[f"{n}_probability_positive"])) for row in rows] for n in ("one", "two")]
    else:
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        answers = [[line["answers"][name] for line in lines] for name in ("one", "two")]
        found = [[(answer["label"], answer["probabilities"]["positive"]) for answer in part] for part in answers]
    assert [row["text"] for row in (rows if ending == "csv" else lines)] == texts
    for part, other in zip(found, expected):
        for (label, probability), answer in zip(part, other):
            assert label == answer.label
            assert probability == pytest.approx(answer.probabilities["positive"], abs=2e-6)


def test_what_cannot_be(
    runs: list[Path], tiny_bert: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (["--model", str(tiny_bert), str(tiny_bert), "--adapters", str(runs[0])], "--adapters belong to one base"),
        (["--model", str(tiny_bert), "--adapters", str(reviews)], "is no adapter: it holds no adapter_config.json"),
        (
            ["--model", str(tiny_bert), "--adapters", str(runs[0]), str(runs[0])],
            "more than once. Leave one of them out",
        ),
        (["--model", str(tiny_bert), "--force"], "--force is for the base of --adapters"),
    ]
    for flags, message in cases:
        assert main(["predict", "--input", str(tmp_path / "x.txt"), *flags]) == 2
        (tmp_path / "x.txt").write_text("a good film\n")
        assert main(["predict", "--input", str(tmp_path / "x.txt"), *flags]) == 2
        assert message in capsys.readouterr().err.replace("\n", " "), message


def test_columns_that_an_adapter_was_not_trained_on_are_said(
    runs: list[Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs[1], tmp_path / "other")
    path = tmp_path / "other" / "model" / "adapter_config.json"
    path.write_text(path.read_text().replace('"text"\n', '"body"\n'))
    assert understudy.load(tmp_path / "other").task.text == (("body",),)
    (tmp_path / "rows.csv").write_text("text,body\ngood,bad\nfine,sad\n")
    command = ["predict", "--model", str(tiny_bert), "--input", str(tmp_path / "rows.csv"), "--adapters", str(runs[0])]
    assert main([*command, str(tmp_path / "other")]) == 0
    assert f"{tmp_path / 'other'}: was trained on 'body', but reads 'text' here." in capsys.readouterr().err
    assert main([*command, str(runs[1])]) == 0
    assert "was trained on" not in capsys.readouterr().err


def test_two_runs_of_one_name_are_called_as_their_paths(
    runs: list[Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(runs[1], tmp_path / "one")
    (tmp_path / "texts.txt").write_text("a good film\n")
    words = ["predict", "--model", str(tiny_bert), "--input", str(tmp_path / "texts.txt"), "--format", "jsonl"]
    assert main([*words, "--adapters", str(runs[0]), str(twin)]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert list(answers) == [str(runs[0]).replace(".", "_"), str(twin).replace(".", "_")]
    alone: Any = understudy.load(twin)
    found = list(answers.values())[1]["probabilities"]
    assert found == pytest.approx(alone.predict(["a good film"])[0].probabilities, abs=2e-6)


def test_a_base_with_other_weights_is_refused_unless_forced(
    runs: list[Path], larger_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("a good film\n")
    words = ["predict", "--model", str(larger_bert), "--input", str(tmp_path / "texts.txt"), "--adapters", str(runs[0])]
    assert main(words) == 2
    assert "whose weights are not those of this one" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0
    assert "one_label" in capsys.readouterr().out
