"""What is seen from outside is as it was: settings, flags, refusals, records, files, weights.

A change that is meant is written down with ``python tests/goldens/make.py``; its diff is then part of the commit.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from cases import ANSWERS, COMMANDS, CONFIGURATIONS, MISTAKES, RUNS
from gather import Workshop, configuration, described, flags, machine, mistake, run

HERE = Path(__file__).parent

ADDED: dict[str, list[str]] = {}
"""Command -> settings that it has since the goldens were made, such as ``"distill": ["bilstm.layers"]``."""

FIGURES = 1e-6
"""How far the numbers of a record may be off, where the machine is the one of the goldens."""
ELSEWHERE = 1e-3
"""How far the numbers of weights may be off on another machine."""


def golden(name: str) -> dict[str, Any]:
    """A file of goldens."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


CONFIGURATIONS_WERE, FLAGS_WERE = golden("configurations"), golden("flags")
MISTAKES_WERE, WERE = golden("mistakes"), golden("runs")


@pytest.fixture(scope="module")
def same_machine() -> bool:
    """Whether bits can be compared."""
    return machine() == WERE["machine"]


def same(found: Any, expected: Any, what: str) -> None:
    """Fail with a diff of both as indented JSON if they differ."""
    # as text, for which 0, 0.0 and false are three things, as they are in a file of settings
    texts = [
        json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).splitlines() for value in (expected, found)
    ]
    if texts[0] != texts[1]:
        diff = "\n".join(difflib.unified_diff(*texts, "golden", "now", lineterm="", n=2))
        pytest.fail(f"{what} is not as it was:\n{diff}", pytrace=False)


def without_added(values: dict[str, Any], command: str) -> dict[str, Any]:
    """Settings, without those that are listed as added; of groups, too."""
    kept = json.loads(json.dumps(values))
    for name in ADDED.get(command, []):
        *groups, last = name.split(".")
        inside = kept
        for group in groups:
            inside = inside.get(group, {})
        inside.pop(last, None)
        if groups and not inside:  # a group of new settings alone is new itself
            kept.pop(groups[0], None)
    return kept


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float, what: str) -> None:
    """Fail with every value that differs; numbers may by a tolerance, absolute and relative."""
    wrong = [
        f"  {name}: was {expected.get(name, 'not there')!r}, is {found.get(name, 'not there')!r}"
        for name in {**expected, **found}
        if name not in found or name not in expected or not alike(found[name], expected[name], tolerance)
    ]
    if wrong:
        pytest.fail("\n".join([f"{what}: values are not as they were:", *wrong]), pytrace=False)


def alike(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two values are equal, or two numbers nearly."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b, tolerance) for a, b in zip(one, other))
    return type(one) is type(other) and one == other


def test_every_case_has_its_golden() -> None:
    assert list(CONFIGURATIONS) == list(CONFIGURATIONS_WERE)
    assert list(COMMANDS) == list(FLAGS_WERE)
    assert list(MISTAKES) == list(MISTAKES_WERE)
    assert list(RUNS) == list(WERE["runs"])
    assert list(ANSWERS) == list(WERE["answers"])


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations(name: str, tmp_path: Path) -> None:
    found = configuration(tmp_path, CONFIGURATIONS[name])
    same(without_added(found, found["command"]), CONFIGURATIONS_WERE[name], f"the configuration '{name}'")


@pytest.mark.parametrize("command", COMMANDS)
def test_flags(command: str, tmp_path: Path) -> None:
    added = {f"--{name}" for name in ADDED.get(command, [])}
    found = [flag for flag in flags(tmp_path, command) if flag not in added]
    same(found, FLAGS_WERE[command], f"the flags of '{command}'")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, workshop: Workshop) -> None:
    line = MISTAKES[name]
    same(mistake(workshop.with_faults(line), line), MISTAKES_WERE[name], f"the refusal of `understudy {line}`")


@pytest.mark.parametrize("name", RUNS)
def test_runs(name: str, workshop: Workshop, same_machine: bool) -> None:
    found, expected = described(workshop.made(name)), json.loads(json.dumps(WERE["runs"][name]))
    weights, weights_were = (entry.pop("weights", {"tensors": {}}) for entry in (found, expected))
    values, values_were = (entry.pop("values", {}) for entry in (found, expected))
    if "record" in found:
        command = values["command"]
        found["record"]["config"] = without_added(found["record"]["config"], command)
        new = [f"config.{setting}" for setting in ADDED.get(command, [])]
        values = {
            key: value
            for key, value in values.items()
            if not any(key == start or key.startswith(f"{start}.") for start in new)
        }
    same(found, expected, f"what the run '{name}' leaves")
    tensors, tensors_were = weights["tensors"], weights_were["tensors"]
    shapes, shapes_were = ({key: entry["shape"] for key, entry in all_.items()} for all_ in (tensors, tensors_were))
    same(shapes, shapes_were, f"the shapes of the weights of '{name}'")
    numbers, numbers_were = (
        {f"{key}, {figure}": entry[figure] for key, entry in all_.items() for figure in ("mean", "std", "first")}
        for all_ in (tensors, tensors_were)
    )
    close(numbers, numbers_were, ELSEWHERE, f"the weights of the run '{name}'")
    if same_machine:
        close(values, values_were, FIGURES, f"the record of the run '{name}'")
        assert weights.get("sha256") == weights_were.get("sha256"), f"the weights of the run '{name}' differ in bits"


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str, workshop: Workshop, same_machine: bool) -> None:
    line = ANSWERS[name]
    found, expected = run(workshop.with_runs(line), line).out.splitlines(), WERE["answers"][name]
    assert len(found) == len(expected)
    if same_machine:
        same(found, expected, f"what `understudy {line}` prints")
