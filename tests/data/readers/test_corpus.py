"""Raw text: what is read from files of every kind, and what is reported about unusable ones."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from understudy.data import texts
from understudy.data.readers import corpus as corpora
from understudy.data.readers.corpus import load_corpus
from understudy.data.readers.formats import text_lines
from understudy.data.texts import Texts
from understudy.errors import DataError


def lines(part: Texts) -> list[str]:
    return [text for (text,) in part]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    return folder


def test_a_folder_of_splits_under_every_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train="one\ntwo\n", test="five\n")
    (folder / "valid.txt.gz").write_bytes(gzip.compress(b"three\nfour"))
    found = load_corpus(str(folder))
    assert lines(found.train) == ["one", "two"]
    assert lines(found.validation) == ["three", "four"]
    assert found.test is not None
    assert lines(found.test) == ["five"]
    assert found.notes == ()
    assert list(found.texts()) == ["train", "validation", "test"]


def test_empty_lines_are_left_out_counted_and_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train="one\n\n  \ntwo\n", valid="three\n")
    found = load_corpus(str(folder))
    assert lines(found.train) == ["one", "two"]
    assert found.notes == (f"{folder}/train.txt: 2 empty lines left out (first: {folder}/train.txt, line 2).",)


def test_a_labelled_table_is_raw_text_too(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text("text,label\n" + "".join(f"article {i},{i % 2}\n" for i in range(20)) + " ,1\n", encoding="utf-8")
    found = load_corpus(str(path), seed=1)
    everything = {f"article {i}" for i in range(20)}
    assert set(lines(found.train)) | set(lines(found.validation)) == everything
    assert len(found.validation) == 2
    assert "1 row without text left out" in found.notes[0]
    assert "validation: 2 texts cut off the training texts (seed 1)." in found.notes
    titled = tmp_path / "titled.jsonl"
    titled.write_text('{"head": "A", "body": "b c"}\n{"head": "D", "body": "e f"}\n', encoding="utf-8")
    joined = load_corpus(str(titled), text=["head+body"])
    assert {*lines(joined.train), *lines(joined.validation)} == {"A b c", "D e f"}


def test_the_column_is_that_of_the_first_table(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train="one\ntwo\n")
    table = tmp_path / "news.csv"
    table.write_text("said,label\nthree,0\nfour,1\n", encoding="utf-8")
    found = load_corpus(train=str(folder / "train.txt"), validation=str(table), text=["said"])
    assert lines(found.train) == ["one", "two"]
    assert lines(found.validation) == ["three", "four"]
    with pytest.raises(DataError, match=r"no text column with a usual name"):
        load_corpus(train=str(folder / "train.txt"), validation=str(table))
    with pytest.raises(DataError, match="--text names the column of a table, but all texts are lines of txt files"):
        load_corpus(str(folder), text=["said"])
    with pytest.raises(DataError) as raised:
        load_corpus(train=str(folder / "train.txt"), validation=str(tmp_path / "nowhere.csv"), text=["said"])
    assert len(raised.value.faults) == 1


def test_the_cut_and_the_draw_follow_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"text {i}\n" for i in range(500)), encoding="utf-8")
    one, same, other = (load_corpus(str(path), limit_train=100, seed=seed) for seed in (0, 0, 1))
    assert len(one.train) == 90
    assert len(one.validation) == 10
    assert lines(one.train) == lines(same.train) != lines(other.train)
    assert not set(lines(one.train)) & set(lines(one.validation))
    assert "train: 100 of 500 texts were drawn at random (seed 0)." in one.notes
    assert "train: all 500 texts are used" in load_corpus(str(path), limit_train=900).notes[0]


def test_a_large_corpus_keeps_its_texts_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_VALIDATION_AT_MOST", 7)
    path = tmp_path / "a.txt"
    path.write_text("".join(f"text {i}\n" for i in range(500)), encoding="utf-8")
    assert len(load_corpus(str(path)).validation) == 7


def test_texts_that_stand_in_training_too_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train="one\ntwo\n", valid="two\nthree\n", test="four\n")
    found = load_corpus(str(folder))
    assert found.notes == ("validation: 1 text is also among the training texts; its scores may be too good.",)
    assert lines(found.train) == ["one", "two"]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train="fine\n", valid="", test=" \n\n")
    (folder / "train.txt").write_bytes(b"fine\n\xff bad\nnul \0 byte\n")
    with pytest.raises(DataError) as caught:
        load_corpus(str(folder))
    said = str(caught.value)
    assert f"{folder}/train.txt, line 2: not UTF-8 (byte 0xff at position 1 of the line)" in said
    assert f"{folder}/train.txt, line 3: a NUL byte" in said
    assert f"{folder}/valid.txt: empty." in said
    assert f"{folder}/test.txt: every text is empty." in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a single line\n", "holds a single text, so no validation part can be cut off. Put each text"),
        ("\n\na single line\n\n", "holds a single text"),
        ("", "empty"),
    ],
)
def test_too_little_text(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        load_corpus(str(path))


def test_no_such_file_and_no_text_column(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"Did you mean 'novel\.txt'"):
        load_corpus(str(tmp_path / "nove.txt"))
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="no text column with a usual name"):
        load_corpus(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("gap", [" ", ""])
def test_one_enormous_line_is_cut_and_nothing_of_it_is_lost(gap: str, zipped: bool, tmp_path: Path) -> None:
    words = gap.join(f"wörd{i}" for i in range(60_000))
    path = tmp_path / ("a.txt.gz" if zipped else "a.txt")
    content = f"first\n{words}\nlast\n".encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = load_corpus(str(path), validation=str(_other(tmp_path)))
    read = lines(found.train)
    assert (read[0], read[-1]) == ("first", "last")
    assert "".join(read[1:-1]) == words
    assert len(read) > 5
    assert all(len(text.encode()) <= 1 << 16 for text in read)
    if gap:
        assert all(text.startswith(" wörd") for text in read[2:-1])
    said = "1 line of more than 65,536 bytes cut into several texts, at spaces where there are some."
    assert any(said in note for note in found.notes)


def _other(folder: Path) -> Path:
    path = folder / "other.txt"
    path.write_text("another text\n", encoding="utf-8")
    return path


def test_memory_does_not_grow_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(texts, "_BLOCK_BYTES", 1 << 20)
    peaks = []
    for megabytes in (4, 12):
        path = tmp_path / f"{megabytes}.txt"
        path.write_text(" ".join(str(i) for i in range(10**7, 10**7 + megabytes * 111_000)), encoding="utf-8")
        tracemalloc.start()
        load_corpus(str(path), validation=str(_other(tmp_path)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] < 4e6


def test_a_line_just_at_the_limit_is_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_LONGEST", 10)
    path = tmp_path / "a.txt"
    path.write_text("123456789\n12345 7890\nab\n", encoding="utf-8")
    found = load_corpus(str(path), validation=str(_other(tmp_path)))
    assert lines(found.train) == ["123456789", "12345", " 7890", "ab"]
