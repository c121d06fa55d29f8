"""Which cluster is taken, how its cores are shared out, and machines that lack something: no Ray is started here."""

from __future__ import annotations

import os
import socket
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import ConfigError
from understudy.runs.cluster.connection import Address, address, check_threads, checked_address, threads_of
from understudy.runs.cluster.machines import check_machines, variables, versions_here


@settings(deadline=None, derandomize=True, max_examples=50)
@given(cpus=st.lists(st.integers(1, 16), min_size=1, max_size=5), parallel=st.integers(1, 40))
def test_runs_get_the_most_threads_with_which_all_of_them_fit(cpus: list[int], parallel: int) -> None:
    threads = threads_of(tuple(cpus), parallel)

    def fit(count: int) -> int:
        """Runs placed one by one."""
        left, placed = list(cpus), 0
        for machine in range(len(left)):
            while left[machine] >= count:
                left[machine] -= count
                placed += 1
        return placed

    assert threads >= 1
    assert threads == 1 or fit(threads) >= parallel
    assert fit(threads + 1) < parallel


def test_more_threads_than_a_machine_has_are_refused() -> None:
    assert check_threads(4, (2, 4)) == 4
    with pytest.raises(ConfigError, match=r"--threads 5: no machine .* the largest has 4\. Give at most 4\."):
        check_threads(5, (2, 4))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No cluster; where Ray would note one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_the_environment_names_the_cluster_then_ray_start_then_none(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address().is_local
    assert "of this machine alone" in address().line
    nowhere.write_text("10.0.0.7:6379\n", encoding="utf-8")
    assert address() == Address("10.0.0.7:6379", f"{nowhere} says so", found=True)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.8:6379")
    assert address().line == "on Ray at 10.0.0.8:6379, because RAY_ADDRESS says so"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address().is_local


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("ray://head:10001", "a Ray client's address is not supported"),
        ("head", "RAY_ADDRESS must be HOST:PORT, such as 10.0.0.1:6379, or local, but is head."),
    ],
)
def test_an_address_that_is_none_is_refused(
    named: str, said: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", named)
    with pytest.raises(ConfigError) as raised:
        checked_address()
    assert said in str(raised.value)


def test_somebody_must_answer(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        name = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", name)
        assert checked_address().name == name
    with pytest.raises(ConfigError, match=rf"{name}: no Ray answers there .*, and RAY_ADDRESS says so\. Start it with"):
        checked_address()


def test_only_variables_that_concern_the_work_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("UNDERSTUDY_FAILPOINT", "x")
    assert "AWS_SECRET_ACCESS_KEY" not in variables()
    assert {"UNDERSTUDY_CACHE", "UNDERSTUDY_FAILPOINT", "HF_HUB_OFFLINE"} <= set(variables())


class StandIn:
    """As much of Ray as is asked: machines that answer here, with what each of them sees changed before."""

    exceptions = types.SimpleNamespace(RayError=RuntimeError)
    util = types.SimpleNamespace(
        scheduling_strategies=types.SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node_id, soft: node_id)
    )

    def __init__(self, **seen: Any) -> None:
        self.seen = seen

    def nodes(self) -> list[dict[str, Any]]:
        """All are alive."""
        return [
            {"NodeID": name, "NodeManagerHostname": name, "Alive": True, "Resources": {"CPU": 4.0}}
            for name in self.seen
        ]

    def remote(self, function: Any) -> Any:
        """A function that is called when its answer is fetched."""
        return Task(self, function, None)

    def get(self, answer: Any, timeout: float) -> Any:
        """The answer, as its machine sees the world."""
        return answer()


class Task:
    """A function for one machine."""

    def __init__(self, ray: StandIn, function: Any, node: str | None) -> None:
        self.ray, self.function, self.node = ray, function, node

    def options(self, *, scheduling_strategy: str | None = None, **rest: Any) -> Task:
        """The same function, on a machine."""
        return Task(self.ray, self.function, scheduling_strategy)

    def remote(self, *arguments: Any) -> Any:
        """What will be answered."""
        return lambda: self.ray.seen[self.node](self.function, *arguments)


def as_here(function: Any, *arguments: Any) -> Any:
    """A machine like this one."""
    return function(*arguments)


def test_machines_that_are_alike_are_taken(tmp_path: Path) -> None:
    check_machines(StandIn(one=as_here, two=as_here), folder=tmp_path)
    check_machines(StandIn(one=as_here))
    assert not list(tmp_path.iterdir())


def test_each_machine_that_lacks_something_is_named(tmp_path: Path) -> None:
    def other_disk(function: Any, mark: str, here: str) -> Any:
        return function(f"/nowhere{mark}", here)

    def other_home(function: Any, mark: str, here: str) -> Any:
        return function(mark, "/nowhere/at/all")

    def older(function: Any, *arguments: Any) -> Any:
        found, *rest = function(*arguments)
        return ({**found, "torch": "2.0.0", "understudy": None}, *rest)

    def dead(function: Any, *arguments: Any) -> Any:
        raise RuntimeError("gone")

    machines = StandIn(good=as_here, disk=other_disk, home=other_home, old=older, dead=dead)
    with pytest.raises(ConfigError) as raised:
        check_machines(machines, folder=tmp_path)
    assert raised.value.faults == (
        f"disk: does not see {tmp_path}. Name an --output on storage that all machines of the cluster share.",
        f"home: does not see {os.getcwd()}, the folder that you are in. Start from a folder that all machines of the cluster share.",
        f"old: has no understudy, but this machine has {versions_here()['understudy']}. Install the same there.",
        f"old: has torch 2.0.0, but this machine has {versions_here()['torch']}. Install the same there.",
        "dead: does not answer (RuntimeError). Restart Ray there.",
    )
    assert not list(tmp_path.iterdir())
