"""Whatever is wrong with what a person gives: exit code 2, the place, the rule and the way out; and nothing is touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from understudy.cli import main
from understudy.data.tasks import Task
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.record import RunRecord

SMALL = ["--student", "static", "--static.embedding", "8", "--static.hidden", "8", "--epochs", "1"]
LABELS = ("negative", "positive")

pytestmark = pytest.mark.usefixtures("quick")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def used(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("used") / "run"
    assert run("finetune", "--data", reviews, "--model", "tfidf", "--output", folder) == 0
    return folder


@pytest.fixture
def refused(used: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused: a fresh output is not made, one that is to be overwritten stays."""

    def check(*arguments: object) -> str:
        fresh, old = tmp_path / "fresh", tmp_path / "old"
        shutil.copytree(used, old, dirs_exist_ok=True)
        before = contents(old)
        said = []
        for output in (["--output", fresh], ["--output", old, "--overwrite"]):
            capsys.readouterr()
            assert run(*arguments, *output) == 2
            said.append(capsys.readouterr().err)
        assert not fresh.exists()
        assert contents(old) == before
        assert "Traceback" not in "".join(said)
        assert "understudy: " in said[0]
        return said[0]

    return check


def trained(
    folder: Path, encoder: Path, labels: tuple[str, ...] = LABELS, *, kind: str = "single_label", pair: bool = False
) -> Path:
    """A model folder as a run would leave it; nobody has trained it, but it says so."""
    text = (("sentence1",), ("sentence2",)) if pair else (("text",),)
    task = Task(text=text, label="label", kind=kind, labels=labels)  # type: ignore[arg-type]
    torch.manual_seed(0)
    save_model(folder, load_classifier(str(encoder), task), load_tokenizer(str(encoder)), task=task, max_length=64)
    return folder


# --- rows ------------------------------------------------------------------------------------------------------------

GOOD = b"text,label\na good film,positive\na bad film,negative\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.csv", b"txt,label\na,x\nb,y\n", ["t.csv: no text column", "'txt', 'label'", "--text"]),
        ("t.csv", b"text,stars\na,x\nb,y\n", ["t.csv: no label column", "'text', 'stars'", "--label"]),
        (
            "t.csv",
            GOOD + b"only this\n",
            ["t.csv, line 4: too few fields, 1 where the header has 2 (text, label)", "Add what is missing"],
        ),
        (
            "t.csv",
            GOOD + b"caf\xe9,positive\n",
            ["t.csv, line 4: not UTF-8 (byte 0xe9 at position 4", "Save the file as UTF-8"],
        ),
        ("t.csv", GOOD + b"nu\0l,positive\n", ["t.csv, line 4: a NUL byte in column 'text'", "Remove it"]),
        ("t.jsonl", b'{"text": "nu\\u0000l", "label": "a"}\n', ["t.jsonl, line 1: a NUL byte in column 'text'"]),
        (
            "t.csv",
            GOOD + b"  ,positive\n",
            ["t.csv, line 4: the text (text) is empty", "Fill it in, or remove the row"],
        ),
        ("t.csv", b"", ["t.csv: empty", "at least one row"]),
        ("t.csv", b"text,label\n", ["t.csv: a header, but no rows"]),
        ("t.csv", b"text,label\na,x\nb,x\n", ["t.csv: every label in column 'label' is 'x'", "at least two classes"]),
        (
            "t.csv",
            b"text,score\na,0.5\nb,NaN\nc,0.1\n",
            ["t.csv, line 3: no label in column 'score'", "Label the row or remove it"],
        ),
        ("t.csv", GOOD + b"no label,\n", ["t.csv, line 4: no label in column 'label'", "Label the row or remove it"]),
        (
            "t.csv",
            GOOD + b",positive\nshort\n\xff,\n",
            ["line 4: the text (text) is empty", "line 5: too few fields", "line 6: not UTF-8", "line 6: no label"],
        ),
        ("t.doc", b"PK", ["t.doc: not a format that can be read", ".csv, .tsv, .txt, .jsonl, .json, .parquet"]),
        ("t.txt", b"just text\n", ["t.txt: a txt file holds texts without labels"]),
    ],
)
def test_rows(name: str, content: bytes, expected: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / name).write_bytes(content)
    said = refused("finetune", "--train", tmp_path / name, "--model", "tfidf")
    for part in expected:
        assert part in said, part


def test_missing_files(reviews: Path, refused: Callable[..., str]) -> None:
    assert "trian.csv: no such file. Did you mean 'train.csv'?" in refused(
        "finetune", "--data", reviews / "trian.csv", "--model", "tfidf"
    )
    assert "There is no folder" in refused("finetune", "--data", reviews / "none" / "train.csv", "--model", "tfidf")
    assert "pol.txt: no such file. Did you mean 'pool.txt'?" in refused(
        "distill", "--data", reviews, "--unlabeled", reviews / "pol.txt", "--teacher", "some/teacher"
    )
    assert "answers.csv" in refused("distill", "--data", reviews, "--teacher", reviews / "answers.csv", *SMALL)


def test_a_label_that_training_lacks(reviews: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "test.csv").write_text("text,label\na good film,positive\na film,postive\n", encoding="utf-8")
    said = refused("finetune", "--data", reviews, "--test", tmp_path / "test.csv", "--model", "tfidf")
    assert "test.csv, line 3: label 'postive' is not one of 'negative', 'positive'" in said
    assert "Did you mean 'positive'?" in said


def test_unread_rows_put_no_blame_on_the_others(reviews: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    # all positive rows are broken: neither "one class only" nor "unknown label in the test split" would be true
    (tmp_path / "train.csv").write_text("text,label\na bad film,negative\na good film,positive,\n", encoding="utf-8")
    said = refused("finetune", "--train", tmp_path / "train.csv", "--test", reviews / "test.csv", "--model", "tfidf")
    assert "line 3: too many fields" in said
    assert "class" not in said
    assert "not one of" not in said


def test_what_is_only_odd_is_counted_and_said(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (reviews / "train.csv").read_text(encoding="utf-8").splitlines()
    test = (reviews / "test.csv").read_text(encoding="utf-8").splitlines()
    text = rows[1].rpartition(",")[0]
    (tmp_path / "train.csv").write_text("\n".join([*rows, f"{text},positive", *test[1:4]]) + "\n", encoding="utf-8")
    command = ["finetune", "--train", tmp_path / "train.csv", "--test", reviews / "test.csv", "--model", "tfidf"]
    assert run(*command, "--output", tmp_path / "run") == 0
    said = capsys.readouterr().err
    notes = RunRecord.load(tmp_path / "run" / "record.json").notes
    for expected in (
        "1 text occurs more than once with different labels, as on lines 2 and 122",
        "3 training rows also in the test split",
    ):
        assert expected in said
        assert any(expected in note for note in notes)


# --- settings --------------------------------------------------------------------------------------------------------


def test_unknown_flags_and_keys(reviews: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {reviews}\nstudnt: static\nbilstm: {{hiden: 9}}\n", encoding="utf-8")
    said = refused("distill", "--config", tmp_path / "c.yaml")
    assert "unknown key 'studnt' in" in said
    assert "Did you mean 'student'?" in said
    assert "unknown key 'bilstm.hiden' in" in said
    said = refused("distill", "--data", reviews, "--epocs", 3, "--techer", "x/y")
    assert "unknown flag --epocs. Did you mean '--epochs'?" in said
    assert "unknown flag --techer. Did you mean '--teacher'?" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--student", "layers:9"],
            "the teacher has 4 layers, so a student can keep 1 to 4 of them, but 9 were asked for",
        ),
        (["--student", "layers", "--layers.keep", "1", "7"], "numbers from 0 to 3, but are 1 7"),
        (
            ["--student", "layers:2", "--max_length", "100"],
            "max_length is 100, but this model (bert) reads at most 64 tokens. Give --max_length 64 or less",
        ),
        (
            ["--metric", "acuracy"],
            "metric must be one of accuracy, f1, f1_macro, matthews, average_precision for this task, but is 'acuracy'. Did you mean 'accuracy'?",
        ),
        (
            ["--precision", "fp16"],
            "precision fp16 needs a CUDA device, and there is none here. Give --precision auto",
        ),
        (["--track", "wandb"], "this needs 'wandb', which is not installed. Run: pip install 'understudy[tracking]'"),
        (["--tokenizer", "word:50"], "Did you mean 'words:50'?"),
        (["--embeddings", "radnom"], "there is no file 'radnom'. Did you mean 'random'?"),
        (
            ["--student", "static", "--embeddings", "{tmp}/vectors.txt"],
            "vectors.txt, line 2: a word and 3 numbers are expected, but there are 2",
        ),
        (["--student", "{tmp}"], "is not a model folder: it holds no config.json"),
    ],
)
def test_settings_that_do_not_suit(
    options: list[str],
    expected: str,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "vectors.txt").write_text("good 1 2 3\nfilm 1 2\n", encoding="utf-8")
    teacher = trained(tmp_path / "teacher", tiny_bert)
    options = [option.format(tmp=tmp_path) for option in options]
    assert expected in refused("distill", "--data", reviews, "--teacher", teacher, *options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--student", "static", "--layers.keep", "7", "9", "--bilstm.hidden", "999", "--static.hidden", "8"],
            ["--student static does not use --layers.keep.", "--student static does not use --bilstm.hidden."],
        ),
        (
            ["--student", "layers:2", "--tokenizer", "words:50", "--embeddings", "random"],
            ["layers:2 does not use --tokenizer. Leave it out.", "layers:2 does not use --embeddings."],
        ),
        (["--student", "{tmp}/teacher", "--layers.start", "random"], ["does not use --layers.start."]),
        (
            ["--student", "layers:2", "--layers.keep", "0", "1", "2", "--static.hidden", "8"],
            ["says how many layers to keep, but --layers.keep", "layers:2 does not use --static.hidden."],
        ),
        (
            ["--augmentation.mask", "0.3", "--augmentation.seed", "2"],
            ["--augment is 0, so --augmentation.mask has no effect.", "so --augmentation.seed has no effect."],
        ),
        (["--student", "static:3", "--static.hidden", "8"], ["student must be bilstm, static, layers:N"]),
        (["{tmp}/teacher"], ["--teacher names {tmp}/teacher more than once."]),
    ],
)
def test_settings_that_would_do_nothing(
    options: list[str], expected: list[str], reviews: Path, tiny_bert: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    teacher = trained(tmp_path / "teacher", tiny_bert)
    said = refused(
        "distill", "--data", reviews, "--teacher", teacher, *(option.format(tmp=tmp_path) for option in options)
    )
    assert len(said.splitlines()) == len(expected)
    for part in expected:
        assert part.format(tmp=tmp_path) in said


# --- models ----------------------------------------------------------------------------------------------------------


def test_folders_that_are_no_models(
    reviews: Path, tiny_bert: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    bare, pickled = tmp_path / "bare", tmp_path / "pickled"
    for folder in (bare, pickled):
        shutil.copytree(tiny_bert, folder)
        (folder / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    for command in (["finetune", "--data", reviews, "--model"], ["distill", "--data", reviews, "--teacher"]):
        assert "bare: holds config.json but no weights (model.safetensors). Copy the whole folder" in refused(
            *command, bare
        )
        assert "pickled: its weights are a pickle (pytorch_model.bin), which can run code" in refused(*command, pickled)
        said = refused(*command, tmp_path / "model.pkl")
        assert "model.pkl: a pickle can run code while it is loaded, so it is never opened" in said
        assert "save_pretrained" in said
    assert "is not a trained classifier" in refused("distill", "--data", reviews, "--teacher", tiny_bert)


def test_teachers_that_do_not_suit_the_data(
    reviews: Path, tiny_bert: Path, used: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    common = ["distill", "--data", reviews, *SMALL, "--teacher"]
    said = refused(*common, trained(tmp_path / "other", tiny_bert, ("bad", "good")))
    assert "other: its labels are 'bad', 'good', but the data's are 'negative', 'positive'" in said
    assert "rename the labels" in said
    said = refused(*common, trained(tmp_path / "several", tiny_bert, kind="multi_label"))
    assert "several: was trained for multi_label labels, but the data's are single_label" in said
    said = refused(*common, trained(tmp_path / "pairs", tiny_bert, pair=True))
    assert "pairs: was trained on pairs of texts, but the data's rows are single texts" in said
    said = refused("distill", "--data", reviews, "--student", "layers:2", "--teacher", used)
    assert "is cut from its teacher, but no teacher is a network" in said
    (tmp_path / "answers.csv").write_text("text,label\nnot in the data,positive\n", encoding="utf-8")
    assert "answers for none of the 120 texts" in refused(*common, tmp_path / "answers.csv")


def test_predict_and_bench_leave_old_files_alone(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = trained(tmp_path / "pairs", tiny_bert, pair=True)
    (tmp_path / "out.csv").write_text("precious", encoding="utf-8")
    predict = ["predict", "--model", pairs, "--input", reviews / "test.csv", "--output"]
    assert run(*predict, tmp_path / "out.csv") == 2
    assert "out.csv: exists already. Name another --output, or give --overwrite." in capsys.readouterr().err
    assert run(*predict, tmp_path / "out.csv", "--overwrite") == 2
    assert "no pair of text columns" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "precious"
    assert run(*predict, tmp_path / "out.csv" / "below") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run(*predict, tmp_path, "--overwrite") == 2
    assert "is a folder" in capsys.readouterr().err
    assert run("bench", "--models", pairs, "--texts", reviews / "test.csv") == 2
    assert "no pair of text columns" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "pairs"]


# --- where it goes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["finetune", "--model", "tfidf"],
        ["distill", "--teacher", "some/teacher"],
        ["validate", "finetune", "--model", "tfidf"],
    ],
)
def test_outputs_that_cannot_be(
    command: list[str], reviews: Path, used: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious", encoding="utf-8")
    unfinished = shutil.copytree(used, tmp_path / "unfinished")
    record = RunRecord.load(unfinished / "record.json")
    record.finished = False
    record.save(unfinished / "record.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{", encoding="utf-8")
    before = contents(tmp_path), contents(used)
    for output, options, expected in [
        (tmp_path / "file", [], "a file is there, but --output must be a folder. Name another --output."),
        (tmp_path / "file" / "run", [], "cannot be written"),
        (tmp_path / "mine", ["--overwrite"], "the folder is not empty and holds no run. Name another --output."),
        (
            tmp_path / "broken",
            ["--overwrite"],
            "not a record of a run (Invalid JSON: EOF while parsing an object at line 1 column 1). Name another --output.",
        ),
        (used, [], "a finished run is there already. Name another --output, or give --overwrite."),
        (
            unfinished,
            [],
            "an unfinished run is there. Name another --output, give --resume to go on with it, or --overwrite.",
        ),
    ]:
        assert run(*command, "--data", reviews, "--output", output, *options) == 2
        said = capsys.readouterr().err
        assert f"{output}" in said
        assert expected in said
        assert "Traceback" not in said
    assert (contents(tmp_path), contents(used)) == before


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("sources/", False),
        ("encodings/", False),
        ("record.json", True),
        ("teacher_logits/", True),
        ("checkpoints/", True),
        (".model.", True),
    ],
)
def test_a_disk_that_fills_up(
    written: str,
    made: bool,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = trained(tmp_path / "teacher", tiny_bert)
    command = [
        "distill",
        "--data",
        reviews,
        "--teacher",
        teacher,
        *SMALL,
        "--save_steps",
        2,
        "--no-baseline",
        "--output",
        tmp_path / "run",
    ]
    sync = os.fsync

    def full(descriptor: int) -> None:
        if written in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(*command) == 2
    said = capsys.readouterr().err
    assert "the disk is full (No space left on device). Make room there, or name another" in said
    assert "Traceback" not in said
    folder = tmp_path / "run"
    assert folder.exists() == made
    assert not [
        path
        for path in (*tmp_path.rglob("*"), *Path(os.environ["UNDERSTUDY_CACHE"]).rglob("*"))
        if path.suffix == ".tmp"
    ]
    assert not (folder / "model").exists()
    assert run(*command, "--resume") == 0
    assert json.loads((folder / "record.json").read_text(encoding="utf-8"))["finished"]


def test_progress_that_finds_no_room(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from understudy.training.progress.log import ProgressLog

    def full(self: ProgressLog, row: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    monkeypatch.setattr(ProgressLog, "write", full)
    assert run("finetune", "--data", reviews, "--model", tiny_bert, "--epochs", 1, "--output", tmp_path / "run") == 2
    assert "no space left on the device of" in capsys.readouterr().err
