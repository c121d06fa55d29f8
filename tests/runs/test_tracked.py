"""What trackers are told of a run: the curves of a comparison are grouped by model and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from understudy.cli import main
from understudy.settings.choose.compare import CompareSettings

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
