"""What the routes do: a body in, answers out, with the model's work left to the batcher."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from understudy.data.tasks import Task
from understudy.deploy.serve.batcher import Batcher, Call, Lane, Overloaded, Stopped
from understudy.deploy.serve.bodies import Bodies, Refused
from understudy.deploy.serve.limits import Limits
from understudy.deploy.serve.metrics import Metrics
from understudy.deploy.serve.schemas import (
    AttributionQuestion,
    Health,
    Models,
    Question,
    parsed,
    rendering,
    text_fault,
    texts_of,
)
from understudy.deploy.serve.served import Say, ServedModel, ServedModels
from understudy.errors import UnderstudyError
from understudy.inference.answers import Prediction
from understudy.version import VERSION

_LARGE = 65_536
"""Bytes of a body that is parsed in another thread, so that the event loop goes on."""
_WATCHED = 256
"""Texts of a call whose caller is watched: if it goes away, the rest is not computed."""
Result = TypeVar("Result")


class Service:
    """The state of a server, and one method a route.

    Args:
        models: what answers.
        limits: what is taken in.
        reload_seconds: how often the folders are looked at; 0 for never.
        say: told what went wrong.
    """

    def __init__(self, models: ServedModels, *, limits: Limits, reload_seconds: float, say: Say) -> None:
        self.models, self.limits, self.reload_seconds, self.say = models, limits, reload_seconds, say
        self.metrics = Metrics()
        self.bodies = Bodies(limits)
        self._batcher: Batcher | None = None
        models.on_reload = self.metrics.on_reload
        self.metrics.watch_waiting(lambda: self._batcher.waiting if self._batcher else 0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, questions are answered. At the end everything that was taken is answered first."""
        limits = self.limits
        self._batcher = Batcher(
            max_batch=limits.max_batch,
            max_wait=limits.max_wait_ms / 1000,
            max_queue=limits.max_queue,
            on_batch=self.metrics.on_batch,
        )
        watching = asyncio.create_task(self._watch()) if self.reload_seconds else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
            await asyncio.to_thread(self._batcher.close)

    async def predict(self, request: Request) -> Response:
        """``POST /predict``."""
        body = await self.bodies.read(request.headers, request.receive)
        try:
            model, texts, render = await self._aside(body, self._asked)
            call = await self._answered(request, model.answers, texts, render)
            head = json.dumps({"model": model.name, **_times(call)})[:-1].encode()
            answers = b", ".join(call.results)
            return _json(head + b', "predictions": [' + answers + b"]}")
        finally:
            self.bodies.release(body)

    async def attribute(self, request: Request) -> Response:
        """``POST /attributions``."""
        body = await self.bodies.read(request.headers, request.receive)
        try:
            asked = await self._aside(body, lambda content: parsed(AttributionQuestion, content))
            model = self._named(asked.model)
            if fault := text_fault(asked.text, model.task, self.limits):
                raise Refused(422, f"text {fault}")
            if model.attributions is None:
                raise Refused(
                    422,
                    f"model '{model.name}' has no gradients here, so its answers cannot be attributed. Ask a PyTorch or a TF-IDF model: /models says which can.",
                )
            if asked.label is not None and asked.label not in model.task.labels:
                raise Refused(422, _label_fault(asked.label, model.task))
            call = await self._answered(request, model.attributions, [(asked.text, asked.label)], _plain)
            told = {"model": model.name, "method": model.method, "computed_ms": _times(call)["computed_ms"]}
            return _json(json.dumps({**told, **call.results[0]}).encode())
        finally:
            self.bodies.release(body)

    def facts(self) -> Models:
        """``GET /models``."""
        return Models.model_validate(
            {"models": [model.facts() for model in self.models.values()], "problems": self.models.problems()}
        )

    def health(self) -> tuple[int, Health]:
        """``GET /health``: the status of HTTP, and what is told. It names no folder: it needs no token."""
        alive = self._batcher is not None and self._batcher.alive
        problems = dict.fromkeys(
            self.models.problems(),
            "the folder changed and could not be loaded; the model loaded before answers. /models and the log say why.",
        )
        status = "stopped" if not alive else "degraded" if problems else "ok"
        waiting = self._batcher.waiting if self._batcher else 0
        told = Health(status=status, models=list(self.models), problems=problems, waiting=waiting, version=VERSION)
        return (200 if alive else 503), told

    def _asked(self, body: bytes) -> tuple[ServedModel, Sequence[Any], Callable[[Prediction], bytes]]:
        asked = parsed(Question, body)
        model = self._named(asked.model)
        return model, texts_of(asked, model.task, self.limits), rendering(asked)

    async def _aside(self, body: bytes, read: Callable[[bytes], Result]) -> Result:
        return await asyncio.to_thread(read, body) if len(body) > _LARGE else read(body)

    def _named(self, name: str | None) -> ServedModel:
        try:
            return self.models.named(name)
        except KeyError as error:
            raise Refused(404, str(error.args[0])) from None

    async def _answered(self, request: Request, lane: Lane, items: Sequence[Any], render: Callable[[Any], Any]) -> Call:
        """The call with its results.

        Raises:
            Refused: if there is no room, it takes too long, or the model fails.
        """
        assert self._batcher is not None
        try:
            call = self._batcher.submit(lane, items, render)
        except Overloaded as error:
            raise Refused(
                503,
                f"{self._batcher.waiting:,} texts wait, and at most {self.limits.max_queue:,} may. Try again in {error.retry_after} seconds.",
                headers={"Retry-After": str(error.retry_after)},
            ) from None
        except Stopped:
            raise Refused(503, "the server is stopping. Try again.", headers={"Retry-After": "5"}) from None
        leaving = asyncio.create_task(self._left(request, call)) if len(items) > _WATCHED else None
        try:
            done, _ = await asyncio.wait([call.future], timeout=self.limits.answer_seconds)
        except asyncio.CancelledError:
            self._batcher.abandon(call)
            raise
        finally:
            if leaving is not None:
                leaving.cancel()
        if not done:
            self._batcher.abandon(call)
            raise Refused(
                503,
                f"the answer took longer than {self.limits.answer_seconds:g} seconds. Send fewer texts at once, or try again later.",
                headers={"Retry-After": "60"},
            )
        if call.future.cancelled():
            raise Refused(400, "the connection was closed before the answer.")
        if (failure := call.future.exception()) is not None:
            raise self._failed(failure)
        return call

    async def _left(self, request: Request, call: Call) -> None:
        """Give a call up when whoever asked is gone."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if not call.future.done():
            assert self._batcher is not None
            self._batcher.abandon(call)

    def _failed(self, error: BaseException) -> Refused:
        if isinstance(error, UnderstudyError):
            self.say("\n".join(error.faults))
            return Refused(500, *error.faults)
        self.say("".join(traceback.format_exception(error)))
        return Refused(500, f"the model failed with {type(error).__name__}. The server's log says where.")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.reload_seconds)
            try:
                await asyncio.to_thread(self.models.refresh)
            except Exception:
                self.say(traceback.format_exc())


def _times(call: Call) -> dict[str, float]:
    waited = max((call.started or time.monotonic()) - call.arrived, 0.0)
    return {"waited_ms": round(1000 * waited, 3), "computed_ms": round(1000 * call.computed, 3)}


def _plain(result: Any) -> Any:
    return result


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _label_fault(label: str, task: Task) -> str:
    if not task.labels:
        return f"label is {label!r:.80}, but this model answers with a number. Leave it out."
    return f"label is {label!r:.80}, but the labels are {', '.join(map(repr, task.labels))}. Name one of them."
