"""The GS1 application identifiers as data (General Specifications 3.2).

`data/gs1_ais.json` is built by `tools/build_gs1_table.py` from the Barcode Syntax Dictionary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

_TABLE = os.path.join(os.path.dirname(__file__), "data", "gs1_ais.json")


class Part(NamedTuple):
    """One component of a value: 18 digits with a check digit, up to 20 characters ..."""

    kind: str  # N digits, X CSET 82, Y CSET 39, Z base64url
    low: int
    high: int
    rules: Sequence[str]
    whole: bool = False  # optional, but of full length if it is there


class AI(NamedTuple):
    """One application identifier.

    requires: each row needs one of its ways, a way being AIs that all have to be there.
    paths: the sequences of qualifiers that may follow it in a Digital Link path; None: not a key.
    """

    parts: Sequence[Part]
    low: int
    high: int
    predefined: bool  # its length is known from its first two digits: no separator needed
    attribute: bool  # may stand in the query of a Digital Link
    requires: Sequence[Sequence[Sequence[str]]]
    excludes: Sequence[str]
    paths: Sequence[Sequence[str]] | None


@cache
def table() -> dict[str, AI]:
    """Return every application identifier by its digits."""
    out = {}
    with open(_TABLE, encoding="utf-8") as file:
        rows = json.load(file)["ais"]
    for key, row in rows.items():
        parts = [Part(*part) for part in row["parts"]]
        ai = AI(
            parts,
            sum([part.low for part in parts]),
            sum([part.high for part in parts]),
            "predefined" in row,
            "attribute" in row,
            row.get("req", ()),
            row.get("ex", ()),
            row.get("key"),
        )
        first, _, last = key.partition("-")
        for number in range(int(first), int(last or first) + 1):
            out[f"{number:0{len(first)}d}"] = ai
    return out


@cache
def code_lengths() -> dict[str, int]:
    """Return the number of digits of an AI by its first two digits."""
    return {code[:2]: len(code) for code in table()}
