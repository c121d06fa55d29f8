"""Settings of ``understudy serve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from understudy.cores import MOST_THREADS
from understudy.deploy.serve.limits import Limits
from understudy.models.files.names import run_name
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults

_DAY = 86_400.0


@dataclass(kw_only=True)
class ServeSettings:
    """Answer over HTTP with trained or exported models, with a page to try them; texts that arrive together are batched."""

    command: ClassVar[str] = "serve"
    positional: ClassVar[tuple[str, ...]] = ("models",)
    models: Annotated[list[str], Shown("FOLDER", group="Model", required=True)] = field(default_factory=list)
    """Runs, model folders or exported ones, or NAME=FOLDER; also as bare words. The first answers by default."""
    task: Annotated[str | None, Shown("TASK", group="Model")] = None
    """Of a model for several tasks, the one to serve (all of them)."""
    threads: Annotated[int | None, Ge(1), Le(MOST_THREADS), Shown("N", group="Model")] = None
    """Processor threads of a batch (as torch chooses)."""
    host: Annotated[str, Shown("ADDRESS", group="Run")] = "127.0.0.1"
    """The address to listen at; 0.0.0.0 is every network of this machine, 127.0.0.1 is this machine alone."""
    port: Annotated[int, Ge(0), Le(65535), Shown("N", group="Run")] = 8000
    """The port; 0 is any that is free."""
    token: Annotated[str | None, Shown("TOKEN", group="Run")] = None
    """What every call but /health must send as `Authorization: Bearer TOKEN` (UNDERSTUDY_TOKEN, else none)."""
    reload_seconds: Annotated[float, Ge(0), Le(_DAY), Shown("S", group="Run")] = 2.0
    """How often the folders are looked at; one that changed is loaded again; 0 for never."""
    max_wait_ms: Annotated[float, Ge(0), Le(60_000), Shown("MS")] = Limits.max_wait_ms
    """Milliseconds that a text waits for others to be answered with; none where it is alone."""
    max_batch: Annotated[int, Ge(1), Le(100_000), Shown("N")] = Limits.max_batch
    """Texts that a model answers together."""
    max_queue: Annotated[int, Ge(1), Le(100_000_000), Shown("N")] = Limits.max_queue
    """Texts that may wait; more is answered with 503 and Retry-After."""
    max_body_mb: Annotated[float, Gt(0), Le(10_000), Shown("MB", rare=True)] = Limits.max_body_mb
    """Megabytes of a request's body."""
    max_texts: Annotated[int, Ge(1), Le(10_000_000), Shown("N", rare=True)] = Limits.max_texts
    """Texts of a call."""
    max_chars: Annotated[int, Ge(1), Le(100_000_000), Shown("N", rare=True)] = Limits.max_chars
    """Characters of a text."""
    read_seconds: Annotated[float, Gt(0), Le(_DAY), Shown("S", rare=True)] = Limits.read_seconds
    """Seconds in which a request must arrive."""
    answer_seconds: Annotated[float, Gt(0), Le(_DAY), Shown("S", rare=True)] = Limits.answer_seconds
    """Seconds after which an answer is given up."""

    def limits(self) -> Limits:
        """The bounds, as the application takes them."""
        return Limits(
            max_body_mb=self.max_body_mb,
            max_texts=self.max_texts,
            max_chars=self.max_chars,
            max_batch=self.max_batch,
            max_wait_ms=self.max_wait_ms,
            max_queue=self.max_queue,
            read_seconds=self.read_seconds,
            answer_seconds=self.answer_seconds,
        )

    def named(self) -> list[tuple[str, str]]:
        """Names and folders of the models."""
        return list(map(_named, self.models))

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        faults = self.limits().faults()
        if not self.models:
            faults.append("no model: name a run or a model folder, as in: understudy serve runs/student.")
        names = [name for name, _ in self.named()]
        for name in sorted({name for name in names if names.count(name) > 1}):
            faults.append(f"two models are called '{name}'. Give one another name: understudy serve NAME=FOLDER ….")
        for _, folder in self.named():
            faults += model_faults(folder, adapters=True)
        if self.token is not None and not self.token.strip():
            faults.append("--token is empty. Give one, or leave it out.")
        return faults


def _named(word: str) -> tuple[str, str]:
    """The name and the folder of a model: what is before ``=``, or what its run is called.

    Example:
        >>> _named("teacher=runs/large"), _named("runs/large")
        (('teacher', 'runs/large'), ('large', 'runs/large'))
    """
    name, equals, folder = word.partition("=")
    if equals and name and not Path(word).expanduser().exists():
        return name, folder
    return run_name(Path(word).expanduser()) or "model", word
