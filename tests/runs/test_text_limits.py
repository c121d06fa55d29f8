"""What is beyond the limit of a text is counted and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.cli import main
from understudy.record import RunRecord

SMALL = ["--epochs", "1", "--no_baseline"]
AWD_LSTM = ["--awd_lstm.embedding", "8", "--awd_lstm.hidden", "10", "--bptt", "10", "--tokenizer", "words:60"]


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Rows of three words, but for two of forty in training and one in validation."""
    folder = tmp_path / "long"
    folder.mkdir()
    few, many = "a good film,pos\na bad film,neg\n", f"{'good ' * 40},pos\n"
    for name, rows in {"train": few * 6 + many * 2, "validation": few * 4 + many, "test": few * 4}.items():
        (folder / f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    return folder


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("more", [SMALL, ["--features", "frozen", "--no_baseline"]])
def test_texts_that_are_cut_are_counted(long: Path, tiny_bert: Path, tmp_path: Path, more: list[str]) -> None:
    asked = ["--data", str(long), "--model", str(tiny_bert), "--max_length", "16", *more]
    assert main(["finetune", *asked, "--output", str(tmp_path / "run")]) == 0
    notes = RunRecord.load(tmp_path / "run" / "record.json").notes
    beyond = "texts have 16 tokens or more; the rest is not read (--max_length moves the limit)."
    assert f"train: 2 of 14 {beyond}" in notes
    assert f"validation: 1 of 9 {beyond}" in notes


@pytest.mark.usefixtures("quick")
def test_a_student_says_what_it_does_not_read(long: Path, tiny_bert: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    asked = ["--data", str(long), "--max_length", "64", *SMALL]
    assert main(["finetune", *asked, "--model", str(tiny_bert), "--output", str(teacher)]) == 0
    assert not any("beyond" in note for note in RunRecord.load(teacher / "record.json").notes)
    small = ["--student", "static", "--static.embedding", "8", "--static.hidden", "8", "--max_length", "20"]
    more = ["--teacher", str(teacher), "--output", str(tmp_path / "run")]
    assert main(["distill", *asked, *small, *more]) == 0
    notes = RunRecord.load(tmp_path / "run" / "record.json").notes
    assert any(note.startswith("student: 2 of 14 texts have 20 tokens or more") for note in notes)


@pytest.mark.usefixtures("quick")
def test_a_document_beyond_what_an_lstm_reads_is_no_secret(
    long: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.models.files.lengths._DOCUMENT_LENGTH", 30)
    lm = tmp_path / "lm"
    asked = [
        "--data",
        str(reviews / "pool.txt"),
        "--model",
        "awd_lstm",
        "--batch_size",
        "4",
        "--epochs",
        "1",
        *AWD_LSTM,
    ]
    assert main(["pretrain", *asked, "--output", str(lm)]) == 0
    run = tmp_path / "run"
    assert main(["finetune", "--data", str(long), "--model", str(lm), *SMALL, "--output", str(run)]) == 0
    notes = RunRecord.load(run / "record.json").notes
    said = "train: 2 of 14 texts have 30 tokens or more; the rest is not read (cut such documents into several rows)."
    assert said in notes
