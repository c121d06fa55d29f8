"""The run folder's rules, and what its record keeps."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from understudy import atomic
from understudy.errors import OutputError
from understudy.record import Run, RunRecord, default_folder, hardware, open_run, output_faults, to_yaml, versions

CONFIG: dict[str, Any] = {"data": "a.csv", "epochs": 3, "bilstm": {"hidden": 9}, "time_budget": None}


def begin(folder: Path, config: dict[str, Any] = CONFIG, **options: Any) -> Run:
    return open_run("distill", config, given=options.pop("given", {}), output=str(folder), **options)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    made = RunRecord(
        command="distill",
        config=CONFIG,
        seed=3,
        models=[{"name": "student", "metrics": {"test": {"accuracy": 0.1 + 0.2}}}],
    )
    made.notes.append("ein Wort: „schön“")
    made.save(tmp_path / "record.json")
    again = RunRecord.load(tmp_path / "record.json")
    assert again == made
    assert again.model("student")["metrics"]["test"]["accuracy"] == 0.1 + 0.2
    with pytest.raises(KeyError, match="no model 'teacher' in this record, only 'student'"):
        again.model("teacher")


def test_numbers_that_are_not_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        RunRecord(command="distill", config={}, timings={"train_s": float("nan")}).save(tmp_path / "record.json")
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_folder_holds_config_and_record(tmp_path: Path) -> None:
    run = begin(tmp_path / "a" / "b", seed=7)
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.yaml", "record.json"]
    assert (run.folder / "config.yaml").read_text(encoding="utf-8") == to_yaml("distill", CONFIG)
    saved = RunRecord.load(run.folder / "record.json")
    assert (saved.seed, saved.finished, saved.config) == (7, False, CONFIG)


def test_an_unfinished_run_is_resumed_with_what_it_had(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    with run.timed("train_s"):
        run.say("a note")
    run.say("a note")
    (run.folder / "config.yaml").unlink()  # killed between the record and this
    (run.folder / ".model.0123abcd.tmp").mkdir()
    again = begin(tmp_path / "run", CONFIG | {"time_budget": "3m"}, resume=True)
    assert again.record.notes == ["a note"]
    before = again.record.timings["train_s"]
    with again.timed("train_s"):
        pass
    assert RunRecord.load(run.folder / "record.json").timings["train_s"] > before > 0
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.yaml", "record.json"]


def test_other_settings_cannot_be_resumed_and_all_are_named(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    with pytest.raises(OutputError) as caught:
        begin(tmp_path / "run", CONFIG | {"epochs": 4, "data": "b.csv"}, resume=True)
    assert [fault.partition(": ")[2] for fault in caught.value.faults] == [
        "was begun with data = 'a.csv', but is resumed with 'b.csv'. Give the same, another --output, or --overwrite instead of --resume to begin again.",
        "was begun with epochs = 3, but is resumed with 4. Give the same, another --output, or --overwrite instead of --resume to begin again.",
    ]
    with pytest.raises(OutputError, match="holds a run of 'distill', not of 'finetune'"):
        open_run("finetune", CONFIG, given={}, output=str(tmp_path / "run"), resume=True)


def test_resume_without_a_run_begins_one(tmp_path: Path) -> None:
    assert begin(tmp_path / "run", resume=True).record.timings == {}


def test_a_finished_run_is_given_back_kept_or_replaced(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (run.folder / "checkpoints").mkdir()
    (run.folder / "model").mkdir()
    (run.folder / "model" / "config.json").touch()
    run.finish()
    assert not (run.folder / "checkpoints").exists()
    with pytest.raises(
        OutputError, match=r"a finished run is there already. Name another --output, or give --overwrite"
    ):
        begin(tmp_path / "run")
    assert begin(tmp_path / "run", resume=True).record.finished
    assert (run.folder / "model").exists()
    fresh = begin(tmp_path / "run", overwrite=True)
    assert not fresh.record.finished
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.yaml", "record.json"]


def test_overwriting_that_is_cut_short_leaves_a_run_that_can_be_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path / "run")
    for name in ("a", "z"):
        (run.folder / name).touch()
    run.finish()
    removed: list[Path] = []
    known = atomic.remove

    def dies(path: Path) -> None:
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(path)
        known(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "remove", dies)
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path / "run", overwrite=True)
    assert (run.folder / "record.json").exists()
    assert not begin(tmp_path / "run", overwrite=True).record.finished


def test_a_folder_in_which_nothing_got_its_name_is_empty(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".record.json.0a1b2c3d4e5f.tmp").write_bytes(b"{")
    begin(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "record.json"]


def test_faults_of_an_output_touch_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    options: dict[str, Any] = {"overwrite": True, "resume": False}
    assert (
        "is a file"
        in output_faults("distill", CONFIG, given={}, output=str(tmp_path / "file" / "x" / "y"), **options)[0]
    )
    assert "a file is there" in output_faults("distill", CONFIG, given={}, output=str(tmp_path / "link"), **options)[0]
    assert output_faults("distill", CONFIG, given={}, output=str(tmp_path / "x" / "y"), **options) == []
    assert output_faults("distill", CONFIG, given={}, output=None, **options) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", writes=False)
    with run.timed("train_s"):
        run.say("a note")
    run.finish()
    assert not (tmp_path / "run").exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    atomic.write_bytes(path, b"old")
    seen = []

    def full(descriptor: int) -> None:
        seen.append(path.read_bytes())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            OutputError,
            match=r"the disk is full \(No space left on device\). Make room there, or name another --output",
        ):
            atomic.write_bytes(path, b"new" * 1000)
    assert seen == [b"old"]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that takes no entries, not even root's")
def test_a_folder_that_takes_no_entries() -> None:
    for write in (lambda: begin(Path("/proc/x")), lambda: atomic.write_bytes(Path("/proc/x.csv"), b"")):
        with pytest.raises(
            OutputError, match=r"cannot be written \(No such file or directory\). Name another --output"
        ):
            write()


def test_a_folder_whose_place_cannot_be_taken_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    known, calls = os.rename, []

    def fails_once(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        known(source, target)

    monkeypatch.setattr(os, "rename", fails_once)
    with (
        pytest.raises(OutputError, match="cannot be written"),
        atomic.new_folder(tmp_path / "model", remedy=atomic.OUTPUT, replace=True) as made,
    ):
        (made / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]


def test_of_two_runs_that_make_one_entry_the_first_wins(tmp_path: Path) -> None:
    with atomic.new_folder(tmp_path / "entry", remedy=atomic.CACHE) as late:
        (late / "who").write_text("late")
        with atomic.new_folder(tmp_path / "entry", remedy=atomic.CACHE) as early:
            (early / "who").write_text("early")
    assert (tmp_path / "entry" / "who").read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_only_what_looks_like_ours_is_swept(tmp_path: Path) -> None:
    for name in (".model.0a.tmp", ".notes.tmp", "model.0a.tmp", ".model.xyz.tmp"):
        (tmp_path / name).touch()
    atomic.remove_abandoned(tmp_path)  # too young
    assert len(list(tmp_path.iterdir())) == 4
    atomic.remove_abandoned(tmp_path, untouched_s=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.xyz.tmp", ".notes.tmp", "model.0a.tmp"]


def test_where_and_on_what() -> None:
    assert default_folder("distill").parts[0] == "runs"
    assert default_folder("distill").name.startswith("distill-2")
    assert {"understudy", "python", "torch", "numpy"} <= set(versions())
    assert hardware(threads=3, accelerator=None)["threads"] == 3
    assert json.dumps(hardware(threads=3, accelerator=None))
