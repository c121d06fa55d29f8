"""What the runtime shares with understudy: modules without torch, taken from ``src/understudy`` when it is built.

There is one text of each: the answers of both are the same because the code is. Imports are rewritten, nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "understudy"
"""Where they come from; not there in a source distribution, which holds the gathered modules instead."""
SHARED = (
    "errors",
    "checksums",
    "version",
    "terminal.lines",
    "data.tasks",
    "data.batches.by_length",
    "data.tokens.fast",
    "data.tokens.padding",
    "data.tokens.backend",
    "inference.answers",
    "inference.answering",
    "inference.exported.facts",
    "inference.exported.bag",
    "inference.exported.predictor",
    "deploy.serve.limits",
    "deploy.serve.batcher",
    "deploy.serve.served",
    "deploy.serve.metrics",
    "deploy.serve.bodies",
    "deploy.serve.schemas",
    "deploy.serve.access",
    "deploy.serve.service",
    "deploy.serve.app",
    "deploy.serve.running",
)
"""Modules of understudy, without the package's name. Here they are named by their last part."""
SHARED_FILES = tuple(f"deploy/serve/playground.{kind}" for kind in ("html", "css", "js"))
"""What they read, taken as it is."""
_IMPORT = re.compile(r"^(from|import) understudy\.([\w.]+)", re.MULTILINE)


def rewritten(text: str, *, origin: str) -> str:
    """The text of a module with its imports as the runtime has them.

    Raises:
        ValueError: if it imports a module that is not shared.

    Example:
        >>> rewritten("from understudy.data.tasks import Task", origin="x")
        'from understudy_runtime.tasks import Task'
    """

    def name(found: re.Match[str]) -> str:
        if found[2] not in SHARED:
            raise ValueError(f"{origin}: imports understudy.{found[2]}, which the runtime does not share")
        return f"{found[1]} understudy_runtime.{found[2].rpartition('.')[2]}"

    return _IMPORT.sub(name, text)


def gather(target: Path) -> list[Path]:
    """Write the shared modules and files into a folder; their paths. Without understudy's sources nothing is written."""
    if not SOURCE.is_dir():
        return []
    written = []
    for module in SHARED:
        source = SOURCE / Path(*module.split(".")).with_suffix(".py")
        path = target / f"{module.rpartition('.')[2]}.py"
        path.write_text(rewritten(source.read_text(encoding="utf-8"), origin=module), encoding="utf-8")
        written.append(path)
    for name in SHARED_FILES:
        path = target / Path(name).name
        path.write_bytes((SOURCE / name).read_bytes())
        written.append(path)
    return written
