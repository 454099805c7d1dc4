"""Work that is done once and by one thread, however many ask for it at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from threading import Lock
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with its last eight results kept.

    `lru_cache` alone lets every thread that comes before the first is done do the work again.
    """
    lock = Lock()
    kept = cast(Callable[P, T], lru_cache(maxsize=8)(function))

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return kept(*args, **kwargs)

    return answer
