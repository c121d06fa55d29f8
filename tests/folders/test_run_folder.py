"""The run folder's rules: what goes, what stays, who writes; and what its record keeps."""

from __future__ import annotations

import datetime
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from understudy import atomic
from understudy.checksums import list_checksums
from understudy.errors import OutputError
from understudy.folders import run as run_folder
from understudy.folders.contents import clashes
from understudy.folders.run import Run, default_folder, open_run, output_faults
from understudy.record import RunRecord, hardware, to_yaml, versions
from understudy.report.scores import ALONE

CONFIG: dict[str, Any] = {"data": "a.csv", "epochs": 3, "bilstm": {"hidden": 9}, "time_budget": None}


def begin(folder: Path, config: dict[str, Any] = CONFIG, **options: Any) -> Run:
    """An opened run; another process may open it too."""
    run = open_run("distill", config, given=options.pop("given", {}), output=str(folder), **options)
    run.close()
    return run


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
    (run.folder / ".model.understudy-0123456789ab.tmp").mkdir()
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
        "was begun with data = 'a.csv', but is resumed with 'b.csv'. Use the same value, name another --output, or give --overwrite instead of --resume to start again.",
        "was begun with epochs = 3, but is resumed with 4. Use the same value, name another --output, or give --overwrite instead of --resume to start again.",
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
    for name in ("README.md", "progress.csv"):
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
    assert not RunRecord.load(run.folder / "record.json").finished  # nobody takes what is left for a run
    assert not begin(tmp_path / "run", overwrite=True).record.finished


def test_a_folder_in_which_nothing_got_its_name_is_empty(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".record.json.understudy-0a1b2c3d4e5f.tmp").write_bytes(b"{")
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
    theirs = {".backup.20240101.tmp", ".model.0123456789ab.tmp", ".notes.tmp", "a.understudy-0123456789ab.tmp"}
    for name in {*theirs, ".model.understudy-0123456789ab.tmp"}:
        (tmp_path / name).touch()
    atomic.remove_abandoned(tmp_path)  # too young
    assert len(list(tmp_path.iterdir())) == 5
    atomic.remove_abandoned(tmp_path, untouched_s=0)
    assert {path.name for path in tmp_path.iterdir()} == theirs


def test_a_long_name_leaves_room_for_a_temporary_one(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".csv", "字" * 80):
        atomic.write_bytes(tmp_path / name, b"")
        assert (tmp_path / name).exists()


def test_where_and_on_what() -> None:
    assert default_folder("distill").parts[0] == "runs"
    assert default_folder("distill").name.startswith("distill-2")
    assert {"understudy", "python", "torch", "numpy"} <= set(versions())
    assert hardware(threads=3, accelerator=None)["threads"] == 3
    assert json.dumps(hardware(threads=3, accelerator=None))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "null",
        "{",
        "[" * 5000,
        '{"command": "finetune"}',
        '{"command": 5, "config": {}}',
        '{"command": "finetune", "config": []}',
        '{"command": "finetune", "config": {}, "finished": "yes"}',
        '{"command": "finetune", "config": {}, "models": [5]}',
        '{"command": "finetune", "config": {}, "data": {"train": 5}}',
        '{"command": "finetune", "config": {}, "training": {"train": 5}}',
        '{"command": "finetune", "config": {}, "timings": {"a": "b"}}',
        '{"command": "finetune", "config": {}, "timings": {"a": NaN}}',
        '{"command": "finetune", "config": {}, "timings": {"a": 1e999}}',
        '{"command": "finetune", "config": {}, "strange": 1}',
        '{"command": "finetune", "config": {}, "seed": ' + "9" * 5000 + "}",
    ],
)
def test_a_file_that_holds_no_record_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match="not a record of a run"):
        RunRecord.load(path)


def test_a_record_keeps_the_name_of_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    record = RunRecord(command="finetune", config={"data": "caf\udce9"})
    record.save(tmp_path / "record.json")
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["config"]["data"] == "caf\udce9"


def finished(folder: Path, **files: str) -> Path:
    """A finished run, with further files in its folder."""
    begin(folder).finish()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "thesis.txt",
        "lr_find-mine.csv",
        "model/notes.md",
        "model/notes.txt",
        "model/sizes.json",
        "checkpoints/mine.csv",
        "checkpoints/mine.pt",
        "checkpoints/train-copy.pt",
        "checkpoints/train.pt/mine",
        "teacher_words/mine.bin",
        "child/record.json",
        "data/train.csv",
        "plots/mine.png",
        "plots/old/a.png",
    ],
)
def test_overwriting_removes_nothing_that_no_run_wrote(name: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", **{"model/config.json": "{}", "model/vocab.txt": ""})
    list_checksums(run / "model", without="config.json")
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("precious")
    before = contents(run)
    with pytest.raises(OutputError, match="was not written by this run, so --overwrite does not remove it"):
        begin(run, overwrite=True)
    assert contents(run) == before
    assert begin(run, resume=True).record.finished
    assert contents(run) == before


def test_all_that_runs_write_is_replaced(tmp_path: Path) -> None:
    ours = ["README.md", "progress.csv", "lr_find.csv", "lr_find-student.csv", "lr_find.png", "plots/confusion.png"]
    ours += [
        "plots/lr_find-student-without-teacher.png",
        "model/config.json",
        "model/model.safetensors",
        "model/vocab.txt",
    ]
    ours += ["checkpoints/student.pt", "checkpoints/train-best-12.pt", "checkpoints/train-rank1-12.pt"]
    ours += [f"checkpoints/{ALONE}-done.pt", f"teacher_words/{'0a' * 16}.bin", "tracking/wandb/run/x.log"]
    ours += [".model.understudy-0123456789ab.tmp"]
    run = finished(tmp_path / "run", **dict.fromkeys(ours, ""))
    begin(run, overwrite=True)
    assert sorted(contents(run)) == ["config.yaml", "record.json"]


def test_a_finished_or_resumed_run_keeps_what_it_did_not_write(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    for name in ("checkpoints/train.pt", "checkpoints/mine.pt", "model/config.json", "model/notes.md"):
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("{}")
    run.close()
    with pytest.raises(
        OutputError, match=r"notes\.md: was not written by this run, which replaces the folder\. Move it\."
    ):
        begin(tmp_path / "run", resume=True)
    (run.folder / "model" / "notes.md").unlink()
    begin(tmp_path / "run", resume=True).finish()
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["mine.pt"]
    begin(tmp_path / "run", resume=True)
    assert (run.folder / "checkpoints" / "mine.pt").exists()


def test_a_family_goes_with_its_children_and_with_nothing_else(tmp_path: Path) -> None:
    config = {**CONFIG, "seeds": [0, 1]}
    family = begin(tmp_path / "family", config).folder
    for seed in (0, 1):
        finished(family / f"seed-{seed}", **{"model/config.json": "{}"})
    (family / "seed-1" / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"seed-1/mine.txt: was not written by this run"):
        begin(family, config, overwrite=True)
    (family / "seed-1" / "mine.txt").unlink()
    (family / "seed-2").mkdir()
    with pytest.raises(OutputError, match=r"seed-2: was not written by this run"):
        begin(family, config, overwrite=True)
    (family / "seed-2").rmdir()
    begin(family, config, overwrite=True)
    assert sorted(contents(family)) == ["config.yaml", "record.json"]


def test_of_several_tasks_the_files_of_each_go_and_nothing_like_them(tmp_path: Path) -> None:
    """Own tasks have names that nobody knows beforehand: the record has them."""
    folder = tmp_path / "joint"
    task = {"kind": "multi_task", "tasks": {"rte": {}, "a (b)": {}}}
    ours = ["model", "best-rte", "best-a (b)", "finetuned-rte"]
    checkpoints = ["joint-own1-20.pt", "joint-best-20.pt", "finetune rte.pt", "finetune a (b)-done.pt"]

    def make(*more: str) -> None:
        run = open_run("glue", CONFIG, given={}, output=str(folder), overwrite=folder.exists())
        run.record.task = task
        run.save()
        for name in [*(f"{place}/config.json" for place in ours), *(f"checkpoints/{name}" for name in checkpoints)]:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}", encoding="utf-8")
        run.close()

    make()
    make()  # all of it is replaced
    for name in (
        "best-wnli/config.json",
        "checkpoints/finetune wnli-done.pt",
        "best-rte/notes.md",
        "eval_results_x.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        with pytest.raises(OutputError, match="was not written by this run"):
            make()
        (folder / name).unlink()
        if name.startswith("best-wnli"):
            (folder / "best-wnli").rmdir()
    (folder / "best-rte" / "notes.md").touch()
    with pytest.raises(OutputError, match=r"notes\.md: was not written by this run, which replaces the folder"):
        open_run("glue", CONFIG, given={}, output=str(folder), resume=True)
    (folder / "best-rte" / "notes.md").unlink()
    (folder / "checkpoints" / "finetune wnli-done.pt").touch()
    run = open_run("glue", CONFIG, given={}, output=str(folder), resume=True)
    run.finish()
    run.close()
    assert sorted(contents(folder / "checkpoints")) == ["finetune wnli-done.pt"]


def test_a_run_that_cannot_be_written_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "run", **{"model/config.json": "{}"})
    before = contents(run)
    with pytest.raises(ValueError):
        begin(run, {**CONFIG, "temperature": float("inf")}, overwrite=True)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="the disk is full"):
            begin(run, overwrite=True)
    assert contents(run) == before
    begin(run, overwrite=True)  # and the folder is free


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.pt").touch()
    (tmp_path / "precious.csv").write_text("precious", encoding="utf-8")
    for name, target in {"checkpoints": "elsewhere", "progress.csv": "precious.csv", "plots": "elsewhere"}.items():
        run = begin(tmp_path / name.partition(".")[0]).folder
        (run / name).symlink_to(tmp_path / target)
        with pytest.raises(OutputError, match="is a link, and a run writes to its own folder only"):
            begin(run, resume=True)
        with pytest.raises(OutputError, match=f"{name}: was not written by this run"):
            begin(run, overwrite=True)
    Run(tmp_path / "checkpoints", RunRecord(command="distill", config={})).finish()
    assert (tmp_path / "elsewhere" / "a.pt").exists()
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")  # the run folder itself may lie on another disk
    begin(tmp_path / "run")
    assert not begin(tmp_path / "run", overwrite=True).record.finished
    assert (tmp_path / "disk" / "record.json").exists()


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    run = open_run("distill", CONFIG, given={}, output=str(tmp_path / "run"))
    for how in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(OutputError, match=r"another process is writing this run. Wait until it ends"):
            begin(tmp_path / "run", **how)
    options: dict[str, Any] = {"given": {}, "output": str(run.folder), "overwrite": True, "resume": False}
    assert "another process is writing" in output_faults("distill", CONFIG, **options)[0]
    assert output_faults("distill", CONFIG, **(options | {"output": str(tmp_path / "other")})) == []
    run.close()
    assert output_faults("distill", CONFIG, **options) == []
    assert not begin(run.folder, resume=True).record.finished
    with pytest.raises(OutputError, match="an unfinished run is there"):
        begin(run.folder)
    begin(run.folder, overwrite=True)  # a refusal keeps no lock


def test_the_configuration_is_what_ran(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", {**CONFIG, "resume": False, "old": 1}, given={"data": "a.csv"})
    (run.folder / "config.yaml").write_text("command: distill\nepochs: 99\n", encoding="utf-8")
    now = {**CONFIG, "resume": True, "old": 1, "added": 5, "time_budget": "3m"}
    again = begin(tmp_path / "run", now, given={"data": "a.csv", "time_budget": "3m"}, resume=True)
    assert again.record.config == {**now, "resume": False}
    assert again.record.given == {"data": "a.csv", "time_budget": "3m"}
    assert (run.folder / "config.yaml").read_text(encoding="utf-8") == to_yaml("distill", again.record.config)
    assert RunRecord.load(run.folder / "record.json").config == again.record.config


def test_what_is_read_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "mine.csv").touch()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path)
    assert clashes(tmp_path / "run", ["beside", "org/name", "nowhere.csv", "runs"]) == []
    assert "the command reads it" in clashes(Path("run"), [str(tmp_path / "link")])[0]
    assert "link: holds run/mine.csv" in clashes(Path("link"), ["run/mine.csv"])[0]
    assert "run/new: lies in link" in clashes(Path("run/new"), ["link"])[0]
    assert len(clashes(Path("run"), ["run", "./run", "run/model", "run/mine.csv"])) == 3


def test_two_runs_that_begin_in_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        run_folder,
        "datetime",
        SimpleNamespace(datetime=SimpleNamespace(now=lambda: datetime.datetime(2026, 11, 28, 12))),
    )
    for name in ("distill-20261128-120000", "distill-20261128-120000-2", "distill-20261128-120000-3"):
        folder = default_folder("distill")
        assert folder == Path("runs") / name
        folder.mkdir(parents=True)
