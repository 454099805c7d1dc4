"""Operations: R4 operations.html. One file for each, one row in `OPERATIONS`."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import MethodNotAllowed, UnknownType
from app.rest.exchange import Reply, Request
from app.rest.operations import (
    caching,
    codes,
    convert,
    everything,
    graphql,
    lastn,
    maps,
    meta,
    validate,
    versions,
)
from app.rest.operations.call import Operation
from app.rest.services import Hub

OPERATIONS: Mapping[str, Operation] = {
    "batch-validate-code": codes.BATCH_VALIDATE_CODE,
    "cache-control": caching.OPERATION,
    "closure": maps.CLOSURE,
    "compare": maps.COMPARE,
    "convert": convert.OPERATION,
    "everything": everything.OPERATION,
    "expand": codes.EXPAND,
    "graphql": graphql.OPERATION,
    "lastn": lastn.OPERATION,
    "lookup": codes.LOOKUP,
    "meta": meta.META,
    "meta-add": meta.META_ADD,
    "meta-delete": meta.META_DELETE,
    "subsumes": maps.SUBSUMES,
    "translate": maps.TRANSLATE,
    "validate": validate.OPERATION,
    "validate-code": codes.VALIDATE_CODE,
    "versions": versions.OPERATION,
}


def run(hub: Hub, request: Request) -> Reply:
    """Run the operation that the address names. Raises UnknownType where there is none."""
    operation = _named(request)
    method = "GET" if request.method == "HEAD" else request.method
    if method not in operation.methods:
        raise MethodNotAllowed("This operation has to be called by POST")
    return operation.run(hub, request)


def changes(request: Request) -> bool:
    """Say whether the operation that the address names writes."""
    return _named(request).changes


def methods(request: Request) -> tuple[str, ...]:
    """Return the methods by which the operation can be called."""
    return _named(request).methods


def _named(request: Request) -> Operation:
    operation = OPERATIONS.get(request.operation)
    level = "instance" if request.id else "type" if request.type else "system"
    if (
        operation is None
        or level not in operation.levels
        or (request.type and operation.types and request.type not in operation.types)
    ):
        raise UnknownType("There is no such operation at this address")
    return operation
