"""Counts that cost next to nothing however many ask, and however much there is to count.

Each count has an upper bound, and its result is kept for a while: the longer it took, the longer,
so that counting never takes more than a fiftieth of a processor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_AT_LEAST_S = 1.0
_SHARE = 50


class Kept(Generic[T]):
    """The last result of a function, asked again only when it is old enough."""

    def __init__(
        self, read: Callable[[], T], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until = float("-inf")

    def get(self) -> T:
        """Return the result, at most one second old, or fifty times what it took."""
        with self._lock:
            begun = self._seconds()
            if self._value is None or begun >= self._until:
                self._value = self._read()
                ended = self._seconds()
                self._until = ended + max(_AT_LEAST_S, _SHARE * (ended - begun))
            return self._value
