"""Traditional Chinese characters and their simplified forms, character by character.

For comparing text, not for showing it: several characters may have one form. The table is built by
`tools/build_han.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


def simplified(text: str) -> str:
    """Return `text` with simplified characters."""
    return text.translate(_table())


@cache
def _table() -> dict[int, str]:
    traditional, simple = Path(__file__).with_name("han.txt").read_text("utf-8").split()
    return str.maketrans(traditional, simple)  # type: ignore[return-value]  # str to str
