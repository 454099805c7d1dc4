"""What a write of some resource types also does: a table from type to effect.

The write path knows no type. Whoever has to act when, say, a SearchParameter is written hands it
an effect for that type; its rows stand and fall with the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.store.database import Connection


class Effect(Protocol):
    """What follows from the resources of one type."""

    def check(self, resource: Mapping[str, Any]) -> None:
        """Refuse a resource before it is written. Raises Invalid."""
        ...

    def written(self, db: Connection, id_: str, body: bytes | None) -> None:
        """Act inside the transaction on the new version; `body` is None when it was deleted.

        Called after the rows of the change set, in their order. Raises what refuses the write.
        """
        ...


Effects = Mapping[str, Effect]
