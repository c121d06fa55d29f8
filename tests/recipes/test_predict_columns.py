"""``understudy predict`` reads what was trained, and what it writes comes back whole from any reader."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import understudy
from understudy.cli import main
from understudy.data.readers.labels.cells import labels_in_cell
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.answer_lines import csv_header, csv_row, json_row
from understudy.inference.answers import Prediction
from understudy.recipes.use.predict import Predict


def table(path: Path, header: list[str], rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def trained(folder: Path, name: str, header: list[str], rows: list[tuple[str, ...]], *text: str) -> Path:
    data = table(folder / f"{name}.csv", header, rows)
    command = ["finetune", "--data", str(data), "--model", "tfidf", "--output", str(folder / name), "--no_baseline"]
    assert main([*command, "--text", *text]) == 0
    return folder / name


NEWS = [(f"good {i}", f"bad {i}", "up") if i % 2 else (f"bad {i}", f"good {i}", "down") for i in range(40)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of a headline, of a pair in the order hypothesis, premise, and of the pair in its usual order."""
    folder = tmp_path_factory.mktemp("columns")
    trained(folder, "headline", ["headline", "text", "label"], NEWS, "headline")
    trained(folder, "joined", ["headline", "lead", "label"], NEWS, "lead+headline")
    trained(folder, "pair", ["premise", "hypothesis", "label"], NEWS, "hypothesis", "premise")
    trained(folder, "usual", ["premise", "hypothesis", "label"], NEWS, "premise", "hypothesis")
    return folder


def answers(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("model", "header", "flags", "first", "said"),
    [
        ("headline", ["text", "headline", "x"], [], "bad 0", ""),
        ("headline", ["text", "title", "x"], [], "good 0", "there is no column 'headline', so 'text' is read."),
        ("headline", ["text", "headline", "x"], ["--text", "text"], "good 0", ""),
        ("joined", ["lead", "headline", "text"], [], "good 0 bad 0", ""),
        ("joined", ["text", "headline", "x"], [], "good 0", "there is no column 'lead', so 'text' is read."),
        ("pair", ["hypothesis", "premise", "x"], [], ["good 0", "bad 0"], ""),
        ("pair", ["sentence1", "sentence2", "x"], [], ["good 0", "bad 0"], "so 'sentence1' and 'sentence2' is read."),
        ("pair", ["hypothesis", "premise", "x"], ["--text", "premise", "hypothesis"], ["bad 0", "good 0"], ""),
    ],
)
def test_the_columns_of_the_task_come_first(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    header: list[str],
    flags: list[str],
    first: str | list[str],
    said: str,
) -> None:
    path = table(tmp_path / "in.csv", header, [(b, a, label) for a, b, label in NEWS])
    out = tmp_path / "out.jsonl"
    assert main(["predict", "--model", str(runs / model), "--input", str(path), "--output", str(out), *flags]) == 0
    assert answers(out)[0]["text"] == first
    found = capsys.readouterr()
    assert said in found.err if said else "is read" not in found.err
    assert found.out == ""


def test_a_file_with_neither_the_tasks_columns_nor_usual_ones_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "in.csv", ["a", "b"], [("one", "two")])
    assert main(["predict", "--model", str(runs / "headline"), "--input", str(path)]) == 2
    assert "no column 'headline' and no text column with a usual name" in capsys.readouterr().err
    assert main(["predict", "--model", str(runs / "headline"), "--input", str(path), "--text", "a"]) == 0


def test_bench_reads_the_columns_of_each_task(
    runs: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "in.csv", ["headline", "premise", "hypothesis"], NEWS[:8])
    assert main(["bench", "--models", str(runs / "headline"), str(runs / "pair"), "--texts", str(path)]) == 0
    assert capsys.readouterr().err == ""
    path = table(tmp_path / "other.csv", ["text"], [("a",)] * 8)
    assert main(["bench", "--models", str(runs / "headline"), "--texts", str(path)]) == 0
    assert "there is no column 'headline', so 'text' is read." in capsys.readouterr().err


def test_models_trained_on_the_columns_in_another_order_are_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "in.csv", ["premise", "hypothesis", "label"], NEWS)
    both = [str(runs / "pair"), str(runs / "usual")]
    assert main(["predict", "--model", *both, "--input", str(path), "--output", str(tmp_path / "o.csv")]) == 0
    said = f"{both[1]}: was trained on 'premise' and 'hypothesis', but reads 'hypothesis' and 'premise' here."
    assert said in capsys.readouterr().err
    assert main(["validate", "distill", "--data", str(path), "--teacher", *both]) == 0
    found = capsys.readouterr()
    assert f"{both[0]}: was trained on 'hypothesis' and 'premise'" in found.out + found.err
    assert f"{both[1]}: was trained" not in found.out + found.err


@pytest.mark.parametrize("ending", ["csv", "jsonl", "jsonl.gz"])
def test_answers_for_pairs_are_a_teacher_and_are_read_again(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    path = table(tmp_path / "in.csv", ["premise", "hypothesis", "label"], NEWS)
    out = tmp_path / f"answers.{ending}"
    model = ["--model", str(runs / "usual")]
    assert main(["predict", *model, "--input", str(path), "--output", str(out)]) == 0
    assert main(["validate", "distill", "--data", str(path), "--teacher", str(out), "--student", "static"]) == 0
    found = capsys.readouterr()
    assert "answers for 36 of 36 texts" in found.out + found.err
    again = tmp_path / f"again.{ending}"
    assert main(["predict", *model, "--input", str(out), "--output", str(again)]) == 0
    if not ending.endswith("gz"):
        assert again.read_bytes() == out.read_bytes()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.lists(
    st.sampled_from(["a", " ", '"', "'", ",", ";", "\t", "\r", "\n", "\r\n", "\u2028", "\x85", "\x0b", "\x1c", "NA"])
).map("".join)
LABELS = ("no|t", "yes", "maybe,so")


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.sets(st.sampled_from(LABELS))), min_size=1, max_size=6))
def test_any_reader_gets_its_rows_back(rows: list[tuple[str, str, set[str]]]) -> None:
    task = Task(text=(("a",), ("b",)), label="label", kind="multi_label", labels=LABELS)
    shares = dict.fromkeys(LABELS, 0.5)
    given_ = [((a, b), Prediction(sorted(names), shares)) for a, b, names in rows]
    written = csv_header(task) + "".join(csv_row(*row, task) for row in given_)
    expected = [[a, b, json.dumps(sorted(names), ensure_ascii=False)] for a, b, names in rows]
    assert [row[:3] for row in list(csv.reader(io.StringIO(written, newline="")))[1:]] == expected
    read = pd.read_csv(io.BytesIO(written.encode()), keep_default_na=False, dtype=str)
    assert read.iloc[:, :3].to_numpy().tolist() == expected
    arrow = pyarrow.csv.read_csv(
        io.BytesIO(written.encode()), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
    )
    assert arrow.num_rows == len(rows)
    assert len(list(csv.reader(written.splitlines()))) == len(rows) + 1  # a reader that ends lines where Python does
    lines = "".join(json_row(*row, task) for row in given_)
    assert [json.loads(line)["text"] for line in lines.splitlines()] == [[a, b] for a, b, _ in rows]


@pytest.mark.parametrize("name", ["3 17", "no|t", "a, b", "[x]"])
def test_names_that_look_like_several_come_back_as_one(name: str) -> None:
    task = Task(text=(("a",),), label="label", kind="multi_label", labels=(name, "yes"))
    cell = next(csv.reader([csv_row(("text",), Prediction([name], {}), task)]))[1]
    assert labels_in_cell(cell) == [name]


def test_a_carriage_return_stays_in_its_text(runs: Path, tmp_path: Path) -> None:
    texts = ["good film\rlovely cast", "bad plot", "good song\r", " padded ", "a\tb"]
    path = table(tmp_path / "in.csv", ["headline", "x"], [(text, "") for text in texts])
    command = ["predict", "--model", str(runs / "headline"), "--output"]
    assert main([*command, str(tmp_path / "out.csv"), "--input", str(path)]) == 0
    assert pd.read_csv(tmp_path / "out.csv").text.tolist() == texts
    assert main([*command, str(tmp_path / "again.csv"), "--input", str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_standard_output_is_utf8_whatever_the_terminal(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, format: str
) -> None:
    (tmp_path / "in.txt").write_text("café\nhello 😀\n", encoding="utf-8")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding))
    flags = ["--model", str(runs / "headline"), "--input", str(tmp_path / "in.txt"), "--format", format]
    assert main(["predict", *flags]) == 0
    assert all(text in written.getvalue().decode() for text in ("café", "hello 😀"))
    assert b"\xff" not in written.getvalue()
    assert "\r" not in written.getvalue().decode()


class Screen(io.TextIOWrapper):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_shown_no_raw_control_character(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("red \x1b[31mtext é\n", encoding="utf-8")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", Screen(written, "ascii"))
    assert main(["predict", "--model", str(runs / "headline"), "--input", str(tmp_path / "in.txt")]) == 0
    assert "\x1b" not in written.getvalue().decode()
    assert "text é" in written.getvalue().decode()


def test_from_python_too_and_into_what_collects_text(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("hello 😀\n", encoding="utf-8")
    recipe = Predict(model=[str(runs / "headline")], input=[str(tmp_path / "in.txt")])
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "cp1252"))
    assert recipe.run() == 1
    assert "hello 😀" in written.getvalue().decode()
    monkeypatch.setattr("sys.stdout", collected := io.StringIO())
    assert recipe.run() == 1
    assert "hello 😀" in collected.getvalue()


def test_what_a_command_prints_is_utf8(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = table(tmp_path / "data.csv", ["text", "label"], [(f"text {i}", ("добро", "зло")[i % 2]) for i in range(40)])
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", stream := io.TextIOWrapper(written, "ascii"))
    assert main(["validate", "finetune", "--data", str(data), "--model", "tfidf"]) == 0
    stream.flush()
    assert "добро" in written.getvalue().decode()


def test_a_nul_byte_on_standard_input_is_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\nt\0wo\n")))
    assert main(["predict", "--model", str(runs / "headline")]) == 2
    assert "standard input, line 2: a NUL byte" in capsys.readouterr().err


def test_answers_that_are_not_numbers_are_refused(runs: Path) -> None:
    model = understudy.load(runs / "headline")
    model.tfidf.bias[:] = float("nan")
    with pytest.raises(ModelError, match="not finite numbers"):
        model.predict(["good"])
