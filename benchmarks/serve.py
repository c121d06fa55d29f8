"""With 64 clients at once, how much of the bare ONNX loop's throughput does the server keep, and is every answer its text's?

Contenders in turn: a loop that answers one text after the other in Python (``predict_one``), the same in batches of 32,
``understudy serve``, the small runtime's ``serve``, and LitServe 0.2.19 on the same model with the same batch size. The
models are exported with random weights in their usual sizes. Clients are one process with 64 connections; each compares
every answer with what the model says of its text alone. Memory is the server's resident memory.

Needs ``pip install litserve==0.2.19 onnxruntime tokenizers numpy`` in an environment of its own, whose Python the variable
UNDERSTUDY_LITSERVE names (without it LitServe is left out), and schemathesis in another, whose ``st`` UNDERSTUDY_SCHEMATHESIS
names.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evidence import DATA, ROOT, Setting, begin, in_turn, target, write

CLIENTS, SECONDS, ROUNDS, TEXTS, BATCH = 64, 20, 3, 2000, 32
LARGE, LARGE_CALLS = 10_000, 5
OURS, RUNTIME, LITSERVE, LOOP, BULK = (
    "understudy serve",
    "understudy_runtime serve",
    "litserve",
    "bare loop",
    "bare batches of 32",
)
LOAD = """
import asyncio, json, sys, time

host, port, path, seconds, clients, place = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), sys.argv[6]
rows = json.load(open(place))
questions = []
for text, _ in rows:
    body = json.dumps({"text": text}).encode()
    head = f"POST {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    questions.append(head.encode() + body)
times, counts = [], {"wrong": 0, "errors": 0}


class Client(asyncio.Protocol):
    def __init__(self, number):
        self.turn, self.buffer, self.done = number * 31, b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        if time.perf_counter() > end:
            self.transport.close()
            return
        self.turn = (self.turn + 1) % len(questions)
        self.began = time.perf_counter()
        self.transport.write(questions[self.turn])

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\\r\\n\\r\\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0])
        if len(body) < length:
            return
        times.append(time.perf_counter() - self.began)
        self.buffer = b""
        if not head.startswith(b"HTTP/1.1 200"):
            counts["errors"] += 1
        else:
            told = json.loads(body)
            told = told["predictions"][0] if "predictions" in told else told
            expected = rows[self.turn][1]
            near = all(abs(told["probabilities"][label] - share) < 2e-5 for label, share in expected.items())
            counts["wrong"] += not near
        self.ask()

    def connection_lost(self, error):
        if time.perf_counter() <= end:
            counts["errors"] += 1
        self.done.set_result(None)


async def main():
    global end
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    end = began + seconds
    made = [await loop.create_connection(lambda number=number: Client(number), host, port) for number in range(clients)]
    await asyncio.gather(*(client.done for _, client in made))
    took = time.perf_counter() - began
    times.sort()
    print(json.dumps({**counts, "requests": len(times), "seconds": took, "per_second": len(times) / took,
                      "p50_ms": 1000 * times[len(times) // 2], "p99_ms": 1000 * times[len(times) * 99 // 100]}))


asyncio.run(main())
"""
BARE = """
import json, sys, time
from understudy_runtime import load
folder, threads, seconds, batch, place = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
texts = [text for text, _ in json.load(open(place))]
model = load(folder, threads=threads)
model.predict(texts[:64]), model.predict_one(texts[0])
began, count = time.perf_counter(), 0
while time.perf_counter() - began < seconds:
    start = count % (len(texts) - batch)
    model.predict(texts[start:start + batch]) if batch > 1 else model.predict_one(texts[start])
    count += batch
print(json.dumps({"per_second": count / (time.perf_counter() - began)}))
"""
LIT = """
import sys
import litserve
from understudy_runtime import load
folder, threads, port, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

class API(litserve.LitAPI):
    def setup(self, device):
        self.model = load(folder, threads=threads)
    def decode_request(self, request):
        return request["text"]
    def predict(self, texts):
        return self.model.predict(texts)
    def batch(self, inputs):
        return list(inputs)
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        return {"label": output.label, "probabilities": output.probabilities}

if __name__ == "__main__":
    api = API(max_batch_size=batch, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, num_api_servers=1, log_level="error")
"""


def gathered(place: Path) -> str:
    """The small runtime as it is installed; the PYTHONPATH of it."""
    sys.path.insert(0, str(ROOT / "runtime"))
    from gather import gather

    package = place / "understudy_runtime"
    package.mkdir()
    for path in (ROOT / "runtime" / "understudy_runtime").glob("*.py"):
        shutil.copy(path, package)
    gather(package)
    return str(place)


def models(place: Path, texts: list[str]) -> dict[str, Path]:
    """Exported models with random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from understudy.data.tasks import Task
    from understudy.deploy.onnx.export import export_onnx
    from understudy.inference.predictor import Predictor
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig

    torch.manual_seed(0)
    encoder, tokenizer = bundled_encoder(), load_tokenizer(bundled_encoder())
    labels = ("World", "Sports", "Business", "Sci/Tech")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=labels)
    made: dict[str, Any] = {
        "bilstm": BiLSTM(BiLSTMConfig(vocab_size=len(tokenizer), num_labels=4)),
        "encoder of 6 layers": AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=4),
    }
    found = {}
    for name, model in made.items():
        folder = place / name.split()[0]
        export_onnx(folder, Predictor(model, load_tokenizer(encoder), task, 128), texts[:16])
        found[name] = folder
    return found


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, in megabytes."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    try:
        own = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000  # type: ignore[index]
    except (OSError, TypeError):
        own = 0.0
    return own + sum(memory_mb(int(child)) for child in children)


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when on it takes connections."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):  # what it has started, too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What a program prints as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def load(port: int, path: str, place: Path, seconds: float) -> dict[str, Any]:
    """64 clients for so many seconds."""
    return told([sys.executable, "-c", LOAD, "127.0.0.1", str(port), path, str(seconds), str(CLIENTS), str(place)])


def large_calls(port: int, texts: list[str], pid: int, calls: int, size: int) -> dict[str, Any]:
    """Calls of 10,000 texts: seconds and memory after each."""
    import urllib.request

    body = json.dumps({"texts": [texts[i % len(texts)] for i in range(size)]}).encode()
    seconds, memory = [], []
    for _ in range(calls):
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}, method="POST"
        )
        began = time.perf_counter()
        with urllib.request.urlopen(asked, timeout=600) as answer:
            assert len(json.load(answer)["predictions"]) == size
        seconds.append(time.perf_counter() - began)
        memory.append(memory_mb(pid))
    return {"texts": size, "seconds": seconds, "memory_mb": memory}


def fuzzed(port: int, examples: int) -> dict[str, Any] | None:
    """What schemathesis finds against the server's own OpenAPI; None without it."""
    program = os.environ.get("UNDERSTUDY_SCHEMATHESIS")
    if program is None:
        return None
    command = [
        program,
        "run",
        f"http://127.0.0.1:{port}/openapi.json",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]
    command += ["--max-examples", str(examples), "--seed", "0"]
    with tempfile.TemporaryDirectory() as place:  # it leaves files where it runs
        done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    return {"code": done.returncode, "end": done.stdout.splitlines()[-25:]}


def measured(setting: Setting, folder: Path, rows: Path, site: str, texts: list[str]) -> dict[str, Any]:
    """All contenders on one model, in turn, and what the server does with large calls."""
    threads, seconds = str(setting.threads or 1), setting.pick(SECONDS, 2)
    python, runtime = os.environ.get("UNDERSTUDY_LITSERVE"), {"PYTHONPATH": site}
    source = {"PYTHONPATH": str(ROOT / "src")}
    ports = {name: free_port() for name in (OURS, RUNTIME, LITSERVE)}
    serve = ["serve", str(folder), "--threads", threads, "--max_batch", str(BATCH)]
    commands = {
        OURS: ([sys.executable, "-m", "understudy.cli", *serve, "--port", str(ports[OURS])], source),
        RUNTIME: ([sys.executable, "-m", "understudy_runtime", *serve, "--port", str(ports[RUNTIME])], runtime),
    }
    with contextlib.ExitStack() as stack:
        script = folder.parent / "lit.py"
        script.write_text(LIT, encoding="utf-8")
        if python:
            lit = [python, str(script), str(folder), threads, str(ports[LITSERVE]), str(BATCH)]
            commands[LITSERVE] = (lit, runtime)
        servers = {name: stack.enter_context(running(*command, ports[name])) for name, command in commands.items()}
        for name, port in ports.items():
            if name in servers:
                load(port, "/predict", rows, 1.0)  # warm
        before = {name: memory_mb(server.pid) for name, server in servers.items()}

        def bare(batch: int) -> Callable[[], dict[str, Any]]:
            return lambda: told(
                [sys.executable, "-c", BARE, str(folder), threads, str(seconds), str(batch), str(rows)], runtime
            )

        def under_load(name: str) -> Callable[[], dict[str, Any]]:
            return lambda: {
                **load(ports[name], "/predict", rows, seconds),
                "memory_mb": memory_mb(servers[name].pid),
            }

        contenders = {LOOP: bare(1), BULK: bare(BATCH), **{name: under_load(name) for name in servers}}
        raw = in_turn(contenders, rounds=setting.pick(ROUNDS, 1))
        large = large_calls(
            ports[OURS], texts, servers[OURS].pid, setting.pick(LARGE_CALLS, 2), setting.pick(LARGE, 1000)
        )
        found = fuzzed(ports[OURS], setting.pick(100, 10))
    return {"rounds": raw, "memory_before_mb": before, "large_calls": large, "schemathesis": found}


def main() -> None:
    """Both models."""
    setting = begin(__doc__)
    from understudy.data.readers.sources import read_texts
    from understudy.inference.exported.predictor import ExportedPredictor

    found: Any = read_texts(f"{DATA}/ag_news/test.csv.gz", text=["description"], trained=(("text",),), notes=[])
    texts = list(dict.fromkeys(found[i][0] for i in range(len(found))))[: setting.pick(TEXTS, 200)]
    raw, summary, targets = {}, {}, []
    with tempfile.TemporaryDirectory() as place:
        site = Path(place) / "site"
        site.mkdir()
        runtime = gathered(site)
        for name, folder in models(Path(place), texts).items():
            rows = Path(place) / "rows.json"
            model = ExportedPredictor(folder, threads=1)
            rows.write_text(json.dumps([[text, model.predict_one(text).probabilities] for text in texts]))
            raw[name] = measured(setting, folder, rows, runtime, texts)
            rounds = raw[name]["rounds"]
            rates = {way: statistics.median(one["per_second"] for one in some) for way, some in rounds.items()}
            summary[name] = {
                "per_second": rates,
                "share_of_bare_loop": {way: rate / rates[LOOP] for way, rate in rates.items()},
                "p50_ms": {
                    way: statistics.median(one["p50_ms"] for one in some)
                    for way, some in rounds.items()
                    if "p50_ms" in some[0]
                },
                "p99_ms": {
                    way: statistics.median(one["p99_ms"] for one in some)
                    for way, some in rounds.items()
                    if "p99_ms" in some[0]
                },
                "memory_mb": {
                    way: [raw[name]["memory_before_mb"][way], *(one["memory_mb"] for one in some)]
                    for way, some in rounds.items()
                    if "memory_mb" in some[0]
                },
            }
            wrong = sum(one["wrong"] + one["errors"] for one in rounds[OURS])
            under, after = summary[name]["memory_mb"][OURS][1:], raw[name]["large_calls"]["memory_mb"]
            targets += [
                target(f"{name}: texts a second, share of the bare loop", rates[OURS] / rates[LOOP], at_least=0.7),
                target(f"{name}: errors, and answers that are not their text's", wrong, at_most=0),
                target(f"{name}: megabytes gained from the first round to the last", under[-1] - under[0], at_most=20),
                target(
                    f"{name}: megabytes gained from the first large call to the last", after[-1] - after[0], at_most=20
                ),
            ]
            if (fuzz := raw[name]["schemathesis"]) is not None:
                targets.append(target(f"{name}: schemathesis: exit code", fuzz["code"], at_most=0))
            write(
                setting,
                "serve",
                question=(__doc__ or "").splitlines()[0],
                config={
                    "clients": CLIENTS,
                    "seconds_a_round": setting.pick(SECONDS, 2),
                    "rounds": setting.pick(ROUNDS, 1),
                    "texts": len(texts),
                    "data": "ag_news, test, descriptions",
                    "threads": setting.threads or 1,
                    "max_batch": BATCH,
                    "litserve": "0.2.19, one worker, max_batch_size 32, batch_timeout 0.002",
                },
                raw=raw,
                summary=summary,
                targets=targets,
            )


if __name__ == "__main__":
    main()
