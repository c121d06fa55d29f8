"""A time budget of several runs at a time: all have the same share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from understudy.runs.processes import children


@dataclass
class _Recipe:
    time_budget: str | None = None
    threads: int | None = None
    output: str | None = None
    resume: bool = False
    overwrite: bool = False

    def data_read(self) -> list[str]:
        return []

    models_read = data_read


@pytest.mark.parametrize(("models", "parallel", "share"), [(3, 2, 1800), (4, 3, 1800), (5, 2, 1200), (7, 4, 1800)])
@pytest.mark.parametrize("used", [1.0, 0.25])
def test_all_have_the_same_whatever_the_others_use(
    models: int, parallel: int, share: int, used: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    given: dict[str, int] = {}

    class Places:
        """Where runs take a part of their time, and the clock goes on when one ends."""

        def __init__(self) -> None:
            self.left: dict[str, float] = {}

        def threads(self, asked: int | None, at_once: int) -> int:
            return 1

        def start(self, name: str, recipe: Any, *, threads: int | None, quiet: bool) -> None:
            given[name] = int(recipe.time_budget.removesuffix("s"))
            self.left[name] = used * given[name]

        def ended(self, wait_s: float) -> dict[str, None]:
            passed = min(self.left.values())
            clock[0] += passed
            self.left = {name: left - passed for name, left in self.left.items()}
            done = [name for name, left in self.left.items() if left < 0.5]
            for name in done:
                del self.left[name]
            return dict.fromkeys(done)

        def stop(self) -> None:
            pass

    monkeypatch.setattr(children, "Here", Places)
    monkeypatch.setattr(children, "check_inputs", lambda *given: None)
    monkeypatch.setattr(children, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    run: Any = SimpleNamespace(folder=tmp_path, record=SimpleNamespace(children=[]), save=lambda: None)
    members = {f"m{number}": _Recipe() for number in range(models)}
    children.run_apart(run, _Recipe(), members, parallel=parallel, budget_s=3600)
    assert set(given.values()) == {share}
    assert clock[0] <= 3601
