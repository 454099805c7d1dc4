"""The criteria of conditional writes as text: read, and in one spelling. R4 http.html#ccreate."""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_plus


def parse(criteria: str) -> list[tuple[str, str]]:
    """Return the parameters of conditional criteria, percent-encoded or not."""
    pairs = [part.partition("=") for part in criteria.lstrip("?").split("&") if part]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def normal(criteria: str) -> str:
    """Return the criteria as whoever asks for the same writes them.

    Writers that wish for the same wait for each other by this text.
    """
    return "&".join(f"{quote_plus(n)}={quote_plus(v)}" for n, v in sorted(parse(criteria)))
