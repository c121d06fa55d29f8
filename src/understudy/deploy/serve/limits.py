"""What a server takes in: defaults for a machine of a few gigabytes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields

from understudy.errors import ConfigError

TOKEN = "UNDERSTUDY_TOKEN"
"""The environment variable of the token: a command line can be read by every user of a machine."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of calls, of batches and of waiting. Every one has an answer for what exceeds it."""

    max_body_mb: float = 16.0
    """Megabytes of a request's body; more is answered with 413."""
    max_texts: int = 10_000
    """Texts of a call; more is answered with 422."""
    max_chars: int = 100_000
    """Characters of a text; more is answered with 422. The model reads its own number of tokens of it."""
    max_batch: int = 32
    """Texts that a model answers together."""
    max_wait_ms: float = 2.0
    """Milliseconds that a text waits for company; none where it is alone."""
    max_queue: int = 20_000
    """Texts that may wait; more is answered with 503 and Retry-After."""
    read_seconds: float = 10.0
    """Seconds for a request to arrive; a slower one is answered with 408, or closed before its headers are whole."""
    answer_seconds: float = 300.0
    """Seconds for an answer; what takes longer is given up and answered with 503."""

    @property
    def body_bytes(self) -> int:
        """The bytes of the largest body."""
        return int(self.max_body_mb * 1_000_000)

    def faults(self) -> list[str]:
        """What is wrong with them."""
        faults = [
            f"{field.name} is {value}, but must be a positive number. Give another."
            for field in fields(self)
            if not 0 < (value := getattr(self, field.name)) < math.inf
            and not (field.name == "max_wait_ms" and value == 0)
        ]
        if self.max_queue >= self.max_texts:
            return faults
        return [
            *faults,
            f"max_queue is {self.max_queue:,}, but must be at least max_texts, {self.max_texts:,}: otherwise a call of so many texts would always be refused. Raise the one or lower the other.",
        ]


def known_token(given: str | None) -> str | None:
    """The token that callers must send: the one given, else that of the environment, else none.

    Raises:
        ConfigError: if it is there and blank, which would lock everybody out, or nobody.
    """
    found = os.environ.get(TOKEN) if given is None else given
    if found is not None and not found.strip():
        raise ConfigError(f"{TOKEN if given is None else '--token'} is empty. Give a token, or leave it out.")
    return None if found is None else found.strip()
