"""A cache of results for short texts: what strangers send may be long, and must not pile up."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 256  # characters of all arguments together


def remembered(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that keeps the last `most` results for short arguments.

    The arguments are texts or None, given by place.
    """

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        kept = cast(Callable[P, T], lru_cache(maxsize=most)(function))

        @wraps(function)
        def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            size = 0
            for arg in args:
                if arg is not None:
                    size += len(cast(str, arg))
            return kept(*args, **kwargs) if size <= LONGEST else function(*args, **kwargs)

        return answer

    return decorated
