"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The counters of one server, with a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "understudy_requests", "Requests that were answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "understudy_request_seconds",
            "Seconds from the headers of a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.texts = Counter("understudy_texts", "Texts that a model answered.", ["model"], registry=registry)
        self.batch_texts = Histogram(
            "understudy_batch_texts", "Texts of a batch.", ["model"], buckets=_TEXTS, registry=registry
        )
        self.batch_seconds = Histogram(
            "understudy_batch_seconds",
            "Seconds that a model took for a batch.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge("understudy_texts_waiting", "Texts that wait for a model.", registry=registry)
        self.reloads = Counter(
            "understudy_reloads", "Folders that changed, by what came of it.", ["model", "result"], registry=registry
        )
        ProcessCollector(registry=self.registry)  # memory, processor time, open files

    def watch_waiting(self, waiting: Callable[[], float]) -> None:
        """Read the number of waiting texts when it is asked for."""
        self.waiting.set_function(waiting)

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def on_batch(self, model: str, calls: int, texts: int, seconds: float) -> None:
        """Count a batch."""
        self.texts.labels(model).inc(texts)
        self.batch_texts.labels(model).observe(texts)
        self.batch_seconds.labels(model).observe(seconds)

    def on_reload(self, model: str, done: bool) -> None:
        """Count a folder that changed."""
        self.reloads.labels(model, "loaded" if done else "refused").inc()

    def text(self) -> bytes:
        """Everything, in the text format."""
        return generate_latest(self.registry)
