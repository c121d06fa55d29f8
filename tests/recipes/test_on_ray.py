"""``--engine ray`` on a Ray of this machine: the same bits as without it, and nothing is done twice after a kill."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import tempfile
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import little
from understudy import failpoints
from understudy.cli import main
from understudy.objectives.teachers import cached
from understudy.record import RunRecord

ray = pytest.importorskip("ray", reason="needs ray, which the extra 'cluster' brings")

SMALL = ["--epochs", 2, "--max_length", 32, "--batch_size", 24, "--eval_steps", 3]


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(folder) in line:
            found.append(line)
    return found


def gone(folder: Path) -> bool:
    """Whether the processes that name a folder end, if they are given a while."""
    until = time.monotonic() + 60
    while processes_of(folder) and time.monotonic() < until:
        time.sleep(0.1)
    return not processes_of(folder)


def begin(folder: Path) -> None:
    """Start a Ray and join it; on a busy machine not at once, because Ray gives its own processes 30 seconds.

    Some machines have no network address or no shared memory for it: there is no Ray there.
    """
    for left in (2, 1, 0):
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                object_store_memory=80 << 20,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
            )
        except Exception as error:
            ray.shutdown()
            if not left:
                pytest.skip(f"Ray does not start on this machine: {error}")
        else:
            return


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A Ray of two cores, which this process has joined; the folder of its sockets, which must have a short name."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)  # otherwise it writes one into the user's home
        patch.delenv("RAY_ADDRESS", raising=False)
        begin(folder)
        yield folder
        ray.shutdown()
        os.environ.pop("RAY_AUTH_MODE", None)  # Ray set it
    assert gone(folder)
    shutil.rmtree(folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test, by name."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def words(*given: object) -> list[str]:
    """A command line."""
    return [*map(str, given)]


def test_a_comparison_is_stopped_then_loses_a_run_and_ends_as_undisturbed(
    cluster: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    line = words("compare", "--data", reviews, "--models", "tfidf", "static", *SMALL, "--save_steps", 2)
    with pytest.MonkeyPatch.context() as patch:  # undisturbed, and in this process
        patch.setattr("understudy.recipes.choose.compare.family.run_apart", little.in_this_process)
        assert main([*line, "--threads", "1", "--output", str(tmp_path / "whole")]) == 0
    folder = tmp_path / "spread"
    line += words("--engine", "ray", "--parallel", 2, "--output", folder)

    monkeypatch.setattr(failpoints, "_passed", Counter())
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "family.child:2:SIGTERM")
    assert main(line) == 128 + signal.SIGTERM
    assert f"--output {folder} and --resume" in capfd.readouterr().err
    assert not RunRecord.load(folder / "record.json").finished

    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:7")
    assert main([*line, "--resume"]) == 2
    said = capfd.readouterr()
    assert f"static: out of memory (its process was killed by signal {int(signal.SIGKILL)})" in said.err
    assert re.search(r"2 runs at a time on Ray at [\d.]+:\d+: 1 machine, 2 cores", said.out)
    assert RunRecord.load(folder / "tfidf" / "record.json").finished
    assert not RunRecord.load(folder / "static" / "record.json").finished
    before = (folder / "tfidf" / "record.json").read_bytes()

    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    assert main([*line, "--resume"]) == 0
    assert (folder / "tfidf" / "record.json").read_bytes() == before
    record, whole = (RunRecord.load(tmp_path / name / "record.json") for name in ("spread", "whole"))
    assert record.finished
    assert [(model["name"], model["metrics"]) for model in record.models] == [
        (model["name"], model["metrics"]) for model in whole.models
    ]
    assert record.comparisons == whole.comparisons
    weights = "static/model/model.safetensors"
    assert (folder / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert RunRecord.load(folder / "static" / "record.json").hardware["threads"] == 1
    assert not list(folder.glob(".shared*"))


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, quick_throughout: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was fine-tuned a little."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    line = words("finetune", "--data", reviews, "--model", tiny_bert, "--epochs", 1, "--output", folder, "--quiet")
    assert main(line) == 0
    return folder


def test_a_pool_is_labelled_by_parts_and_a_killed_prediction_goes_on(
    cluster: Path, teacher: Path, reviews: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    line = words("predict", "--model", teacher, "--input", reviews / "pool.txt", "--batch_size", 7, "--threads", 1)
    assert main([*line, "--output", str(tmp_path / "alone.jsonl")]) == 0
    line += words("--engine", "ray", "--output", tmp_path / "spread.jsonl")
    said: list[str] = []
    monkeypatch.setattr("understudy.recipes.use.predict_parts.say", said.append)
    kept: list[str] = []

    def stops(name: str) -> None:
        kept.append(name)
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.recipes.use.predict_parts.failpoint", stops)
        assert main(line) == 128 + signal.SIGINT
    assert said[0].endswith(": 6 of 6 parts are to be done")
    assert not (tmp_path / "spread.jsonl").exists()
    first, second = sorted((cache / "predictions").glob("*/*.lines"))
    content = bytearray(first.read_bytes())
    content[10] ^= 1
    first.write_bytes(content)
    known = second.stat().st_mtime_ns

    monkeypatch.setattr("understudy.recipes.use.predict_parts.PredictedParts.remove", lambda self: None)
    assert main(line) == 0
    assert said[-1].endswith(": 5 of 6 parts are to be done")
    assert second.stat().st_mtime_ns == known
    assert (tmp_path / "spread.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()

    monkeypatch.undo()
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(cache))
    monkeypatch.setattr("understudy.recipes.use.predict_parts.connected", None)  # nothing is left to do
    assert main([*line, "--overwrite"]) == 0
    assert not list((cache / "predictions").iterdir())


def labels(cache: Path) -> dict[str, bytes]:
    """What the cache knows of teachers, but for how the answers were gathered into files."""
    folder = cache / "teacher_logits"
    found = [*folder.rglob("sets/*.npy"), *folder.rglob("plan.npz")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.usefixtures("quick")
def test_a_teacher_fills_the_same_cache_with_the_same_bits_after_a_kill_too(
    cluster: Path, teacher: Path, reviews: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    line = words("distill", "--data", reviews, "--teacher", teacher, "--unlabeled", reviews / "pool.txt")
    line += words("--student", "static", "--epochs", 1, "--no_baseline", "--threads", 1)
    line += words("--embeddings", "random")  # the states of tokens are read where the command runs
    assert main([*line, "--output", str(tmp_path / "alone")]) == 0
    alone = labels(cache)
    assert alone
    shutil.rmtree(cache / "teacher_logits")
    line += words("--engine", "ray", "--output", tmp_path / "spread")
    monkeypatch.setattr("understudy.runs.cluster.teaching._PART_TEXTS", 32)

    answered: list[int] = []

    def stops(name: str) -> None:
        answered.append(1)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached, "failpoint", stops)
        assert main(line) == 128 + signal.SIGINT
    monkeypatch.setattr(cached, "failpoint", lambda name: answered.append(1))
    assert main([*line, "--resume"]) == 0
    assert labels(cache) == alone
    batches = [len(np.load(plan)["ends"]) for plan in (cache / "teacher_logits").rglob("plan.npz")]
    assert len(answered) == sum(batches) > len(batches)  # each batch once
    weights = "model/model.safetensors"
    assert (tmp_path / "spread" / weights).read_bytes() == (tmp_path / "alone" / weights).read_bytes()


@pytest.mark.parametrize("command", ["compare", "predict", "distill"])
def test_a_cluster_that_does_not_answer_and_a_ray_that_is_missing_are_said(
    command: str,
    teacher: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = {
        "compare": ["--data", reviews, "--models", "tfidf", "static"],
        "predict": ["--model", teacher, "--input", reviews / "pool.txt"],
        "distill": ["--data", reviews, "--teacher", teacher, "--student", "static", "--epochs", 1],
    }[command]
    line = words(command, *given, "--engine", "ray", "--output", tmp_path / "out.csv")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main(line) == 2
    assert "127.0.0.1:1: no Ray answers there" in capfd.readouterr().err
    assert not os.path.exists(tmp_path / "out.csv")
    monkeypatch.setattr("understudy.settings.engine.importlib.util.find_spec", lambda name: None)
    assert main(line) == 2
    assert (
        "--engine ray needs 'ray', which is not installed. Run: pip install 'understudy[cluster]'"
        in capfd.readouterr().err
    )
