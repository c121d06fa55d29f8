"""``understudy predict``, ``bench`` and ``validate``."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path

import pytest

import understudy
from understudy.cli import main
from understudy.data.readers.sources import read_texts


@pytest.fixture(scope="module")
def model(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(folder)]) == 0
    return folder


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Bytes on standard input, which a locale may have opened as it likes."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "ascii", "surrogateescape", newline="\n"))


def test_standard_input_to_csv_in_order(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a good film", 'a bad, "awful" book', "the great cast", ""]
    give(monkeypatch, ("\n".join(texts) + "\n").encode())
    assert main(["predict", "--model", str(model), "--batch_size", "2"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows[:3]] == ["positive", "negative", "positive"]
    assert sum(float(rows[0][f"probability_{label}"]) for label in ("negative", "positive")) == pytest.approx(
        1, abs=1e-5
    )


def test_standard_input_is_decoded_as_data_files_are(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "--model", str(model), "--format", "jsonl"]
    give(monkeypatch, "\ufeffa café\r\na good\u2028film\r\nthe end".encode())
    assert main(command) == 0
    said = [json.loads(line)["text"] for line in capfd.readouterr().out.split("\n")[:-1]]
    assert said == ["a café", "a good\u2028film", "the end"]
    give(monkeypatch, b"a good film\na caf\xe9\n")
    assert main([*command, "--batch_size", "1"]) == 2
    found = capfd.readouterr()
    assert "standard input, line 2: not UTF-8 (byte 0xe9 at position 6 of the line). Write texts as UTF-8" in found.err
    assert [json.loads(line)["text"] for line in found.out.splitlines()] == ["a good film"]


def test_flags_of_a_table_are_refused_where_lines_are_read(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b"id;headline\n1;a good film\n")
    given = ["--text", "headline", "--separator", "semicolon", "--encoding", "cp1252"]
    assert main(["predict", "--model", str(model), *given]) == 2
    told = capsys.readouterr().err
    for name in ("text", "separator", "encoding"):
        assert f"--{name} says how --input is read, but there is no such file" in told


def test_nothing_is_written_if_the_input_cannot_be_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert main(["predict", "--model", str(model), "--input", str(tmp_path / "other.csv")]) == 2
    assert capsys.readouterr().out == ""


def test_a_pipe_is_read_as_standard_input_is(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end, begin = os.pipe()
    os.write(begin, b"a good film\nthe bad cast\n")
    os.close(begin)
    try:  # what the shell gives for <(...)
        assert main(["predict", "--model", str(model), "--input", f"/dev/fd/{end}", "--format", "jsonl"]) == 0
    finally:
        os.close(end)
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == [
        "a good film",
        "the bad cast",
    ]
    assert main(["predict", "--model", str(model), "--input", f"{model}"]) == 2  # a folder is none
    assert "a folder, but a file is needed" in capsys.readouterr().err


def test_a_name_with_gz_is_compressed(model: Path, reviews: Path, tmp_path: Path) -> None:
    for name in ("p.csv", "p.jsonl"):
        command = ["predict", "--model", str(model), "--input", str(reviews / "pool.txt"), "--output"]
        assert main([*command, str(tmp_path / name)]) == 0
        assert main([*command, str(tmp_path / f"{name}.gz")]) == 0
        assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == (tmp_path / name).read_bytes()
    assert len(read_texts(tmp_path / "p.csv.gz")) == 150


def test_nothing_is_written_into_a_model(model: Path, reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--model", str(model), "--input", str(reviews / "test.csv")]
    for place in (model / "model" / "out.csv", model / "model" / "more" / "out.csv"):
        assert main([*words, "--output", str(place)]) == 2
        assert f"{place}: lies inside a model. Name another --output." in capsys.readouterr().err


def test_a_name_that_promises_another_format_is_refused(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "--model", str(model), "--input", str(reviews / "pool.txt"), "--output"]
    for name in ("out.tsv", "out.parquet", "out.tsv.gz"):
        assert main([*command, str(tmp_path / name)]) == 2
        assert "is not written here. Name a .csv or .jsonl file" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
    assert main([*command, str(tmp_path / "out.tsv"), "--format", "csv"]) == 0
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8").startswith("text,label")


def test_files_to_jsonl(model: Path, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert (
        main(
            [
                "predict",
                "--model",
                str(model),
                "--input",
                str(reviews / "test.csv"),
                str(reviews / "pool.txt"),
                "--output",
                str(out),
            ]
        )
        == 0
    )
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 210
    expected = understudy.load(model).predict([row["text"] for row in rows])
    assert [row["label"] for row in rows] == [answer.label for answer in expected]
    assert main(["predict", "--model", str(model), "--input", str(reviews / "test.csv"), "--output", str(out)]) == 2
    assert len(out.read_text(encoding="utf-8").splitlines()) == 210


def test_bench_prints_json(model: Path, reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--models", str(model), "--texts", str(reviews / "test.csv"), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["texts_per_second"] > 0
    assert entry["latency_ms"]["p50"] <= entry["latency_ms"]["p99"]


def test_validate_lists_every_fault(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood,positive\n,negative\nbad\n", encoding="utf-8")
    code = main(
        [
            "validate",
            "distill",
            "--train",
            str(tmp_path / "train.csv"),
            "--teacher",
            "bilstmm",
            "--student",
            "statik",
            "--alpha",
            "3",
            "--time_budget",
            "soon",
        ]
    )
    said = capsys.readouterr().err
    assert code == 2
    for fault in (
        "train.csv, line 3",
        "train.csv, line 4",
        "bilstmm",
        "'static'",
        "alpha must be",
        "time_budget must be",
    ):
        assert fault in said, fault


def test_validate_is_content_with_good_settings(reviews: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "finetune", "--data", str(reviews), "--model", "tfidf"]) == 0
    said = capsys.readouterr().out
    assert "train 120" in said
    assert "negative, positive" in said


def test_validate_loads_the_models_once_the_settings_are_in_order(
    reviews: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["validate", "distill", "--data", str(reviews), "--student", "layers:2"]
    assert main([*common, "--teacher", str(tiny_bert)]) == 2  # an encoder without a trained head
    assert "not a trained classifier" in capsys.readouterr().err


def test_validate_lists_the_faults_of_metric_teachers_and_student_together(
    reviews: Path, model: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers.csv").write_text("text,label\nnot in the data,positive\n", encoding="utf-8")
    common = ["validate", "distill", "--data", str(reviews), "--metric", "acuracy", "--max_length", "100"]
    teachers = ["--teacher", str(model), str(tiny_bert), str(tmp_path / "answers.csv")]
    assert main([*common, *teachers, "--student", str(tiny_bert), "--freeze", "embedings"]) == 2
    said = capsys.readouterr().err
    for fault in (
        "metric must be one of",
        "is not a trained classifier",
        "answers for none of the 120 texts",
        "embedings",
        "reads at most 64 tokens",
    ):
        assert said.count(fault) == 1, fault
    assert main([*common, *teachers, "--student", "static", "--tokenizer", "word:50"]) == 2
    said = capsys.readouterr().err
    assert "tokenizer 'word:50' is neither words:N nor bpe:N" in said
    assert "TF-IDF" not in said  # models are loaded once the settings are in order
    assert main([*common, "--teacher", str(model), "--student", "static", "--tokenizer", "teachr"]) == 2
    assert "Did you mean 'teacher'?" in capsys.readouterr().err
