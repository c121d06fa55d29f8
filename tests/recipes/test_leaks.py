"""Rows that report or choose, and that the teacher learnt from, are said: in the plan, the record and the card."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import understudy
from understudy.recipes.choose.validate import validate
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick_throughout")
SAID = "may be too good"


def leaks(record: RunRecord) -> list[str]:
    return [note for note in record.notes if "learnt from" in note]


@pytest.fixture(scope="module")
def teacher(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TF-IDF of the training rows."""
    run = tmp_path_factory.mktemp("runs") / "teacher"
    understudy.Finetune(data=str(reviews), model="tfidf", output=str(run)).run()
    return run


@pytest.fixture(scope="module")
def mixed(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test rows, and seven of the training rows."""
    path = tmp_path_factory.mktemp("data") / "mixed.csv"
    test, train = ((reviews / f"{name}.csv").read_text(encoding="utf-8").splitlines() for name in ("test", "train"))
    path.write_text("\n".join([*test, *train[1:8]]) + "\n", encoding="utf-8")
    return path


def distil(teacher: Path, output: Path, **settings: str) -> understudy.Distill:
    return understudy.Distill(
        teacher=[str(teacher)], student="static", epochs=1, baseline=False, references=False, output=str(output), **settings
    )  # fmt: skip


def test_test_rows_that_the_teacher_learnt_from_are_counted(
    reviews: Path, teacher: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"train": str(reviews / "validation.csv"), "validation": str(reviews / "train.csv"), "test": str(mixed)}
    recipe = distil(teacher, tmp_path / "run", **rows)
    assert sum("learnt from" in note for note in validate("distill", recipe)) == 2
    capsys.readouterr()
    record = recipe.run()
    said = capsys.readouterr()
    assert leaks(record) == [
        f"validation: {teacher} learnt from 120 rows of these 120, so scores on them {SAID}. Give the --data and --seed of its run, or other rows for this part.",
        f"test: {teacher} learnt from 7 rows of these 67, so scores on them {SAID}. Give the --data and --seed of its run, or other rows for this part.",
    ]
    assert RunRecord.load(tmp_path / "run" / "record.json").notes == record.notes
    card = " ".join((tmp_path / "run" / "README.md").read_text(encoding="utf-8").split())
    assert "learnt from 7 rows of these 67" in card
    assert "learnt from 7 rows of these 67" in " ".join((said.out + said.err).split())

    # the model folder alone stands for its run; a student passes on what its teacher learnt from
    again = distil(
        tmp_path / "run" / "model",
        tmp_path / "second",
        embeddings="random",
        train=str(reviews / "test.csv"),
        validation=str(mixed),
    )
    assert [note.split(",")[0] for note in leaks(again.run())] == [
        f"validation: {tmp_path / 'run' / 'model'} learnt from 7 rows of these 67"
    ]


def test_a_plan_says_it(
    reviews: Path, teacher: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = distil(teacher, tmp_path / "run", data=str(reviews), test=str(mixed))
    recipe.dry_run = True
    recipe.run()
    said = capsys.readouterr()
    assert "learnt from 7 rows of these 67" in " ".join((said.out + said.err).split())


def test_nothing_is_said_where_nothing_leaks_or_nothing_is_known(
    reviews: Path, teacher: Path, mixed: Path, tmp_path: Path
) -> None:
    assert leaks(distil(teacher, tmp_path / "same", data=str(reviews)).run()) == []
    shutil.copytree(teacher / "model", tmp_path / "elsewhere")
    assert leaks(distil(tmp_path / "elsewhere", tmp_path / "unknown", data=str(reviews), test=str(mixed)).run()) == []


def test_another_seed_cuts_off_rows_that_the_teacher_learnt_from(reviews: Path, tmp_path: Path) -> None:
    rows = {"data": str(reviews / "train.csv")}
    understudy.Finetune(model="tfidf", output=str(tmp_path / "teacher"), **rows).run()
    assert leaks(distil(tmp_path / "teacher", tmp_path / "same", **rows).run()) == []
    other = distil(tmp_path / "teacher", tmp_path / "other", **rows)
    other.seed = 1
    assert leaks(other.run())[0].startswith("validation: ")


def test_a_damaged_list_is_said(reviews: Path, teacher: Path, tmp_path: Path) -> None:
    shutil.copytree(teacher, tmp_path / "teacher")
    (tmp_path / "teacher" / "learnt_rows.bin").write_bytes(b"no hashes")
    (note,) = leaks(distil(tmp_path / "teacher", tmp_path / "run", data=str(reviews)).run())
    assert "learnt_rows.bin is damaged" in note


def test_a_family_says_it_once(reviews: Path, teacher: Path, mixed: Path, tmp_path: Path) -> None:
    recipe = distil(teacher, tmp_path / "family", data=str(reviews), test=str(mixed))
    recipe.seeds = [0, 1]
    record = recipe.run()
    assert [note.partition(",")[0] for note in leaks(record)] == [f"test: {teacher} learnt from 7 rows of these 67"]
    assert "learnt from 7 rows" in " ".join((tmp_path / "family" / "README.md").read_text(encoding="utf-8").split())


def test_a_comparison_says_it_of_its_teacher(reviews: Path, teacher: Path, mixed: Path, tmp_path: Path) -> None:
    record = understudy.Compare(
        data=str(reviews),
        test=str(mixed),
        models=["static+distilled"],
        teacher=str(teacher),
        epochs=1,
        output=str(tmp_path / "which"),
    ).run()
    assert any("learnt from 7 rows of these 67" in note for note in leaks(record))
