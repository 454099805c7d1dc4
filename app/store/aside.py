"""Rows of tables that hold no resources, such as code systems, written by who owns the database.

They belong to no change set and need no answer but that they are on disk. Statements travel as
they are: who can open the writer's socket can open the file as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from app.store.database import Connection


class Statement(msgspec.Struct, array_like=True, gc=False):
    """SQL with a row of parameters for each time it is executed."""

    sql: str
    rows: Sequence[Sequence[Any]]


class Aside(msgspec.Struct, gc=False):
    """Statements of one transaction."""

    statements: Sequence[Statement]

    @property
    def size(self) -> int:
        """How long it will take, in changes of resources."""
        return 1 + sum(len(statement.rows) for statement in self.statements) // 8

    def write(self, db: Connection) -> None:
        """Execute them, inside the caller's transaction."""
        for statement in self.statements:
            db.many(statement.sql, statement.rows)
