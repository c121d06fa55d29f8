"""Bodies of requests, read within limits of size, of time and of all that is being read at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from understudy.deploy.serve.limits import Limits

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_AT_ONCE = 8
"""Bodies of the largest size that may be in memory at once."""


class Refused(Exception):
    """A request that is answered with a fault.

    Args:
        status: of HTTP.
        faults: sentences: the place, the rule, the value, the way out.
        headers: of the answer.
    """

    def __init__(self, status: int, *faults: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(" ".join(faults))
        self.status, self.faults, self.headers = status, faults, dict(headers or {})


class Bodies:
    """Reads bodies; what is being read counts until the call that it belongs to has ended."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0
        """Bytes of all bodies in memory."""

    async def read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The body of a request in JSON. Give it back to :meth:`release` when the call has ended.

        Raises:
            Refused: if it is no JSON by its type, too large, too slow, or more than there is room for.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # a page of another site can send any other type without asking first
            raise Refused(415, f"Content-Type must be application/json, but is {kind!r:.80}. Send that header.")
        told = headers.get("content-length", "")
        if told.isdigit() and len(told) < 20:
            self._check(int(told), self.held + int(told))
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the connection was closed before the body was whole.")
                    part = message.get("body", b"")
                    self._check(len(body) + len(part), self.held + len(part))
                    body += part
                    self.held += len(part)
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            self.held -= len(body)
            raise Refused(
                408,
                f"the body took longer than {self.limits.read_seconds:g} seconds. Send it faster, or less of it.",
                headers={"Connection": "close"},
            ) from None
        except BaseException:
            self.held -= len(body)
            raise

    def release(self, body: bytes) -> None:
        """Forget a body that was read."""
        self.held -= len(body)

    def _check(self, size: int, held: int) -> None:
        most = self.limits.body_bytes
        if size > most:
            raise Refused(
                413,
                f"the body has {size:,} bytes or more, but must have {most:,} at most. Send the texts in several calls.",
            )
        if held > _AT_ONCE * most:
            raise Refused(
                503,
                "too many large requests are being read. Try again.",
                headers={"Retry-After": "1"},
            )
