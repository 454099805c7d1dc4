"""Regular expressions of value sets, which strangers write: time is linear in the text.

R4 valueset.html#filter op `regex`. The engine is RE2, which has no backtracking; what it cannot
express (backreferences, look-around) is refused, as is what needs too much memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2  # type: ignore[import-untyped]  # ships without type hints

from app.errors import Unprocessable

_MAX_LENGTH = 1000
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 22


@lru_cache(maxsize=128)
def whole(pattern: str) -> Callable[[str], object]:
    """Return what says whether all of a text fits the pattern. Raises Unprocessable."""
    if len(pattern) > _MAX_LENGTH:
        raise Unprocessable("The regular expression of a filter is too long", code="too-costly")
    try:
        match: Callable[[str], object] = re2.compile(pattern, _OPTIONS).fullmatch
    except re2.error as exc:
        raise Unprocessable(
            "The regular expression of a filter cannot be executed", code="invalid"
        ) from exc
    return match
