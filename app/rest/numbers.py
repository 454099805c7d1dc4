"""What is counted of the requests under /fhir, for /metrics.

interaction: a word of R4 (read, search, create, ...), `bundle`, `$name` of an operation, or `none`
for what was refused before it was known. Never a type, an id or a parameter: those would make a
series for each value, or tell of patients.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Histogram

NONE = "none"

REQUESTS = Counter(
    "yilian_fhir_requests",
    "Requests under /fhir by what they asked for.",
    ["interaction", "status"],
)
SECONDS = Histogram(
    "yilian_fhir_request_seconds",
    "Time to answer requests under /fhir; plain reads by id (about 10 us) are not timed.",
    ["interaction"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

_requests = lru_cache(maxsize=None)(REQUESTS.labels)  # labels() itself costs more than counting
_seconds = lru_cache(maxsize=None)(SECONDS.labels)


def count(interaction: str, status: str) -> None:
    """Count one answer; `status` begins with its three digits."""
    _requests(interaction, status[:3]).inc()


def time(interaction: str, seconds: float) -> None:
    """Note how long an answer took."""
    _seconds(interaction).observe(seconds)
