"""What Prometheus scrapes from ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from melle.serving.batcher import Batcher

SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 25, 50, 100)


class Metrics:
    """Of one server; every name begins with ``melle_``."""

    def __init__(self, batcher: Batcher):
        self._registry = CollectorRegistry()
        own = {"registry": self._registry, "namespace": "melle"}
        self.requests = Counter("requests", "Requests for speech that were let in, by outcome", ["outcome"], **own)
        self.errors = Counter("errors", "Refused or failed requests of every kind, by status", ["status"], **own)
        self.seconds = Histogram(
            "request_seconds", "From a request for speech to its last byte", buckets=SECONDS, **own
        )
        self.first = Histogram("first_audio_seconds", "From a request to the first sound", buckets=SECONDS, **own)
        self.speech = Counter("speech_seconds", "Seconds of speech that were sent", **own)
        self.waiting = Gauge("waiting_requests", "Requests that wait for their turn", **own)
        Gauge("running_rows", "Rows that are decoded together now", **own).set_function(lambda: batcher.running)
        Gauge("steps", "Decoding steps so far", **own).set_function(lambda: batcher.steps)
        Gauge("row_steps", "Rows of all steps so far", **own).set_function(lambda: batcher.row_steps)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
