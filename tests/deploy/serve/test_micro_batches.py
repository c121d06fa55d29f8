"""The batcher: nothing is lost or swapped, small calls are gathered, large ones are cut, and what is too much is refused."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from understudy.deploy.serve.batcher import Batcher, Call, Lane, Overloaded, Stopped


class Recorded:
    """Work that doubles numbers, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.begun.set()
        assert self.gate.wait(30)
        self.batches.append(list(items))
        if -1 in items:
            raise ValueError("no negative numbers")
        return [2 * item for item in items]


def batching(**options: Any) -> Batcher:
    """A batcher that waits long enough for any test, and never where it need not."""
    return Batcher(**{"max_batch": 8, "max_wait": 0.0, "max_queue": 10_000, **options})


async def held(batcher: Batcher, lane: Lane, work: Recorded) -> Call:
    """A call that keeps the thread busy until the gate opens."""
    work.gate.clear()
    work.begun.clear()
    call = batcher.submit(lane, [1_000_000])
    await asyncio.to_thread(work.begun.wait, 30)
    return call


def test_every_caller_gets_its_own_results() -> None:
    rng = random.Random(0)
    sizes = [rng.choice([1, 1, 1, 2, 3, 17, 100]) for _ in range(200)]
    calls = [[rng.randrange(10**6) for _ in range(size)] for size in sizes]
    seen: list[tuple[str, int, int, float]] = []

    async def run() -> list[list[int]]:
        batcher = batching(on_batch=lambda *facts: seen.append(facts))
        lanes = [Lane(Recorded(), name="one"), Lane(lambda items: [-item for item in items], name="other")]
        try:
            futures = [
                batcher.submit(lanes[i % 2], items, render=lambda result: result + 1).future
                for i, items in enumerate(calls)
            ]
            return list(await asyncio.gather(*futures))
        finally:
            await asyncio.to_thread(batcher.close)

    for i, (items, results) in enumerate(zip(calls, asyncio.run(run()))):
        assert results == [(-item if i % 2 else 2 * item) + 1 for item in items]
    assert sum(items for _, _, items, _ in seen) == sum(sizes)
    assert max(items for _, _, items, _ in seen) <= 8
    assert {name for name, *_ in seen} == {"one", "other"}


def test_what_waits_is_answered_together() -> None:
    async def run() -> list[list[int]]:
        work = Recorded()
        batcher, lane = batching(), Lane(work)
        first = await held(batcher, lane, work)
        calls = [batcher.submit(lane, [i]) for i in range(20)]
        assert batcher.waiting == 20
        work.gate.set()
        await asyncio.gather(first.future, *(call.future for call in calls))
        await asyncio.to_thread(batcher.close)
        return work.batches

    assert asyncio.run(run()) == [[1_000_000], [*range(8)], [*range(8, 16)], [*range(16, 20)]]


def test_a_large_call_delays_a_small_one_by_one_batch() -> None:
    async def run() -> list[list[int]]:
        work = Recorded()
        batcher, lane = batching(), Lane(work)
        first = await held(batcher, lane, work)
        large = batcher.submit(lane, list(range(100, 140)))
        small = [batcher.submit(lane, [i]) for i in range(3)]
        work.gate.set()
        await asyncio.gather(first.future, large.future, *(call.future for call in small))
        await asyncio.to_thread(batcher.close)
        return work.batches

    _, second, *rest = asyncio.run(run())
    assert {0, 1, 2} < set(second), "the small calls are in the first batch after the one that was running"
    assert len(second) == 8
    assert [len(batch) for batch in rest] == [8, 8, 8, 8, 3]


def test_models_take_turns() -> None:
    async def run() -> list[str]:
        order: list[str] = []
        work = Recorded()

        def noted(name: str) -> Lane:
            return Lane(lambda items: (order.append(name), items)[1], name=name)

        batcher, busy = batching(), Lane(work)
        first = await held(batcher, busy, work)
        slow, fast = noted("slow"), noted("fast")
        calls = [batcher.submit(slow, list(range(24))), batcher.submit(fast, [1])]
        work.gate.set()
        await asyncio.gather(first.future, *(call.future for call in calls))
        await asyncio.to_thread(batcher.close)
        return order

    assert asyncio.run(run()) == ["slow", "fast", "slow", "slow"]


def test_a_batch_waits_for_as_many_calls_as_the_last_one_had() -> None:
    async def run() -> list[list[int]]:
        work = Recorded()
        batcher, lane = batching(max_wait=30.0), Lane(work)
        await batcher.submit(lane, [0]).future  # alone, and answered at once
        first = await held(batcher, lane, work)
        three = [batcher.submit(lane, [i]) for i in (1, 2, 3)]
        work.gate.set()
        await asyncio.gather(first.future, *(call.future for call in three))
        again = [batcher.submit(lane, [i]) for i in (4, 5)]
        await asyncio.sleep(0.05)
        assert not any(call.future.done() for call in again), "they wait for a third"
        again.append(batcher.submit(lane, [6]))
        await asyncio.gather(*(call.future for call in again))
        await asyncio.to_thread(batcher.close)
        return work.batches

    assert asyncio.run(run()) == [[0], [1_000_000], [1, 2, 3], [4, 5, 6]]


def test_waiting_ends_with_the_budget_and_at_the_end() -> None:
    async def run() -> None:
        work = Recorded()
        batcher, lane = batching(max_wait=0.01), Lane(work)
        lane.company = 5
        assert await batcher.submit(lane, [3]).future == [6]
        batcher.max_wait, lane.company = 600.0, 5
        call = batcher.submit(lane, [4])
        await asyncio.to_thread(batcher.close)
        assert await call.future == [8]
        assert not batcher.alive
        with pytest.raises(Stopped):
            batcher.submit(lane, [5])

    asyncio.run(run())


def test_what_is_too_much_is_refused_until_there_is_room() -> None:
    async def run() -> None:
        work = Recorded()
        batcher, lane = batching(max_queue=10), Lane(work)
        first = await held(batcher, lane, work)
        waiting = batcher.submit(lane, list(range(9)))
        with pytest.raises(Overloaded) as refused:
            batcher.submit(lane, [1, 2])
        assert 1 <= refused.value.retry_after <= 60
        last = batcher.submit(lane, [1])
        work.gate.set()
        await asyncio.gather(first.future, waiting.future, last.future)
        assert await batcher.submit(lane, list(range(10))).future == [2 * i for i in range(10)]
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())


def test_a_call_that_fails_fails_alone() -> None:
    async def run() -> None:
        work = Recorded()
        batcher, lane = batching(), Lane(work)
        first = await held(batcher, lane, work)
        good, bad, after = (batcher.submit(lane, items) for items in ([1], [2, -1], [3]))
        work.gate.set()
        await first.future
        assert await good.future == [2]
        with pytest.raises(ValueError, match="no negative numbers"):
            await bad.future
        assert await after.future == [6]
        assert batcher.alive
        assert batcher.waiting == lane.items == 0
        with pytest.raises(RuntimeError, match="2 items were given, but 1 results"):
            await batcher.submit(Lane(lambda items: [0]), [1, 2]).future
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(lane, [1], render=lambda result: 1 / 0).future
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())


def test_an_abandoned_call_is_not_computed() -> None:
    async def run() -> list[list[int]]:
        work = Recorded()
        batcher, lane = batching(), Lane(work)
        first = await held(batcher, lane, work)
        large, small = batcher.submit(lane, list(range(1000))), batcher.submit(lane, [7])
        batcher.abandon(large)
        assert large.future.cancelled()
        assert batcher.waiting == 1
        work.gate.set()
        assert await small.future == [14]
        await first.future
        alone = await held(batcher, lane, work)
        batcher.abandon(batcher.submit(lane, [1, 2, 3]))
        work.gate.set()
        await alone.future
        assert await batcher.submit(lane, [8]).future == [16]
        await asyncio.to_thread(batcher.close)
        return work.batches

    assert [1, 2, 3] not in asyncio.run(run())


def test_a_lane_may_have_smaller_batches() -> None:
    async def run() -> list[list[int]]:
        work, slow = Recorded(), Recorded()
        batcher, lane, other = batching(), Lane(work), Lane(slow, most=2)
        first = await held(batcher, lane, work)
        calls = [batcher.submit(other, [1, 2, 3]), batcher.submit(other, [4]), batcher.submit(lane, [5])]
        work.gate.set()
        await asyncio.gather(first.future, *(call.future for call in calls))
        assert batcher.waiting == other.items == lane.items == 0
        await asyncio.to_thread(batcher.close)
        return slow.batches

    assert asyncio.run(run()) == [[1, 4], [2, 3]]


def test_no_items_are_no_work() -> None:
    async def run() -> None:
        batcher = batching()
        assert await batcher.submit(Lane(Recorded()), []).future == []
        await asyncio.to_thread(batcher.close)

    asyncio.run(run())
