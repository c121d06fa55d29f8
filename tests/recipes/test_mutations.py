"""Damaged inputs of every kind: each command ends with exit code 0 or 2, and prints no control character."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import mutations

pytestmark = pytest.mark.usefixtures("quick_throughout")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mutations.Inputs]:
    """Sound inputs, and a working directory for what damaged settings may write."""
    folder = tmp_path_factory.mktemp("mutations")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield mutations.make_inputs(folder)


@pytest.mark.parametrize("kind", range(len(mutations.KINDS)))
def test_damaged_inputs_end_with_a_sentence(kind: int, sound: mutations.Inputs, tmp_path: Path) -> None:
    ended = {}
    for seed in range(
        10_000 + kind, 10_000 + kind + (20 if kind == 3 else 40) * len(mutations.KINDS), len(mutations.KINDS)
    ):
        case, how = mutations.trial(sound, tmp_path / "case", seed)
        ended[seed, case.kind] = how
    assert {seed: how for seed, how in ended.items() if how not in ("exit 0", "exit 2")} == {}
    assert "exit 2" in ended.values()
