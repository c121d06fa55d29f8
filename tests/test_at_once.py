"""Mistakes in settings, paths and columns are told before torch is loaded; predict says what it waits for."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.data.readers.first_look import looks_wrong
from understudy.errors import DataError

MISTAKES = {
    "finetune --data gone.csv --model tfidf": "gone.csv: no such file",
    "finetune --data a.csv --model tfidf --label lable": "a.csv: no column 'lable'. The columns are 'text', 'label'. Did you mean 'label'?",
    "finetune --data a.csv --model some/model --text txt": "a.csv: no column 'txt'",
    "finetune --data a.jsonl --model tfidf --label kind": "a.jsonl: no column 'kind'",
    "finetune --data a.csv --test b.csv --model tfidf": "b.csv: no text column 'text', as the other rows have",
    "finetune --data headless.csv --model tfidf": "as in --columns text label",
    "finetune --data a.csv --model tfidf --output a.csv/run": "cannot be written, because",
    "finetune --data a.csv --model runs/gone": "runs/gone: there is no such folder",
    "distill --data a.csv --teacher some/model --unlabeled gone.txt": "gone.txt: no such file",
    "distill --data a.csv --teacher gone.jsonl": "gone.jsonl: no such file. Did you mean 'a.jsonl'?",
    "validate predict --model runs/gone": "runs/gone: there is no such folder",
    "pretrain --data gone.txt --model awd_lstm": "gone.txt: no such file",
    "compare --data gone.csv --models tfidf model": "gone.csv: no such file",
    "compare --data a.csv --models tfidf --limit_train 4 8 --label lable": "a.csv: no column 'lable'",
    "run runs/gone.yaml": "runs/gone.yaml: no such file",
    "params runs/gone": "runs/gone: there is no such folder",
    "lr-find finetune --data gone.csv --model some/model": "gone.csv: no such file",
    "validate finetune --data gone.csv --model tfidf --epochs 0": "epochs must be greater than 0",
    "glue --task sst2 --data gone --model some/model": "gone: there is no such folder. Name the one that holds SST-2/",
    "glue --task rte --data . --model some/model": ".: no folder for RTE. Looked for RTE/ or rte/",
    "glue --task all --data gone --model some/model": "gone: holds none of GLUE's tasks",
    "glue --task sst2 --data . --model some/model --metric f2": "metric must be one of accuracy for this task",
    "validate distill --data a.csv --label lable --teacher some/model": "a.csv: no column 'lable'",
    "validate pretrain --data nothing.txt --model awd_lstm": "nothing.txt: no such file",
    "predict --model model --input gone.csv": "gone.csv: no such file",
    "fill-mask model nothing": "'nothing': has no gap to fill. Write <mask>, this model's mask token",
    "predict --model model --bptt 3": "unknown flag --bptt. It is a flag of pretrain, lr-find pretrain, not of predict.",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = "".join(f"words {i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "a.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (tmp_path / "b.csv").write_text("words,label\n" + rows, encoding="utf-8")
    (tmp_path / "headless.csv").write_text(rows, encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "b"}\n', encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    told = {"mask_token": {"content": "<mask>", "lstrip": True}}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_mistake_waits_for_torch(place: Path) -> None:
    code = (
        "import json, sys; from understudy.cli import main; "
        "codes = [main(line.split()) for line in json.loads(sys.argv[1])]; "
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy; assert set(codes) == {2}, codes"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps([*MISTAKES])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said in MISTAKES.values():
        assert said in done.stderr


def test_all_faults_of_the_data_come_with_the_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "c.csv").write_text("text,label\n,a\nwords,\n", encoding="utf-8")
    line = "distill --data a.csv --test c.csv --unlabeled gone.txt --teacher some/model"
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert "gone.txt: no such file" in said
    assert "c.csv, line 2: the text (text) is empty" in said


def test_large_data_are_not_read_for_more_faults(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.data.readers.first_look._MOST_READ", 100)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("a.csv")
    for data in ("a.csv", "a.zip"):
        with pytest.raises(DataError) as refused:
            looks_wrong(data, {}, text=["txt"], label=["lable"])
        assert [fault.split(". ")[0].split(": ")[1] for fault in refused.value.faults] == [
            "no column 'txt'",
            "no column 'lable'",
        ]
    with pytest.raises(DataError, match="as in --columns text label"):
        looks_wrong("headless.csv", {}, labelled=False)
    assert not looks_wrong("a.csv", {})


def test_what_is_in_order_is_not_refused_early(place: Path) -> None:
    assert not looks_wrong("a.csv", {"train": None, "validation": "a.jsonl", "test": None})
    assert not looks_wrong("a.csv", {}, text=["label"], label=["text"])
    assert not looks_wrong("some/hub-id", {"test": "a.csv"})
    assert not looks_wrong("imdb", {})
    assert not looks_wrong("headless.csv", {}, labelled=False, text=["words 0"])
    assert looks_wrong("headless.csv", {}, labelled=False)
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):  # the hub takes long
        looks_wrong("some/hub-id", {"test": "gone.csv"})


def test_predict_says_what_it_waits_for(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "--data", "a.csv", "--model", "tfidf", "--output", "runs/a"]) == 0

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"words 3\n")))
    assert main(["predict", "--model", "runs/a"]) == 0
    found = capsys.readouterr()
    assert "waits for texts from the keyboard, one a line. Ctrl-D on a line of its own ends them." in found.err
    assert len(found.out.splitlines()) == 2
