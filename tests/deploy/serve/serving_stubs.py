"""Models without weights, whose answer tells which text it belongs to; and servers of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from understudy.data.tasks import Task, Text
from understudy.deploy.serve.app import make_app
from understudy.deploy.serve.limits import Limits
from understudy.deploy.serve.running import address_of, listen, run_server
from understudy.deploy.serve.served import ServedFolder, ServedModels
from understudy.inference.answers import Prediction

LABELS = ("bad", "fair", "good")
SINGLE = Task(text=(("text",),), label="label", kind="single_label", labels=LABELS)
PAIRS = Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=LABELS)
NUMBER = Task(text=(("text",),), label="score", kind="regression")
SEVERAL = Task(text=(("text",),), label="label", kind="multi_label", labels=LABELS)


def shares_of(text: Text) -> dict[str, float]:
    """Probabilities that belong to one text."""
    whole = text if isinstance(text, str) else " | ".join(text)
    first, second = (zlib.crc32(f"{seed}{whole}".encode()) / 2**32 / 2 for seed in (1, 2))
    return dict(zip(LABELS, (first, second, 1 - first - second)))


class Stub:
    """A model that says :func:`shares_of` a text. It notes its batches, and can be held up or fail."""

    def __init__(self, task: Task = SINGLE, *, seconds: float = 0.0) -> None:
        self.task, self.seconds = task, seconds
        self.batches: list[list[Text]] = []
        self.gate = threading.Event()
        self.gate.set()

    def fingerprint(self) -> str:
        """Of nothing."""
        return "stub"

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """The answers; the text `fail` fails."""
        assert self.gate.wait(30)
        self.batches.append(list(texts))
        if self.seconds:
            time.sleep(self.seconds)
        if "fail" in texts:
            raise ZeroDivisionError("as it was told to")
        return [self._answer(text) for text in texts]

    def _answer(self, text: Text) -> Prediction:
        shares = shares_of(text)
        if self.task.kind == "regression":
            return Prediction(shares["bad"], {})
        if self.task.kind == "multi_label":
            return Prediction([label for label, share in shares.items() if share > 0.3], shares)
        return Prediction(max(shares, key=shares.__getitem__), shares)


def sources(**models: Any) -> list[ServedFolder]:
    """Models as folders that never change."""
    return [ServedFolder(name, Path("/nowhere"), lambda model=model: model) for name, model in models.items()]


@contextlib.asynccontextmanager
async def client(
    models: dict[str, Any], *, limits: Limits | None = None, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without a socket."""
    served = options.pop("served", None) or ServedModels(sources(**models))
    app = make_app(served, limits=limits, **options)
    inner = next(iter(app.user_middleware)).cls  # the guard is there
    assert inner.__name__ == "Guard"
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as found,
    ):
        yield found


def asked(talk: Callable[[httpx.AsyncClient], Any], models: dict[str, Any] | None = None, **options: Any) -> Any:
    """What a talk with an application comes to."""

    async def run() -> Any:
        async with client(models or {"stub": Stub()}, **options) as found:
            return await talk(found)

    return asyncio.run(run())


@contextlib.contextmanager
def server(models: dict[str, Any], *, limits: Limits | None = None, **options: Any) -> Iterator[str]:
    """The address of a server on a real socket, in a thread of its own."""
    import uvicorn

    limits = limits or Limits()
    app = make_app(ServedModels(sources(**models)), limits=limits, **options)
    listening = listen("127.0.0.1", 0)
    running: list[uvicorn.Server] = []
    original = uvicorn.Server.__init__

    def keep(self: uvicorn.Server, config: uvicorn.Config) -> None:
        original(self, config)
        running.append(self)

    uvicorn.Server.__init__ = keep  # type: ignore[method-assign]
    thread = threading.Thread(
        target=run_server, args=(app, listening), kwargs={"read_seconds": limits.read_seconds, "say": lambda line: None}
    )
    address = address_of(listening)
    thread.start()
    try:
        yield address
    finally:
        running[0].should_exit = True
        thread.join(30)
        uvicorn.Server.__init__ = original  # type: ignore[method-assign]
        assert not thread.is_alive()
