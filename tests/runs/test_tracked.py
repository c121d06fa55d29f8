"""What trackers are told of a run: the curves of a comparison are grouped by model and seed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator

from understudy.cli import main
from understudy.settings.choose.compare import CompareSettings
from understudy.training.progress.log import ProgressLog
from understudy.training.progress.reporter import Reporter

pytestmark = pytest.mark.usefixtures("quick")


def test_runs_are_grouped_by_model_and_told_apart_by_seed(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def init(self: Accelerator, name: str, *, config: Any, init_kwargs: dict[str, Any]) -> None:
        told.append(init_kwargs)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(Accelerator, "init_trackers", init)
    folder = tmp_path / "static-seed-3"
    line = ["--data", reviews, "--models", "static", "--seed", 3, "--epochs", 1, "--track", "wandb"]
    assert main(["compare", *map(str, line), "--output", str(folder)]) == 0
    assert told == [{"wandb": {"name": "static-seed-3", "job_type": "seed 3", "group": "static"}}]


def test_a_model_has_its_name_for_a_group() -> None:
    assert CompareSettings(models=["mine=a/b+lora"]).tracked_group() == "mine"


def test_every_phase_is_in_the_tracker_whole(tmp_path: Path) -> None:
    """wandb drops what has a lower step than it has seen, and every phase counts its steps from 1."""
    told: list[tuple[dict[str, Any], int | None]] = []
    metrics: list[tuple[str, str]] = []

    def tracker(name: str) -> Any:
        run = SimpleNamespace(define_metric=lambda names, step_metric: metrics.append((names, step_metric)))
        return SimpleNamespace(name=name, tracker=run, log=lambda numbers, step: told.append((numbers, step)))

    accelerator: Any = SimpleNamespace(
        trackers=[tracker("wandb"), tracker("tensorboard")], is_main_process=True, device="cpu"
    )
    log = ProgressLog(tmp_path / "progress.csv", [], writes=False)
    for phase in ("student", "student without teacher"):
        Reporter(log, accelerator, phase).write({"step": 3, "loss": 0.5})
    assert [step for _, step in told] == [None, 3, None, 3]
    assert told[2][0] == {"student without teacher/step": 3, "student without teacher/loss": 0.5}
    assert metrics == [(f"{name}/*", f"{name}/step") for name in ("student", "student without teacher")]
