"""The application (ASGI): routes, their documentation, and faults as sentences."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from understudy.deploy.serve.access import Guard
from understudy.deploy.serve.bodies import Refused
from understudy.deploy.serve.limits import Limits
from understudy.deploy.serve.metrics import CONTENT_TYPE
from understudy.deploy.serve.schemas import (
    Answered,
    Attributed,
    AttributionQuestion,
    Fault,
    Health,
    Models,
    Question,
    question_schema,
)
from understudy.deploy.serve.served import Say, ServedModels
from understudy.deploy.serve.service import Service
from understudy.version import VERSION

_PAGE = {
    "/": ("playground.html", "text/html; charset=utf-8"),
    "/playground.css": ("playground.css", "text/css; charset=utf-8"),
    "/playground.js": ("playground.js", "text/javascript; charset=utf-8"),
}
"""The page, which comes in three files so that it needs no code in its text."""
_FAULTS = {
    400: "The connection was closed",
    401: "The token is missing or wrong",
    404: "There is no such model",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not sent as JSON",
    421: "The server was called by a name that is not its own",
    422: "The body is not what is asked for",
    500: "The model failed",
    503: "Too much is waiting, or the server is stopping",
}


def make_app(
    models: ServedModels,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    reload_seconds: float = 0.0,
    say: Say = lambda line: None,
) -> FastAPI:
    """The application that serves models.

    Args:
        models: what answers: anything with ``predict`` and ``task``.
        limits: what is taken in (the defaults of :class:`~understudy.deploy.serve.limits.Limits`).
        token: what every route but ``/health`` asks for.
        hosts: the names under which it may be called; None for any.
        reload_seconds: how often the folders are looked at; 0 for never.
        say: told of failures and of folders that were loaded again.
    """
    limits = limits or Limits()
    service = Service(models, limits=limits, reload_seconds=reload_seconds, say=say)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="understudy",
        description="Answers of small language models.",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,  # those pages are fetched from elsewhere
        redoc_url=None,
        exception_handlers={Refused: _refused, HTTPException: _not_found},
    )
    _add_routes(app, service, secret=token is not None)
    for path, (name, kind) in _PAGE.items():
        app.add_route(path, _file(Path(__file__).with_name(name), kind), methods=["GET"], include_in_schema=False)
    routes = {getattr(route, "path", "") for route in app.routes} | {"/openapi.json"}
    app.add_middleware(Guard, token=token, hosts=hosts, routes=routes, on_request=service.metrics.on_request)
    return app


def _add_routes(app: FastAPI, service: Service, *, secret: bool) -> None:
    """The routes that OpenAPI shows."""
    guarded = (421, *([401] if secret else []))
    asked = _told(400, 404, 408, 413, 415, 422, 500, 503, *guarded)

    @app.post(
        "/predict",
        response_model=Answered,
        response_model_exclude_none=True,
        responses=asked,
        openapi_extra=question_schema(Question, service.limits),
    )
    async def predict(request: Request) -> Response:
        """Answers for one text or several."""
        return await service.predict(request)

    @app.post(
        "/attributions",
        response_model=Attributed,
        responses=asked,
        openapi_extra=question_schema(AttributionQuestion, service.limits),
    )
    async def attributions(request: Request) -> Response:
        """Which tokens of a text speak for its label, and which against it."""
        return await service.attribute(request)

    @app.get("/models", responses=_told(*guarded))
    async def models() -> Models:
        """The models that are served."""
        return service.facts()

    @app.get(
        "/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "The server cannot answer"}, **_told(421)},
    )
    async def health() -> JSONResponse:
        """Whether the server answers. It asks for no token."""
        status, told = service.health()
        return JSONResponse(told.model_dump(), status_code=status)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}, **_told(*guarded)})
    async def metrics() -> Response:
        """What was counted, in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Fault, "description": _FAULTS[status]} for status in statuses}


def _file(path: Path, kind: str) -> Callable[[Request], Any]:
    content = path.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


async def _refused(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"detail": list(error.faults)}, status_code=error.status, headers=error.headers)


async def _not_found(request: Request, error: Any) -> JSONResponse:
    """What the router itself says: no such path, or another method."""
    told = f"{request.method} {request.url.path!r:.100}: {error.detail}. /openapi.json lists what there is."
    return JSONResponse({"detail": [told]}, status_code=error.status_code, headers=error.headers)
