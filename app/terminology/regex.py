"""Regular expressions of value sets, which strangers write: time is linear in the text.

R4 valueset.html#filter op `regex`. The engine is RE2, which has no backtracking; what it cannot
express (backreferences, look-around) is refused, as is what needs too much memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]  # ships without type hints

from app.errors import Unprocessable

_MAX_LENGTH = 1000
_RANGE = 32  # bytes of a text that its range looks at
LAST = "\U0010ffff"  # comes after all texts that there are
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 22


def whole(pattern: str) -> Callable[[str], object]:
    """Return what says whether all of a text fits the pattern. Raises Unprocessable."""
    match: Callable[[str], object] = _compiled(pattern).fullmatch
    return match


def bounds(pattern: str) -> tuple[str, str]:
    """Return texts that no text which fits is before or after, in the order of code points.

    Of `I10.*` the range is narrow, of `.*x` it is everything. Raises Unprocessable.
    """
    try:
        first, last = _compiled(pattern).possiblematchrange(_RANGE)
    except re2.error:
        return "", LAST
    low, high = _text(first), _text(last)
    return low, high if high.encode() == last else high + LAST


def _text(octets: bytes) -> str:
    """Return the text that octets begin with, as far as it is one a database can compare."""
    try:
        found = octets.decode()
    except UnicodeDecodeError as exc:
        found = octets[: exc.start].decode()
    return found.partition("\0")[0]


@lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    if len(pattern) > _MAX_LENGTH:
        raise Unprocessable("The regular expression of a filter is too long", code="too-costly")
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as exc:
        raise Unprocessable(
            "The regular expression of a filter cannot be executed", code="invalid"
        ) from exc
