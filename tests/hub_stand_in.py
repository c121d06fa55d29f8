"""A server that answers the routes of the Hugging Face hub which a push uses, and keeps what it was sent."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_thisIsNoRealTokenButLongEnough"


class Hub:
    """What the stand-in holds: repositories, their files, large files by hash, and every path that was asked for."""

    def __init__(self) -> None:
        self.created: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuse: dict[str, int] = {}
        """Routes (the beginning of a path) and the status that they are answered with."""
        self.url = ""


@contextmanager
def stand_in() -> Iterator[Hub]:
    """A hub on a port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(self.path)
            for route, status in hub.refuse.items():
                if self.path.startswith(route):
                    return self.answer({"error": f"refused with {status}"}, status)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer({"error": "Invalid credentials"}, 401)
            return self.answer(*self.posted(body))

        def posted(self, body: bytes) -> tuple[dict[str, Any], int]:
            if self.path == "/api/repos/create":
                told = json.loads(body)
                name = f"{told['organization']}/{told['name']}"
                known = name in hub.created
                hub.created.setdefault(name, told)
                return {"url": f"{hub.url}/{name}", "id": name, "name": name}, 409 if known else 200
            if self.path == "/api/validate-yaml":
                assert "content" in json.loads(body)
                return {"errors": [], "warnings": []}, 200
            if "/preupload/" in self.path:
                kinds = [(one["path"], one["size"]) for one in json.loads(body)["files"]]
                large = re.compile(r".+\.(safetensors|onnx|npz|png)")
                return {
                    "files": [
                        {
                            "path": path,
                            "uploadMode": "lfs" if large.fullmatch(path) else "regular",
                            "shouldIgnore": False,
                        }
                        for path, _ in kinds
                    ]
                }, 200
            if self.path.endswith("/info/lfs/objects/batch"):
                return {
                    "transfer": "basic",
                    "objects": [
                        {**one, "actions": {"upload": {"href": f"{hub.url}/large/{one['oid']}", "header": {}}}}
                        for one in json.loads(body)["objects"]
                    ],
                }, 200
            if "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        hub.files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        hub.files[value["path"]] = hub.large[value["oid"]]
                return {"commitUrl": f"{hub.url}/a/b/commit/0", "commitOid": "0" * 40, "pullRequestUrl": None}, 200
            return {"error": f"no such route: {self.path}"}, 404

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            oid = self.path.rpartition("/")[2]
            assert hashlib.sha256(body).hexdigest() == oid
            hub.large[oid] = body
            self.answer({}, 200)

        def answer(self, content: dict[str, Any], status: int) -> None:
            found = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
