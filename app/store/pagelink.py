"""The text of a page link: where the next page begins, opaque to clients.

It comes back from anywhere, so nothing is taken from it that a statement cannot be given.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import orjson

from app.errors import Invalid

Value = int | float | str | None

_WIDEST = 1 << 63  # what a database's integer holds


def text(place: Sequence[Value]) -> str:
    """Return a place in a listing as the text of a link."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def parse(link: str, *, integers: int) -> list[Value]:
    """Return the place a link stands for; so many of its first values are integers.

    Raises Invalid for what is no link of ours.
    """
    try:
        place = orjson.loads(base64.urlsafe_b64decode(link + "=" * (-len(link) % 4)))
    except (binascii.Error, ValueError) as exc:
        raise Invalid("this page link is not one of ours", at="http._page") from exc
    if (
        not isinstance(place, list)
        or len(place) < integers
        or any(type(value) is not int for value in place[:integers])
        or not all(map(_can_be_bound, place))
    ):
        raise Invalid("this page link is not one of ours", at="http._page")
    return place


def _can_be_bound(value: object) -> bool:
    if type(value) is int:
        return -_WIDEST <= value < _WIDEST
    return value is None or type(value) in (float, str)
