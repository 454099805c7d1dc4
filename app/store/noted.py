"""Notes that resources of some types were written, so that what is made of them is made anew.

The note is a number in the table `fact`, which moves in the transaction that writes. Whoever keeps
something made of such resources asks for it (`generation`), in whatever process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.store.database import Connection

TERMINOLOGY = "terminology/resources"


class Noted:
    """The effect of writing a resource of one kind: its number moves."""

    def __init__(self, name: str) -> None:
        self._name = name

    def check(self, resource: Mapping[str, Any]) -> None:
        """Refuse nothing."""

    def written(self, db: Connection, id_: str, body: bytes | None) -> None:
        """Move the number, inside the transaction that writes."""
        db.run(
            "INSERT INTO fact (name,value) VALUES (?,'1') ON CONFLICT (name)"
            " DO UPDATE SET value=CAST(CAST(fact.value AS BIGINT)+1 AS TEXT)",
            (self._name,),
        )


def generation(db: Connection, name: str) -> str:
    """Return the number of a kind of resources; it has no meaning but that it moves."""
    row = db.one("SELECT value FROM fact WHERE name=?", (name,))
    return str(row[0]) if row else ""


EFFECTS: Mapping[str, Noted] = dict.fromkeys(
    ("CodeSystem", "ConceptMap", "ValueSet"), Noted(TERMINOLOGY)
)
