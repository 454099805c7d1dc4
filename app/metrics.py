"""The numbers of a hub in the Prometheus text format 0.0.4, summed over its processes.

Labels are of ours and few: methods, status codes, feeds. Never an address, a sender or a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
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


def exposition() -> bytes:
    """Return what all processes of this hub have counted since it started."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def counted(application: Wsgi) -> Wsgi:
    """Return the application with its requests counted and timed (8 us each, machine busy)."""
    count = _counting()
    clock = time.perf_counter

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun = clock()
        code = "500"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal code
            code = status[:3]
            return start_response(status, headers, exc_info)

        try:
            return application(environ, start)
        finally:
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
