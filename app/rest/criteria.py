"""The conditions of a write: criteria in the address, If-None-Match.

R4 http.html#concurrency, #cond-update; RFC 9110 section 13.1.
"""

from __future__ import annotations

from urllib.parse import unquote

from app.errors import Invalid, NotSupported
from app.rest.exchange import Request

# Parameters about the answer; they select nothing.
PRESENTATION = frozenset(("_format", "_pretty"))


def of_address(request: Request) -> str:
    """Return the search criteria in the query, undecoded.

    Raises Invalid without any: a write never means every resource of a type.
    """
    parts = [
        part
        for part in request.query.split("&")
        if part and part.partition("=")[0] not in PRESENTATION
    ]
    if not parts:
        raise Invalid(
            "The address names neither an id nor search criteria", at="http.query", code="required"
        )
    return "&".join(parts)


def of_header(if_none_exist: str | None, type_name: str) -> str | None:
    """Return the criteria of If-None-Exist; some clients write the whole address before them.

    Raises Invalid for the address of another type.
    """
    if if_none_exist is None:
        return None
    if "=" not in if_none_exist:  # encoded as a whole
        if_none_exist = unquote(if_none_exist)
    before, mark, after = if_none_exist.partition("?")
    if not mark or "=" in before:
        return if_none_exist
    if before.rpartition("/")[2] not in ("", type_name):
        raise Invalid("The criteria are those of another type", at="http.If-None-Exist")
    return after


def create_only(request: Request) -> bool:
    """Say whether If-None-Match: * asks that the update creates the resource."""
    header = request.header("IF_NONE_MATCH")
    if header is None:
        return False
    if header.strip() != "*":
        raise NotSupported("With an update If-None-Match can only be *", at="http.If-None-Match")
    return True
