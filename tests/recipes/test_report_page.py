"""``understudy report`` from the command line: what it reads, where it writes, what it refuses, and that it needs no torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from understudy.cli import main
from understudy.folders.contents import strangers
from understudy.folders.lock import Lock
from understudy.record import RunRecord
from understudy.runs.judging import comparing

PROGRAM = """
import sys
from understudy.cli import main
code = main(sys.argv[1:])
loaded = sorted({"torch", "transformers", "sklearn", "datasets"} & set(sys.modules))
print("loaded:", *loaded)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def tfidf(reviews: Path, tmp_path_factory: pytest.TempPathFactory, quick_throughout: None) -> Path:
    """A finished run of TF-IDF on the toy reviews."""
    folder = tmp_path_factory.mktemp("runs") / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def family(reviews: Path, tmp_path_factory: pytest.TempPathFactory, quick_throughout: None) -> Path:
    """A finished comparison of one kind of model with itself, by seeds."""
    folder = tmp_path_factory.mktemp("runs") / "family"
    given = ["--data", str(reviews), "--model", "tfidf", "--seeds", "0", "1", "--output", str(folder)]
    assert main(["finetune", *given]) == 0
    return folder


def refusals(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    """The sentences with which a command line is refused."""
    capsys.readouterr()
    assert main(["report", *map(str, arguments)]) == 2
    return [line.removeprefix("understudy: ") for line in capsys.readouterr().err.splitlines()]


def test_a_run_is_shown_with_what_its_record_says(tfidf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tfidf), "--overwrite"]) == 0
    assert str(tfidf / "report.html") in capsys.readouterr().out
    page = (tfidf / "report.html").read_text(encoding="utf-8")
    record = RunRecord.load(tfidf / "record.json")
    score = record.models[0]["metrics"]["test"]["accuracy"]
    assert f"{100 * score:.1f}" in page
    with np.load(tfidf / "answers.npz") as file:
        assert file["names"].tolist() == [model["name"] for model in record.models]
        wrong = np.flatnonzero(file["answers"][0].argmax(1) != file["labels"])
        assert (file["answers"][0].argmax(1) == file["labels"]).mean() == pytest.approx(score)
    shown = re.findall(r'<tr role="row" data-why="([^"]*)"><th[^>]*data-v="(\d+)"', page)
    assert {int(row) for why, row in shown if "sure" in why.split()} == {int(row) + 1 for row in wrong}
    assert f"{record.data['train']['rows']:,}" in page
    assert record.data["test"]["fingerprint"][:12] in page
    assert "could not be read again" not in page
    assert strangers(tfidf) == []  # the page is the run's, so --overwrite of the run takes it away


def test_a_run_without_answers_shows_the_mistakes_of_its_record(tfidf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "earlier"
    shutil.copytree(tfidf, folder, ignore=shutil.ignore_patterns("answers.npz", "report.html"))
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    record = RunRecord.load(folder / "record.json")
    assert len(record.mistakes) == page.count('<tr role="row" data-why="sure">')
    assert "has no file answers.npz" in page


def test_answers_that_are_too_many_are_not_kept_and_it_is_said(
    reviews: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_MOST_KEPT", 10)
    folder = tmp_path / "run"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(folder)]) == 0
    assert not (folder / "answers.npz").exists()
    assert any("is not kept" in note for note in RunRecord.load(folder / "record.json").notes)


def test_a_family_is_shown_with_its_means(family: Path, tmp_path: Path) -> None:
    assert main(["report", str(family), "--output", str(tmp_path / "deep" / "page.html")]) == 0
    page = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    mean = json.loads((family / "record.json").read_bytes())["aggregate"]["model"]["accuracy"]["mean"]
    assert f"{100 * mean:.1f} ± " in page
    assert "Runs of the family: seed-0, seed-1." in page
    assert "Answers are those of one run of the family, seed-0." in page


def test_no_torch_is_loaded(tfidf: Path, family: Path, tmp_path: Path) -> None:
    arguments = ["report", str(tfidf), str(family), "--output", str(tmp_path / "page.html")]
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "loaded:"
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


def test_folders_without_a_run_are_refused_together(
    tfidf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    said = refusals(capsys, tmp_path / "empty", tmp_path / "file", tmp_path / "nowhere", tfidf.parent, tfidf / "model")
    assert said == [
        f"{tmp_path}/empty: holds no run (no record.json). Name the --output of a command that trains, such as runs/compare.",
        f"{tmp_path}/file: is a file. Name the folder of a run.",
        f"{tmp_path}/nowhere: no such folder. Check the path.",
        f"{tfidf.parent}: holds no run itself (no record.json). Name the runs below it: {tfidf}.",
        f"{tfidf}/model: holds no run (no record.json), but is a part of one. Name {tfidf}.",
    ]
    assert refusals(capsys) == [
        "no folder: name that of a run, a family or a comparison, as in: understudy report runs/compare."
    ]


def test_a_run_is_named_once(
    tfidf: Path, family: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tfidf)
    assert refusals(capsys, tfidf, "link") == [f"link: is named twice (it is {tfidf}). Leave one out."]
    assert refusals(capsys, tfidf, tfidf) == [f"{tfidf}: is named twice. Leave one out."]
    inner = family / "seed-0"
    assert refusals(capsys, inner, family) == [f"{inner}: is a run of {family}, which is named too. Leave one out."]
    assert not (tmp_path / "report.html").exists()


def test_records_that_are_none_are_refused_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("one", b"[]"), ("two", b'{"command": 3}'), ("three", b"\xff{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_bytes(content)
    said = refusals(capsys, tmp_path / "one", tmp_path / "two", tmp_path / "three", "--output", tmp_path / "page.html")
    assert len(said) == 3
    for sentence, name in zip(said, ("one", "two", "three"), strict=True):
        assert sentence.startswith(f"{tmp_path}/{name}: its record.json is no record of a run (")
        assert sentence.endswith("Name the folder of a run.")
    assert not (tmp_path / "page.html").exists()


def test_an_output_that_exists_is_only_replaced_when_told(
    tfidf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert refusals(capsys, tfidf, "--output", page) == [
        f"{page}: exists already. Name another --output, or give --overwrite."
    ]
    assert page.read_text() == "mine"
    assert main(["report", str(tfidf), "--output", str(page), "--overwrite"]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_outputs_that_cannot_be(tfidf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert refusals(capsys, tfidf, "--output", tmp_path, "--overwrite") == [
        f"{tmp_path}: is a folder. Name a file with --output, such as {tmp_path}/report.html."
    ]
    assert refusals(capsys, tfidf, "--output", tmp_path / "file" / "page.html") == [
        f"{tmp_path}/file/page.html: cannot be written, because {tmp_path}/file is a file. Name another --output."
    ]
    before = (tfidf / "record.json").read_bytes()
    assert refusals(capsys, tfidf, "--output", tfidf / "record.json", "--overwrite") == [
        f"{tfidf}/record.json: belongs to a run, so it must not be replaced. Name another --output."
    ]
    assert (tfidf / "record.json").read_bytes() == before


def test_a_disk_that_is_full(
    tfidf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    (said,) = refusals(capsys, tfidf, "--output", tmp_path / "page.html")
    assert "the disk is full" in said
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_being_written_keeps_its_folder(
    tfidf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lock(tfidf):
        (said,) = refusals(capsys, tfidf, "--overwrite")
        assert "another process is writing this run" in said
        assert main(["report", str(tfidf), "--output", str(tmp_path / "page.html")]) == 0
