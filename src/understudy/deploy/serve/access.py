"""Who may ask, before anything else is looked at; and headers that every answer has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

OPEN = "/health"
"""The one route that asks for no token, so that a supervisor can look."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_POLICY = b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page's own script and style, and nothing from elsewhere: what a text says can never become code."""
_SLOWEST_READER = 60.0
"""Seconds in which a client must take each part of an answer."""
_TAKEN_AT_ONCE = 65_536
"""Bytes of an answer that are handed to the system without waiting for the client."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine for itself."""


class Guard:
    """Looks at every request first (ASGI).

    Args:
        app: what answers.
        token: what must be sent, as ``Authorization: Bearer TOKEN`` or as the password of Basic, which browsers ask for.
        hosts: the names under which the server may be called; None for any. A server on loopback knows its own names: a
            page of another site that has its name point there is refused.
        routes: paths that are counted by name.
        on_request: told of each request: route, status, seconds.
    """

    def __init__(
        self,
        app: Any,
        *,
        token: str | None,
        hosts: Collection[str] | None,
        routes: Collection[str],
        on_request: Callable[[str, int, float], None],
    ) -> None:
        self.app, self.hosts, self.routes, self.on_request = app, hosts, routes, on_request
        self._token = None if token is None else _digest(token)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path, begun, status, gone = scope["path"], time.monotonic(), 0, False

        async def tell(message: MutableMapping[str, Any]) -> None:
            nonlocal status, gone
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS, (b"content-security-policy", _POLICY)]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append((b"cache-control", b"no-store"))
            if len(message.get("body", b"")) < _TAKEN_AT_ONCE:
                await send(message)
                return
            try:
                async with asyncio.timeout(_SLOWEST_READER):
                    await send(message)
            except TimeoutError:
                gone = True
                raise

        try:
            refused = self._refusal(path, dict(scope["headers"]))
            if refused is None:
                await self.app(scope, receive, tell)
            else:
                await _refuse(tell, *refused)
        except TimeoutError:
            if not gone:
                raise
            # otherwise the client takes nothing more, and the connection is given up
        finally:
            self.on_request(path if path in self.routes else "other", status, time.monotonic() - begun)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        if self.hosts is not None:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
            if name not in self.hosts:
                return (
                    421,
                    f"Host is {host!r:.100}, but this server answers on its own machine only, as {' or '.join(sorted(self.hosts))}. Start it with --host and --token to be called by another name.",
                    [],
                )
        if self._token is None or path == OPEN:
            return None
        if hmac.compare_digest(_digest(_sent(headers.get(b"authorization", b""))), self._token):
            return None
        challenge = (b"www-authenticate", b'Basic realm="understudy", charset="UTF-8"')
        return (401, "this server asks for its token. Send the header Authorization: Bearer TOKEN.", [challenge])


def _digest(token: str) -> bytes:
    """Of one length whatever the token's is: a comparison takes as long for any."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _sent(header: bytes) -> str:
    """The token in a header, or nothing.

    Example:
        >>> _sent(b"Bearer abc"), _sent(b"Basic " + base64.b64encode(b"anyone:abc")), _sent(b"abc")
        ('abc', 'abc', '')
    """
    scheme, _, value = header.decode("utf-8", "surrogateescape").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


async def _refuse(send: Any, status: int, fault: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = json.dumps({"detail": [fault]}).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
