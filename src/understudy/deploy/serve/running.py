"""The server itself: its address, its process, its end."""

from __future__ import annotations

import asyncio
import errno
import gc
import ipaddress
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from understudy.deploy.serve.access import LOOPBACK
from understudy.deploy.serve.app import make_app
from understudy.deploy.serve.limits import TOKEN, Limits
from understudy.deploy.serve.served import Explainer, Say, ServedFolder, ServedModels
from understudy.errors import ConfigError

_BACKLOG = 2048
_HEAD_BYTES = 1 << 16
"""Of the address and the headers of a request; a token comes with them, so they are read from anyone."""
_TOO_LONG = f"the address and the headers of a request may have {_HEAD_BYTES:,} bytes.\n".encode()
_GRACE = 60
"""Seconds after which a server that is stopping gives up what it has not answered."""


def serve(
    sources: Sequence[ServedFolder],
    *,
    host: str,
    port: int,
    token: str | None,
    limits: Limits,
    reload_seconds: float,
    explainer: Explainer,
    say: Say,
) -> None:
    """Listen, load, and answer until SIGTERM or Ctrl-C.

    Args:
        sources: the folders.
        host: the address to listen at; one of loopback is this machine alone.
        port: 0 for any that is free.
        token: what callers must send; empty or None for nothing.
        limits: what is taken in.
        reload_seconds: how often the folders are looked at; 0 for never.
        explainer: what attributes answers to tokens.
        say: told what is served, and what went wrong.

    Raises:
        UnderstudyError: if the address cannot be had, or a folder cannot be loaded.
    """
    found = listen(host, port)
    try:
        models = ServedModels(sources, explainer=explainer, say=say)
        alone = _is_loopback(found)
        if not alone and not token:
            say(
                f"note: --host {host} without a token: anyone who reaches this machine can call it. Ask for one with --token or the environment variable {TOKEN}, or listen at 127.0.0.1."
            )
        app = make_app(
            models,
            limits=limits,
            token=token or None,
            hosts={*LOOPBACK, host} if alone and not token else None,
            reload_seconds=reload_seconds,
            say=say,
        )
        say(
            f"{address_of(found)} answers with {', '.join(models)}. Its page is at /, its documentation at /openapi.json."
        )
        gc.collect()
        gc.freeze()  # what the imports left is never looked through again, which would hold up answers
        run_server(app, found, read_seconds=limits.read_seconds, say=say)
    finally:
        found.close()


def _is_loopback(found: socket.socket) -> bool:
    return ipaddress.ip_address(found.getsockname()[0].partition("%")[0]).is_loopback


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Callers that come before the models are loaded wait.

    Raises:
        ConfigError: if the address cannot be had.
    """
    if not 0 <= port <= 65535:  # some systems would take the rest of a division
        raise ConfigError(
            f"--port is {port}, but ports go from 1 to 65535. Name one of them, or 0 for any that is free."
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(_BACKLOG)
        except OSError:
            found.close()
            raise
    except (OSError, UnicodeError) as error:
        raise ConfigError(_fault(host, port, error)) from None
    return found


def _fault(host: str, port: int, error: OSError | UnicodeError) -> str:
    number = getattr(error, "errno", errno.EADDRNOTAVAIL)  # a name that cannot be one is a UnicodeError
    if number == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use by another program. Name another with --port, or 0 for any that is free."
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} of {host} may not be used by this user. Name one above 1023 with --port."
    if isinstance(error, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine. Name 127.0.0.1 for this machine alone, or 0.0.0.0 for every network that it is in."
    return f"{host}, port {port}: {os.strerror(number)}. Name another --host or --port."


def address_of(found: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = found.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_server(app: Any, found: socket.socket, *, read_seconds: float, say: Say) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what was accepted.

    One process serves: a model's batch uses every core that it was given, and several processes would take the same cores
    from each other and hold the models several times. If the process itself is killed, whoever supervises it (systemd,
    Docker, Kubernetes) starts it again.

    Args:
        app: the application.
        found: where it listens.
        read_seconds: in which the headers of a request must be whole.
        say: told when it stops.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(read_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        log_level="error",  # a request that is no HTTP is answered, and need not be told
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)
    if threading.current_thread() is not threading.main_thread():
        server.run(sockets=[found])
        return
    # uvicorn stops in peace and then sends itself the signal again, which here only says so
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[found])
        say("stopped: everything that was accepted is answered.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _protocol(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which closes a connection whose headers are not whole in time, or are too long."""

    class Impatient(HttpToolsProtocol):
        _overdue: asyncio.TimerHandle | None = None
        _head = 0

        def data_received(self, data: bytes) -> None:
            waits = self._overdue is not None
            super().data_received(data)
            if not waits or self._overdue is None or self.transport.is_closing():
                return
            self._head += len(data)
            if self._head > _HEAD_BYTES:
                self.transport.write(
                    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
                    b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(_TOO_LONG), _TOO_LONG)
                )
                self.transport.close()

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._await_headers()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._overdue is None:
                self._await_headers()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _await_headers(self) -> None:
            self._head = 0
            self._overdue = self.loop.call_later(seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None

    return Impatient
