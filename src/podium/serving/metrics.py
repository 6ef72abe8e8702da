"""What a server counts, for Prometheus: requests, refusals by reason, the queue, batches, and where the time goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from podium.serving.batching import Outputs

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 3, 4, 5, 6, 7, 8)
TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where the processes of one server keep their counts, so that each can tell all


class Metrics:
    """The counts of a server."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.requests = Counter(
            "podium_requests", "Answers to requests for predictions, by status.", ["model", "status"], registry=r
        )
        self.images = Counter("podium_images", "Images answered.", ["model"], registry=r)
        self.refusals = Counter(
            "podium_refusals", "Requests that were not answered, by reason.", ["reason"], registry=r
        )
        self.depth = Gauge(
            "podium_queue_images", "Images that wait for a network.", registry=r, multiprocess_mode="livesum"
        )
        self.inside = Gauge(
            "podium_requests_inside", "Requests accepted and not answered.", registry=r, multiprocess_mode="livesum"
        )
        self.latency = Histogram(
            "podium_request_seconds",
            "From the head of a request to its answer, of those that were answered.",
            ["model"],
            buckets=SECONDS,
            registry=r,
        )
        self.parts = Histogram(
            "podium_part_seconds",
            "Time of one part: decode, queue or compute.",
            ["model", "part"],
            buckets=SECONDS,
            registry=r,
        )
        self.batches = Histogram("podium_batch_images", "Images a batch.", ["model"], buckets=BATCHES, registry=r)

    def batch_of(self, model: str) -> Callable[[int, float], None]:
        """The function that counts a batch of a network: (images, seconds)."""
        sizes, compute = self.batches.labels(model), self.parts.labels(model, "compute")

        def count(images: int, seconds: float) -> None:
            sizes.observe(images)
            compute.observe(seconds)

        return count

    def answered(self, model: str, images: int, decode: float, outputs: Sequence[Outputs]) -> None:
        """Count a request whose images were answered."""
        self.images.labels(model).inc(images)
        self.parts.labels(model, "decode").observe(decode)
        self.parts.labels(model, "queue").observe(max(one.queue for one in outputs))

    def request(self, model: str, status: int, seconds: float) -> None:
        """Count a request for a prediction that has its answer, or has none since the client has gone."""
        self.requests.labels(model, str(status or 499)).inc()
        if status == 200:
            self.latency.labels(model).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was not answered, by the code of its error."""
        self.refusals.labels(reason).inc()

    def text(self) -> bytes:
        """The counts as Prometheus reads them; of all processes of this server."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)
