"""Which interaction a path and method mean: R4 http.html#summary as one table.

The entries of a batch or transaction are routed by the same table; only the Bundle itself, which
cannot be an entry, stands apart (`facade.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from app.errors import Invalid, MethodNotAllowed, UnknownType
from app.fhir import definitions
from app.rest import (
    capabilities,
    create,
    delete,
    history,
    operations,
    patch,
    read,
    search,
    update,
)
from app.rest.exchange import Reply, Request, unknown_path
from app.rest.services import Hub

Handler = Callable[[Hub, Request], Reply]

ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "base": {"GET": search.search},
    "metadata": {"GET": capabilities.capabilities},
    "search": {"POST": search.search},
    "history": {"GET": history.history},
    "operation": {"GET": operations.run, "POST": operations.run},
    "type": {
        "GET": search.search,
        "POST": create.create,
        "PUT": update.conditional_update,
        "PATCH": patch.conditional_patch,
        "DELETE": delete.conditional_delete,
    },
    "instance": {
        "GET": read.read,
        "PUT": update.update,
        "PATCH": patch.patch,
        "DELETE": delete.delete,
    },
    "version": {"GET": read.vread},
    "compartment": {"GET": search.search},
}

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_NO_ID = "An id has 1 to 64 of the characters A-Z, a-z, 0-9, - and ."
_TYPE = re.compile(r"[A-Z][A-Za-z]*", re.ASCII)


def answer(hub: Hub, request: Request, segments: Sequence[str]) -> Reply:
    """Do what a request asks for. HEAD is done as GET; the caller drops the body."""
    shape = locate(request, segments)
    handlers = ROUTES[shape]
    handler = handlers.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        raise MethodNotAllowed("This address does not answer to this method")
    return handler(hub, request)


def locate(request: Request, segments: Sequence[str]) -> str:
    """Return the shape of a path below the base (a key of ROUTES), its parts into `request`.

    Raises NotFound for a path that is nothing in R4, UnknownType for an unknown resource type.
    """
    if not segments:
        return "base"
    if segments == ["metadata"]:
        return "metadata"
    if shape := _of_many(request, segments):
        return shape
    request.type = _type(segments[0])
    if len(segments) == 1:
        return "type"
    if shape := _of_many(request, segments[1:]):
        return shape
    request.id = _id(request, segments[1])
    match segments[2:]:
        case []:
            return "instance"
        case ["_history"]:
            return "history"
        case ["_history", version]:
            request.version = _id(request, version)
            return "version"
        case ["_history", version, name] if name.startswith("$"):
            request.version = _id(request, version)
            return _operation(request, name)
        case [name] if name.startswith("$"):
            return _operation(request, name)
        case [other]:
            request.other = _member(request.type, other)
            return "compartment"
        case [other, "_search"]:
            request.other = _member(request.type, other)
            return "search"
    raise unknown_path()


def _of_many(request: Request, segments: Sequence[str]) -> str | None:
    """Return the shape of what follows the base or a type, if it is about all their resources."""
    match segments:
        case ["_search"]:
            return "search"
        case ["_history"]:
            return "history"
        case [name] if name.startswith("$"):
            return _operation(request, name)
    return None


def allowed(request: Request, segments: Sequence[str]) -> str:
    """Return the Allow header of an address. Raises NotFound as `locate` does."""
    shape = locate(request, segments)
    methods = list(operations.methods(request) if shape == "operation" else ROUTES[shape])
    if "GET" in methods:
        methods.append("HEAD")
    if shape == "base":
        methods.append("POST")
    return ", ".join([*methods, "OPTIONS"])


def _operation(request: Request, name: str) -> str:
    request.operation = name[1:]
    return "operation"


def _type(name: str) -> str:
    if definitions.is_resource_type(name):
        return name
    if _TYPE.fullmatch(name):
        raise UnknownType("R4 has no resource type of this name")
    raise unknown_path()


def _id(request: Request, text: str) -> str:
    if _ID.fullmatch(text):
        return text
    if request.method == "PUT":  # who chooses an id wants to know what is wrong with it
        raise Invalid(_NO_ID, at=f"{request.type}.id", code="value")
    raise unknown_path()


def _member(compartment: str, other: str) -> str:
    """Return the type searched in a compartment, `*` for all of it. R4 http.html#vsearch."""
    if compartment not in definitions.compartments():
        raise unknown_path()
    if other != "*" and other not in definitions.compartment(compartment):
        raise unknown_path()
    return other
