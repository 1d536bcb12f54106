"""What a service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from patchrerank.errors import MissingExtraError
from patchrerank.types import Missing, Shortlist

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STAGES = ("read", "fetch", "encode", "wait", "score", "answer")
"""What a request spends its time in: its bytes and JSON, addresses, networks, waiting for its
turn, first stage and reranking of its batch, and the JSON of its answer."""


class Metrics:
    """Counters and histograms of one application.

    Args:
        queue: how many requests are read, waited for or scored now.

    Raises:
        MissingExtraError: prometheus_client is not installed.
    """

    def __init__(self, queue: Callable[[], float]) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise MissingExtraError(
                "a service needs prometheus_client: pip install 'patchrerank[serve]'"
            ) from error
        self.registry = prometheus.CollectorRegistry()
        kept: dict[str, Any] = {"registry": self.registry}
        spent = prometheus.Histogram(
            "patchrerank_stage_seconds", "Seconds by stage", ["stage"], buckets=BUCKETS, **kept
        )
        self._spent = {stage: spent.labels(stage) for stage in STAGES}
        self._requests = prometheus.Histogram(
            "patchrerank_request_seconds", "Seconds of requests", ["route"], buckets=BUCKETS, **kept
        )
        self._statuses = prometheus.Counter(
            "patchrerank_requests_total", "Answers", ["route", "status"], **kept
        )
        self._together = prometheus.Histogram(
            "patchrerank_batch_size",
            "Requests scored together",
            buckets=(1, 2, 4, 8, 16, 32),
            **kept,
        )
        self._fallbacks = prometheus.Counter(
            "patchrerank_fallbacks_total", "Answers in the first stage's order", ["reason"], **kept
        )
        self._missing = prometheus.Counter(
            "patchrerank_missing_total", "Candidates not in the gallery", ["missing"], **kept
        )
        self._reloads = prometheus.Counter(
            "patchrerank_reloads_total", "Galleries opened anew", ["result"], **kept
        )
        prometheus.Gauge("patchrerank_queue", "Requests in the house", **kept).set_function(queue)
        self._text: Callable[[Any], bytes] = prometheus.generate_latest

    def spent(self, stage: str, seconds: float) -> None:
        """Count the time of a stage."""
        self._spent[stage].observe(seconds)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        took, count = self._of_route(route, status)
        took.observe(seconds)
        count.inc()

    @cache  # noqa: B019, as long as the application
    def _of_route(self, route: str, status: int) -> tuple[Any, Any]:
        return self._requests.labels(route), self._statuses.labels(route, str(status))

    def together(self, count: int) -> None:
        """Count a batch."""
        self._together.observe(count)

    def fell_back(self, reason: str) -> None:
        """Count an answer in the first stage's order: ``deadline`` or ``reranker``."""
        self._fallbacks.labels(reason).inc()

    def missed(self, missing: Missing, shortlist: Shortlist | None) -> None:
        """Count the candidates of a shortlist that the gallery does not hold, as they are taken."""
        away = () if shortlist is None else shortlist.missing
        if count := sum(len(one) for one in away if one is not None):
            self._missing.labels(missing).inc(count)

    def reloaded(self, result: str) -> None:
        """Count a reload: ``ok`` or ``failed``."""
        self._reloads.labels(result).inc()

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return self._text(self.registry)
