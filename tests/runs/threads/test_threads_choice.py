"""The threads of a run: asked for, chosen, measured; on the record, and kept when it is resumed."""

from __future__ import annotations

import csv
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from understudy import failpoints
from understudy.cli import main
from understudy.record import RunRecord
from understudy.runs.threads import choice

pytestmark = pytest.mark.usefixtures("quick_throughout")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _failpoints_count_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_passed", Counter())


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with two cores, on which nobody has chosen a number of threads."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(choice, "usable_cores", lambda: 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    texts = [(f"a {'good' if i % 4 else 'bad'} film number {i}", "yes" if i % 4 else "no") for i in range(60)]
    with open(tmp_path / "rows.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *texts])
    return tmp_path / "rows.csv"


@pytest.fixture
def command(rows: Path, tiny_bert: Path, tmp_path: Path) -> list[object]:
    found: list[object] = ["finetune", "--data", rows, "--model", tiny_bert, "--epochs", 1, "--batch_size", 8]
    return [*found, "--no_baseline", "--output", tmp_path / "run"]


def hardware(tmp_path: Path) -> dict[str, object]:
    return RunRecord.load(tmp_path / "run" / "record.json").hardware


def measured(seconds: dict[int, float]) -> Callable[..., dict[int, float]]:
    def step_seconds(plan: object, batches: object, counts: list[int]) -> dict[int, float]:
        assert counts == [1, 2]
        return seconds

    return step_seconds


@pytest.mark.usefixtures("two_cores")
def test_a_small_model_trains_on_one_thread(command: list[object], tmp_path: Path) -> None:
    assert run(*command) == 0
    found = hardware(tmp_path)
    assert found["threads"] == 2
    assert found["training_threads"] == 1
    assert found["training_threads_because"].startswith("because the model is small")  # type: ignore[attr-defined]
    assert torch.get_num_threads() == 2


def test_how_threads_wait_is_in_the_plan_and_on_the_record(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    assert run(*command) == 0
    assert "threads wait by GOMP_SPINCOUNT=1000\n" in capsys.readouterr().err
    assert hardware(tmp_path)["threads_wait"] == "by GOMP_SPINCOUNT=1000"


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("seconds", "chosen"), [({2: 0.01, 1: 0.02}, 2), ({2: 0.019, 1: 0.02}, 1)])
def test_a_larger_one_is_measured(
    seconds: dict[int, float],
    chosen: int,
    command: list[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(choice, "SMALL", 0)
    monkeypatch.setattr(choice, "step_seconds", measured(seconds))
    assert run(*command, "--dry_run") == 0
    said = f"{chosen}, measured: a batch takes 20 ms on 1, {seconds[2] * 1000:.0f} ms on 2"
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("two_cores")
def test_a_resumed_run_keeps_them_and_measures_nothing(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "SMALL", 0)
    monkeypatch.setattr(choice, "step_seconds", measured({2: 0.01, 1: 0.02}))
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:3:SIGTERM")
    assert run(*command) == 128 + signal.SIGTERM
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    before = hardware(tmp_path)
    assert before["training_threads"] == 2
    torch.set_num_threads(1)
    monkeypatch.setattr(choice, "step_seconds", None)
    seen = []
    known = torch.Tensor.backward

    def backward(*arguments: object, **options: object) -> None:
        seen.append(torch.get_num_threads())
        known(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    assert run(*command, "--resume") == 0
    assert set(seen) == {2}
    assert hardware(tmp_path) == before
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("two_cores")
def test_threads_that_are_asked_for_are_taken_for_everything(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choice, "step_seconds", None)
    assert run(*command, "--threads", 3, "--dry_run") == 0
    assert "3, as --threads says; only 2 cores are here" in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert run(*command, "--dry_run") == 0
    assert "2, as OMP_NUM_THREADS says" in capsys.readouterr().err
    assert run(*command, "--threads", 1) == 0
    found = hardware(tmp_path)
    assert found["threads"] == found["training_threads"] == 1
    assert torch.get_num_threads() == 2


def test_impossible_numbers_are_refused(command: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("0", "-1", "4097", "many"):
        assert run(*command, "--threads", number) == 2
        assert "threads must be " in capsys.readouterr().err


def test_a_run_is_not_resumed_with_others(
    command: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:3:SIGTERM")
    assert run(*command, "--threads", 1) == 128 + signal.SIGTERM
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    assert run(*command, "--threads", 2, "--resume") == 2
    assert "was begun with threads = 1, but is resumed with 2" in capsys.readouterr().err


@pytest.mark.usefixtures("two_cores")
def test_a_run_of_before_goes_on_with_its_threads(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "train.step:3:SIGTERM")
    assert run(*command) == 128 + signal.SIGTERM
    monkeypatch.delenv("UNDERSTUDY_FAILPOINT")
    path = tmp_path / "run" / "record.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    old["hardware"] = {name: value for name, value in old["hardware"].items() if not name.startswith("training")}
    del old["config"]["threads"]
    path.write_text(json.dumps(old), encoding="utf-8")
    assert run(*command, "--resume") == 0
    assert hardware(tmp_path)["training_threads"] == 2
    assert hardware(tmp_path)["training_threads_because"] == "as it was begun"
