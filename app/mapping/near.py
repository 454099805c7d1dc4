"""What somebody who wrote a name that does not exist may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str]) -> str:
    """Return `: is it `patient`?` for a name like one of the known ones, else nothing."""
    found = get_close_matches(name, known, n=1, cutoff=0.6)
    return f": is it `{found[0]}`?" if found else ""
