"""What terminology asks of the store for tables of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from app.clock import Clock
from app.store.aside import Statement
from app.store.database import Connection

T = TypeVar("T")


class Tables(Protocol):
    """The part of `app.store.store.Store` that reads and writes rows which are no resources."""

    @property
    def tenant(self) -> int: ...

    @property
    def clock(self) -> Clock: ...

    def ask(self, work: Callable[[Connection], T]) -> T:
        """Read over the thread's connection."""
        ...

    def write_aside(self, statements: Sequence[Statement]) -> None:
        """Execute statements in one transaction; they are on disk when this returns."""
        ...
