"""Texts of many calls, answered together in one thread: small calls are gathered, large ones are cut.

A batch is started when it is full, when as many calls wait as the last batch had, or when its oldest text has waited long
enough. A lone caller therefore never waits, and callers that come at the same pace are answered together.

Every call gives a batch its share, so that a call of 10,000 texts delays others by one batch, not by 10,000 texts.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""What is done with items: one result each, in their order."""
_SLOWEST, _LONGEST_RETRY = 0.1, 60
"""The least rate that is believed, in items a second, and the most seconds after which to try again."""
_MEMORY = 0.8
"""How much of the measured rate is kept from one batch to the next."""


class Overloaded(Exception):
    """So many items wait that no more are taken.

    Args:
        retry_after: seconds in which about half of them will be answered.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"try again in {retry_after} s")
        self.retry_after = retry_after


class Stopped(Exception):
    """The batcher is closing and takes nothing more."""


class Lane:
    """Work that is done on its own items; those of several lanes are never in one batch.

    Args:
        work: called with at most as many items as a batch may have, always in the same thread.
        name: for the metrics.
        most: items of one of its batches, if fewer than the batcher's: for work that takes long for each item.
    """

    def __init__(self, work: Work, *, name: str = "", most: int | None = None) -> None:
        self.work, self.name, self.most = work, name, most
        self.waiting: deque[Call] = deque()
        self.items = 0
        """Items that wait in it."""
        self.company = 1
        """Calls in its last batch."""


class Call:
    """The items of one caller: how many were taken, and the results so far."""

    __slots__ = ("arrived", "computed", "future", "items", "lane", "loop", "render", "results", "started", "taken")

    def __init__(self, lane: Lane, items: Sequence[Any], render: Callable[[Any], Any]) -> None:
        self.lane, self.items, self.render = lane, items, render
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Any]] = self.loop.create_future()
        self.taken = 0
        self.results: list[Any] = []
        self.arrived = time.monotonic()
        self.started = 0.0
        self.computed = 0.0
        """Seconds that its batches took."""

    @property
    def left(self) -> int:
        """Items that no batch has taken yet."""
        return len(self.items) - self.taken


Batch = list[tuple[Call, int, int]]
"""Calls, and which of their items are in it: from the one number to the other."""
OnBatch = Callable[[str, int, int, float], None]
"""Told of each batch: the lane's name, its calls, its items, its seconds."""


class Batcher:
    """One thread that works through the items of many calls.

    Args:
        max_batch: items of a batch.
        max_wait: seconds that an item waits for others.
        max_queue: items that may wait, over all lanes.
        on_batch: told of each batch, in the thread.
    """

    def __init__(
        self, *, max_batch: int, max_wait: float, max_queue: int, on_batch: OnBatch = lambda *facts: None
    ) -> None:
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.waiting = 0
        """Items that wait, over all lanes."""
        self._on_batch = on_batch
        self._lanes: deque[Lane] = deque()  # those in which items wait; the first one's turn is next
        self._changed = threading.Condition()
        self._closing = False
        self._rate = 0.0
        self._thread = threading.Thread(target=self._run, name="understudy-model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def submit(self, lane: Lane, items: Sequence[Any], render: Callable[[Any], Any] = lambda result: result) -> Call:
        """Put items in a lane. Await the call's ``future`` for the results.

        Args:
            render: applied to each result in the thread, so that the event loop need not.

        Raises:
            Overloaded: if too many items wait already.
            Stopped: if the batcher is closing.
        """
        call = Call(lane, items, render)
        if not items:
            call.future.set_result([])
            return call
        with self._changed:
            if self._closing:
                raise Stopped
            if self.waiting + len(items) > self.max_queue:
                raise Overloaded(self._retry_after())
            if not lane.waiting:
                self._lanes.append(lane)
            lane.waiting.append(call)
            lane.items += len(items)
            self.waiting += len(items)
            # the thread looks again only if that changes what it does: waking it costs more than a small model's answer
            if self.waiting == len(items) or self._is_due(lane):
                self._changed.notify()
        return call

    def abandon(self, call: Call) -> None:
        """Leave out what no batch has taken of a call, because nobody waits for it any more."""
        with self._changed:
            self._drop(call)
        if not call.future.done():
            call.future.cancel()

    def close(self) -> None:
        """Answer everything that waits, then end the thread. New calls are refused from now on."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _retry_after(self) -> int:
        return min(max(1, math.ceil(self.waiting / max(self._rate, _SLOWEST) / 2)), _LONGEST_RETRY)

    def _drop(self, call: Call) -> None:
        call.lane.items -= call.left
        self.waiting -= call.left
        call.taken = len(call.items)

    def _is_due(self, lane: Lane) -> bool:
        return lane.items >= self._room(lane) or len(lane.waiting) >= lane.company

    def _room(self, lane: Lane) -> int:
        return self.max_batch if lane.most is None else min(lane.most, self.max_batch)

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._work(*batch)

    def _next(self) -> tuple[Lane, Batch] | None:
        """The next batch, as soon as it is due; None at the end."""
        with self._changed:
            while True:
                while self._lanes and not self._lanes[0].items:  # all of its calls were abandoned
                    self._lanes.popleft().waiting.clear()
                if not self._lanes:
                    if self._closing:
                        return None
                    self._changed.wait()
                    continue
                lane = self._lanes[0]
                left = lane.waiting[0].arrived + self.max_wait - time.monotonic()
                if left <= 0 or self._closing or self._is_due(lane):
                    return lane, self._take(lane)
                self._changed.wait(left)

    def _take(self, lane: Lane) -> Batch:
        """A batch of a lane: every call gives its share, from the first on. What is left of it goes to the end."""
        spans: dict[Call, int] = {}
        room, queue = self._room(lane), lane.waiting
        while room and queue:
            share = max(1, room // len(queue))
            for _ in range(min(len(queue), room)):
                call = queue.popleft()
                count = min(share, room, call.left)
                if count:
                    spans.setdefault(call, call.taken)
                    call.taken += count
                    room -= count
                if call.left:
                    queue.append(call)
        self._lanes.popleft()
        if queue:
            self._lanes.append(lane)
        taken = self._room(lane) - room
        lane.items -= taken
        self.waiting -= taken
        lane.company = len(spans)
        return [(call, begin, call.taken) for call, begin in spans.items()]

    def _work(self, lane: Lane, batch: Batch) -> None:
        items = [item for call, begin, end in batch for item in call.items[begin:end]]
        started = time.monotonic()
        for call, _, _ in batch:
            call.started = call.started or started
        try:
            results = lane.work(items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(items)} items were given, but {len(results)} results came back")
        except Exception as error:  # whatever a model raises is told to whoever asked
            if len(batch) > 1:  # one call's text need not be the others' fault
                for one in batch:
                    self._work(lane, [one])
            else:
                with self._changed:
                    self._drop(batch[0][0])
                self._settle([(batch[0][0], error)])
            return
        took = time.monotonic() - started
        rate = len(items) / max(took, 1e-9)
        self._rate = _MEMORY * (self._rate or rate) + (1 - _MEMORY) * rate
        self._on_batch(lane.name, len(batch), len(items), took)
        self._hand_out(batch, results, took)

    def _hand_out(self, batch: Batch, results: Sequence[Any], took: float) -> None:
        place, whole = 0, list[tuple[Call, Exception | None]]()
        for call, begin, end in batch:
            own = results[place : place + end - begin]
            place += end - begin
            call.computed += took
            try:
                call.results += map(call.render, own)
            except Exception as error:
                with self._changed:
                    self._drop(call)
                whole.append((call, error))
                continue
            if len(call.results) == len(call.items):
                whole.append((call, None))
        self._settle(whole)

    def _settle(self, done: list[tuple[Call, Exception | None]]) -> None:
        """Tell the callers, with one message to each event loop."""
        for loop in {call.loop for call, _ in done}:
            own = [(call, error) for call, error in done if call.loop is loop]
            try:
                loop.call_soon_threadsafe(_tell, own)
            except RuntimeError:  # the loop is closed: nobody waits
                continue


def _tell(done: list[tuple[Call, Exception | None]]) -> None:
    for call, error in done:
        if call.future.done():  # given up
            continue
        if error is None:
            call.future.set_result(call.results)
        else:
            call.future.set_exception(error)
