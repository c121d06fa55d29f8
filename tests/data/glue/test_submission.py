"""The leaderboard's submission: what is written passes, and what is broken is refused with the reason."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from understudy.cli import main
from understudy.data.glue.submission import FILES, predictions, submission_faults, write_answers, write_zip
from understudy.data.glue.tasks import GLUE


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All eleven files, full size, of a model that always answers alike."""
    folder = tmp_path_factory.mktemp("submission")
    found = {}
    for file, (task, rows) in FILES.items():
        answer = predictions(np.full((1, max(len(task.labels), 1)), 2.5), task)
        found[file] = write_answers(folder, file, answer * rows)
    return found


@pytest.fixture
def contents(files: dict[str, Path]) -> dict[str, bytes]:
    """The files as they stand in a zip; QQP's many rows are left to one test."""
    return {f"{name}.tsv": path.read_bytes() for name, path in files.items()}


def zipped(path: Path, contents: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return str(path)


def test_there_are_eleven_files_with_the_leaderboards_names_and_rows() -> None:
    assert {file: rows for file, (_, rows) in FILES.items()} == {
        "CoLA": 1063,
        "SST-2": 1821,
        "MRPC": 1725,
        "STS-B": 1379,
        "QQP": 390965,
        "MNLI-m": 9796,
        "MNLI-mm": 9847,
        "QNLI": 5463,
        "RTE": 3000,
        "WNLI": 146,
        "AX": 1104,
    }


def test_what_is_written_passes(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.zip", "other.zip"):
        write_zip(tmp_path / name, files)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert main(["validate", "glue", "--submission", str(tmp_path / "one.zip")]) == 0
    assert "all 11 files are in order" in capsys.readouterr().out


def test_lines_may_end_as_on_windows(contents: dict[str, bytes], tmp_path: Path) -> None:
    contents["RTE.tsv"] = contents["RTE.tsv"].replace(b"\n", b"\r\n")
    assert submission_faults(zipped(tmp_path / "a.zip", contents)) == []


def test_predictions_as_the_leaderboard_writes_them() -> None:
    assert predictions(np.array([[0.0, 1.0], [3.0, 1.0]]), GLUE["cola"]) == ["1", "0"]
    assert predictions(np.array([[0.0, 1.0, 5.0]]), GLUE["mnli"]) == ["contradiction"]
    assert predictions(np.array([[-0.2], [2.34567], [7.0]]), GLUE["stsb"]) == ["0.000", "2.346", "5.000"]


def _line(contents: dict[str, bytes], file: str, number: int, text: str) -> None:
    lines = contents[file].decode().splitlines()
    lines[number - 1] = text
    contents[file] = ("\n".join(lines) + "\n").encode()


def _shorten(contents: dict[str, bytes], file: str) -> None:
    contents[file] = b"\n".join(contents[file].splitlines()[:-1]) + b"\n"


BROKEN: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a file is missing": (lambda c: c.pop("RTE.tsv"), "RTE.tsv is missing"),
    "a file too many": (
        lambda c: c.update({"SNLI.tsv": b""}),
        "SNLI.tsv is no file of a submission. Did you mean 'WNLI.tsv'?",
    ),
    "in a folder": (lambda c: c.update({"out/WNLI.tsv": c.pop("WNLI.tsv")}), "out/WNLI.tsv lies in a folder"),
    "no header": (
        lambda c: _line(c, "CoLA.tsv", 1, "0\t1"),
        "CoLA.tsv, line 1: the header must be index, a tab, prediction",
    ),
    "empty": (lambda c: c.update({"AX.tsv": b""}), "AX.tsv, line 1: the header must be"),
    "rows": (lambda c: _shorten(c, "MRPC.tsv"), "MRPC.tsv: has 1,724 rows, but the test set has 1,725"),
    "order": (lambda c: _line(c, "QNLI.tsv", 3, "2\tentailment"), "QNLI.tsv, line 3: the index is '2', but must be 1"),
    "label": (
        lambda c: _line(c, "MNLI-m.tsv", 2, "0\tentails"),
        "MNLI-m.tsv, line 2: 'entails' is not one of entailment, neutral, contradiction, the labels of MNLI. Did you mean 'entailment'?",
    ),
    "number for a name": (
        lambda c: _line(c, "RTE.tsv", 2, "0\t1"),
        "RTE.tsv, line 2: '1' is not one of entailment, not_entailment",
    ),
    "score": (lambda c: _line(c, "STS-B.tsv", 2, "0\t5.2"), "STS-B.tsv, line 2: '5.2' is not a number from 0 to 5"),
    "not a number": (lambda c: _line(c, "STS-B.tsv", 2, "0\tnan"), "'nan' is not a number from 0 to 5"),
    "a number as Python writes it": (lambda c: _line(c, "STS-B.tsv", 2, "0\t0_3"), "'0_3' is not a number from 0 to 5"),
    "a number with spaces": (lambda c: _line(c, "STS-B.tsv", 2, "0\t 3.0"), "' 3.0' is not a number from 0 to 5"),
    "a number with a sign": (lambda c: _line(c, "STS-B.tsv", 2, "0\t+3"), "'+3' is not a number from 0 to 5"),
    "other digits": (
        lambda c: _line(c, "STS-B.tsv", 2, "0\t\N{ARABIC-INDIC DIGIT THREE}"),
        "is not a number from 0 to 5, in digits and a point",
    ),
    "another label": (
        lambda c: _line(c, "CoLA.tsv", 2, "0\tgrammatical"),
        "CoLA.tsv, line 2: 'grammatical' is not one of 0, 1, the labels of CoLA. Write one of them.",
    ),
    "fields": (
        lambda c: _line(c, "SST-2.tsv", 5, "3,1"),
        "SST-2.tsv, line 5: must be an index, a tab and a prediction, but has 1 fields",
    ),
    "rows that are not lines": (
        lambda c: c.update({"WNLI.tsv": c["WNLI.tsv"].replace(b"\n", b"\x0c")}),
        "WNLI.tsv, line 1: the header must be index, a tab, prediction",
    ),
    "not UTF-8": (lambda c: c.update({"WNLI.tsv": b"index\tprediction\n0\t\xff\n"}), "WNLI.tsv: is not UTF-8"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_submission_is_refused_with_the_reason(what: str, contents: dict[str, bytes], tmp_path: Path) -> None:
    change, said = BROKEN[what]
    change(contents)
    (fault,) = submission_faults(zipped(tmp_path / "broken.zip", contents))
    assert said in fault


def test_all_faults_are_said_together_and_many_of_one_kind_are_counted(
    contents: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del contents["CoLA.tsv"]
    contents["WNLI.tsv"] = contents["WNLI.tsv"].replace(b"\t0\n", b"\tno\n").replace(b"\t1\n", b"\tyes\n")
    assert main(["validate", "glue", "--submission", zipped(tmp_path / "a.zip", contents)]) == 2
    said = capsys.readouterr().err
    assert "CoLA.tsv is missing" in said
    assert "143 more rows with a fault" in said


def test_no_zip_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in submission_faults(str(tmp_path / "nowhere.zip"))[0]
    (tmp_path / "a.zip").write_bytes(b"index\tprediction\n")
    assert "is not a zip that can be read" in submission_faults(str(tmp_path / "a.zip"))[0]
    assert "is a folder, but a submission is a zip. Zip the files in it" in submission_faults(str(tmp_path))[0]
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("RTE.tsv", "index\tprediction\n")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("RTE.tsv", "index\tprediction\n")
    assert any("RTE.tsv is in the zip 2 times" in fault for fault in submission_faults(str(twice)))
    assert main(["glue", "--submission", "a.zip"]) == 2
    assert "understudy validate glue --submission a.zip" in capsys.readouterr().err


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_streams_are_refused(method: int, contents: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        place = archive.getinfo("AX.tsv").header_offset + len("AX.tsv") + 60  # past the header, within the stream
    whole = bytearray(path.read_bytes())
    whole[place : place + 60] = b"\xff" * 60
    path.write_bytes(whole)
    (fault,) = submission_faults(str(path))
    assert "is not a zip that can be read" in fault
