"""A headless Chromium that is told what to do over its debugging pipe, and a static server for it. No other package."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--remote-debugging-pipe", "--mute-audio", "--hide-scrollbars"),
)
WAIT_S = 90


def chromium() -> str | None:
    """The program, where it is installed."""
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder on a port of this machine, as any static server has it; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Tab:
    """One tab of a browser; events are kept in the order in which they came."""

    def __init__(self, sending: int, receiving: int) -> None:
        self._sending, self._receiving = sending, receiving
        self._numbers, self._rest = itertools.count(1), b""
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # requests of workers are told of as well
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sending, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                result: dict[str, Any] = told["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._receiving, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._rest += part
        one, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(one)
        if "method" in told:
            self.events.append(told)
            if told["method"] == "Target.attachedToTarget" and self._session:
                session = told["params"]["sessionId"]
                os.write(
                    self._sending,
                    json.dumps({"id": 0, "method": "Network.enable", "sessionId": session}).encode() + b"\0",
                )
        return told

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript, of a promise when it is kept."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", {}).get("description", found)))
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait for an expression to be true; its value."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                if found := self.value(expression):
                    return found
            except RuntimeError as error:
                if "context" not in str(error):  # between two pages there is none
                    raise
            time.sleep(0.02)
        raise TimeoutError(
            f"{expression} does not become true; the page says {self.value('document.body.innerText')!r:.500}"
        )

    def requests(self) -> list[str]:
        """The addresses that were asked for."""
        return [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors and warnings that the page gave rise to."""
        thrown = [str(one["params"]) for one in self.events if one["method"] == "Runtime.exceptionThrown"]
        logged = [one["params"]["entry"] for one in self.events if one["method"] == "Log.entryAdded"]
        return thrown + [str(entry) for entry in logged if entry["level"] in ("error", "warning")]


@contextmanager
def tab() -> Iterator[Tab]:
    """A tab of a new browser with an empty profile; the browser ends with it."""
    program = chromium()
    assert program is not None
    to_browser, sending = os.pipe()
    receiving, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", script, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Tab(sending, receiving)
        finally:
            os.close(sending)
            os.close(receiving)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
