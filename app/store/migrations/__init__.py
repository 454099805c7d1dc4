"""Numbered schema migrations, one SQL file a step and dialect: `0001_core.sqlite.sql`.

Plain SQL instead of a migration framework: each step stays what it was when it was released, is
read by an operator as it will run, and costs the start nothing. A test compares the sum of all
steps with `tables.py`. `fact.schema` holds the number of the last step applied.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"(\d{4})_\w+\.(sqlite|postgresql)\.sql$")


def steps(dialect: str) -> dict[int, str]:
    """Return the SQL of every step of `dialect` by its number, in order."""
    found: dict[int, str] = {}
    for file in resources.files(__name__).iterdir():
        match = _NAME.match(file.name)
        if match and match[2] == dialect:
            found[int(match[1])] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def newest(dialect: str) -> int:
    """Return the number of the newest step."""
    return max(steps(dialect))
