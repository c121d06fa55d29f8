"""The server on a real socket: many clients, rude clients, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from serving_stubs import Stub, server, shares_of

from understudy.deploy.serve.limits import Limits
from understudy.deploy.serve.running import address_of, listen
from understudy.errors import ConfigError

PROCESS = """
import sys
from pathlib import Path
from serving_stubs import Stub, sources
from understudy.deploy.serve.limits import Limits
from understudy.deploy.serve.running import serve

def say(line):
    print(line, file=sys.stderr, flush=True)

serve(sources(stub=Stub(seconds=float(sys.argv[1]))), host="127.0.0.1", port=0, token=None, limits=Limits(),
      reload_seconds=0.0, explainer=lambda model: None, say=say)
"""


async def talked(address: str, content: bytes, *, wait: float = 20.0) -> bytes:
    """What comes back for raw bytes, until the server closes the connection or says a whole answer."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(content)
        async with asyncio.timeout(wait):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            return head + await reader.readexactly(int(length.split(b":")[1]))
    finally:
        writer.close()


def question(**body: Any) -> bytes:
    """A whole request."""
    content = json.dumps(body).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def test_sixty_four_clients_get_their_own_answers() -> None:
    async def one(found: httpx.AsyncClient, number: int) -> None:
        for turn in range(4):
            texts = [f"{number} {turn} {i}" for i in range(1 + (number * turn) % 5)]
            answer = await found.post("/predict", json={"texts": texts})
            assert answer.status_code == 200
            assert [told["probabilities"] for told in answer.json()["predictions"]] == list(map(shares_of, texts))

    async def run(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60) as found:
            await asyncio.gather(*(one(found, number) for number in range(64)))

    model = Stub(seconds=0.002)
    with server({"stub": model}) as address:
        asyncio.run(run(address))
    assert max(map(len, model.batches)) > 8, "they were answered together"
    assert max(map(len, model.batches)) <= 32


def test_rude_clients_hurt_nobody() -> None:
    async def run(address: str) -> None:
        where = urlsplit(address)
        silent = [await asyncio.open_connection(where.hostname, where.port) for _ in range(20)]
        halves = [await asyncio.open_connection(where.hostname, where.port) for _ in range(20)]
        for _, writer in halves:
            writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Le")
        begun = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        slow = [asyncio.create_task(talked(address, begun)) for _ in range(20)]
        leaving = await asyncio.open_connection(where.hostname, where.port)
        leaving[1].write(question(texts=["x"] * 5000))
        await leaving[1].drain()
        leaving[1].close()
        for i in range(20):
            assert b'"predictions"' in await talked(address, question(text=f"fine {i}"))
        for told in await asyncio.gather(*slow):
            assert told.startswith(b"HTTP/1.1 408 ")
            assert b"the body took longer than 0.5 seconds" in told
        for reader, writer in silent + halves:
            async with asyncio.timeout(20):
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.close()
        assert (await talked(address, b"what is this?\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        large = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
        assert (await talked(address, large)).startswith(b"HTTP/1.1 413 ")
        for head in (b"GET /" + b"x" * 200_000, b"GET / HTTP/1.1\r\nX: " + b"x" * 400_000):
            assert (await talked(address, head)).startswith(b"HTTP/1.1 431 ")
        assert b'"predictions"' in await talked(address, question(text="still there"))

    with server({"stub": Stub()}, limits=Limits(read_seconds=0.5)) as address:
        asyncio.run(run(address))


def test_a_kept_connection_may_rest_between_questions() -> None:
    with (
        server({"stub": Stub()}, limits=Limits(read_seconds=0.2)) as address,
        httpx.Client(base_url=address) as found,
    ):
        for text in ("one", "two"):
            assert found.post("/predict", json={"text": text}).status_code == 200
            time.sleep(0.5)


def test_ten_thousand_texts_in_one_call() -> None:
    texts = [f"text {i} " + "é" * (i % 50) for i in range(10_000)]
    with server({"stub": Stub()}) as address:
        answer = httpx.post(f"{address}/predict", json={"texts": texts, "top_k": 3}, timeout=60)
    told = answer.json()["predictions"]
    assert [one["probabilities"] for one in told] == list(map(shares_of, texts))


def test_an_address_that_cannot_be_had() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    try:
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use by another program. Name another"):
            listen("127.0.0.1", port)
        with pytest.raises(ConfigError, match=r"--host 203.0.113.7 is no address of this machine"):
            listen("203.0.113.7", 0)
        with pytest.raises(ConfigError, match=r"--host no such name is no address of this machine"):
            listen("no such name", 0)
        with pytest.raises(ConfigError, match=r"--host not..a..host is no address of this machine"):
            listen("not..a..host", 0)
        with pytest.raises(ConfigError, match="--port is 99999, but ports go from 1 to 65535"):
            listen("127.0.0.1", 99_999)
    finally:
        taken.close()
    again = listen("127.0.0.1", port)
    again.close()
    if socket.has_ipv6:
        try:
            six = listen("::1", 0)
        except ConfigError:
            return
        assert address_of(six).startswith("http://[::1]:")
        six.close()


@contextmanager
def process(seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-c", PROCESS, str(seconds)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    assert running.stderr is not None
    line = running.stderr.readline()
    try:
        assert "answers with stub. Its page is at /" in line, line + running.stderr.read()
        yield running, line.split()[0]
    finally:
        running.kill()
        running.wait()
        running.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_last_answer(number: int) -> None:
    async def run(running: subprocess.Popen[str], address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60) as found:
            texts = [[f"{i} {k}" for k in range(40)] for i in range(30)]
            calls = [asyncio.create_task(found.post("/predict", json={"texts": some})) for some in texts]
            while 'understudy_batch_texts_count{model="stub"}' not in (await found.get("/metrics")).text:
                await asyncio.sleep(0.01)
            running.send_signal(number)
            for some, call in zip(texts, calls):
                told = (await call).json()["predictions"]
                assert [one["probabilities"] for one in told] == list(map(shares_of, some))
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:  # the door is shut, perhaps a moment later
                try:
                    await httpx.AsyncClient().get(f"{address}/health")
                except httpx.ConnectError:
                    break
            else:
                pytest.fail("new connections are still taken")

    with process(0.02) as (running, address):
        asyncio.run(run(running, address))
        assert running.wait(30) == 0
        assert running.stderr is not None
        assert running.stderr.read() == "stopped: everything that was accepted is answered.\n"
