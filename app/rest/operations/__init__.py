"""Operations: R4 operations.html. One file for each, one row in `OPERATIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.errors import MethodNotAllowed, UnknownType
from app.rest.exchange import Reply, Request
from app.rest.services import Hub


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation and where it can be called.

    levels: system, type, instance. types: the resource types it is for; empty: all.
    changes: it writes, so it cannot be called by GET.
    """

    run: Callable[[Hub, Request], Reply]
    definition: str
    levels: frozenset[str]
    types: frozenset[str] = frozenset()
    changes: bool = False


OPERATIONS: Mapping[str, Operation] = {}


def run(hub: Hub, request: Request) -> Reply:
    """Run the operation that the address names. Raises UnknownType where there is none."""
    operation = _named(request)
    if operation.changes and request.method != "POST":
        raise MethodNotAllowed("This operation changes something: POST it")
    return operation.run(hub, request)


def changes(request: Request) -> bool:
    """Say whether the operation that the address names writes."""
    return _named(request).changes


def level(request: Request) -> str:
    """Return where an operation is called: system, type or instance."""
    return "instance" if request.id else "type" if request.type else "system"


def _named(request: Request) -> Operation:
    operation = OPERATIONS.get(request.operation)
    if (
        operation is None
        or level(request) not in operation.levels
        or (request.type and operation.types and request.type not in operation.types)
    ):
        raise UnknownType("There is no such operation at this address")
    return operation
