"""The numbers of a hub in the Prometheus text format 0.0.4, summed over its processes.

Labels are of ours and few: methods, status codes, feeds. Never an address, a sender or a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

Wsgi = Callable[..., Iterable[bytes]]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_seconds = Histogram(
    "yilian_http_request_seconds",
    "Seconds from the request to the start of its answer, and how many there were",
    ["method", "status"],
    buckets=_SECONDS,
)


_received = Counter(
    "yilian_feed_received", "Messages handed in by their feed, also those sent again", ["feed"]
)
_became = Counter("yilian_feed_messages", "Messages by what became of them", ["feed", "state"])
_ack_seconds = Histogram(
    "yilian_feed_ack_seconds",
    "Seconds from a message that is read to its answer, which goes out when it is on disk",
    ["feed"],
    buckets=_SECONDS,
)


class FeedMeter:
    """Counts the messages of all feeds (5 us a message)."""

    def received(self, feed: str) -> None:
        _of_feed(feed)[0].inc()

    def answered(self, feed: str, seconds: float) -> None:
        _of_feed(feed)[1].observe(seconds)

    def became(self, feed: str, state: str) -> None:
        _of_state(feed, state).inc()


@cache
def _of_feed(feed: str) -> tuple[Counter, Histogram]:
    return _received.labels(feed), _ack_seconds.labels(feed)


@cache
def _of_state(feed: str, state: str) -> Counter:
    return _became.labels(feed, state)


class _QueueAges:
    """How long the oldest message of each feed has waited to be applied, now."""

    def __init__(self, ages: Mapping[str, float]) -> None:
        self._ages = ages

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "yilian_feed_queue_age_seconds",
            "Age of the oldest message that is stored and not applied yet; 0: none waits",
            labels=["feed"],
        )
        for feed, seconds in self._ages.items():
            family.add_metric([feed], seconds)
        yield family


class _Unmapped:
    """How many codes were to be translated that no concept map knows."""

    def __init__(self, count: int) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "yilian_terminology_unmapped_codes",
            "Codes that $translate was asked for and no concept map knows",
            value=self._count,
        )


def exposition(queue_ages: Mapping[str, float], unmapped: int | None = None) -> bytes:
    """Return what all processes of this hub have counted since it started.

    queue_ages: feed -> age in seconds of its oldest message that waits. unmapped: codes that no
    concept map knows, None when it cannot be told.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_QueueAges(queue_ages))
    if unmapped is not None:
        registry.register(_Unmapped(unmapped))
    return generate_latest(registry)


def counted(application: Wsgi) -> Wsgi:
    """Return the application with its requests counted and timed (8 us each, machine busy)."""
    count = _counting()
    clock = time.perf_counter

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun = clock()
        code = ""  # as long as nothing was answered

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal code
            code = status[:3]
            return start_response(status, headers, exc_info)

        try:
            return application(environ, start)
        finally:
            if code:
                count(environ["REQUEST_METHOD"], code, clock() - begun)

    return answer


def _counting() -> Callable[[str, str, float], None]:
    """Return what counts one request; the numbers of a method and status are looked up once."""
    known: dict[tuple[str, str], Callable[[float], None]] = {}

    def count(method: str, status: str, seconds: float) -> None:
        observe = known.get((method, status))
        if observe is None:
            label = method if method in _METHODS else "other"
            observe = _seconds.labels(label, status).observe
            if label == method:  # what a client made up is not kept
                known[method, status] = observe
        observe(seconds)

    return count
