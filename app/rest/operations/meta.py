"""$meta, $meta-add, $meta-delete on one resource: R4 resource-operation-meta.html and siblings.

Adding and deleting make a new version, as every write here does. The lists of the whole system or
of a type ($meta above the instance) are not offered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from app.errors import Invalid, MethodNotAllowed
from app.fhir import validate
from app.rest import json_patch, patch
from app.rest.exchange import Reply, Request
from app.rest.operations.call import Operation, core, inputs, one, parameters
from app.rest.services import Hub
from app.store.types import Change, Method

Json = dict[str, Any]
Labels = list[Any]

_LISTS = ("profile", "security", "tag")


def meta(hub: Hub, request: Request) -> Reply:
    """Return the meta of a resource or of one of its versions."""
    if request.version:
        stored = hub.store.vread(request.type, request.id, request.version)
    else:
        stored = hub.store.read(request.type, request.id)
    return _told(stored.body)


def add(hub: Hub, request: Request) -> Reply:
    """Add profiles, security labels and tags that are not there yet."""

    def joined(mine: Labels, given: Labels) -> Labels:
        known = {_key(label) for label in mine}
        fresh: dict[Any, Any] = {}
        for label in given:
            fresh.setdefault(_key(label), label)
        return [*mine, *(label for key, label in fresh.items() if key not in known)]

    return _changed(hub, request, joined)


def delete(hub: Hub, request: Request) -> Reply:
    """Take away profiles, security labels and tags; what is not there is no error."""

    def left(mine: Labels, given: Labels) -> Labels:
        gone = {_key(label) for label in given}
        return [label for label in mine if _key(label) not in gone]

    return _changed(hub, request, left)


def _changed(hub: Hub, request: Request, work: Callable[[Labels, Labels], Labels]) -> Reply:
    if request.version:
        raise MethodNotAllowed("What a version says is not changed any more: call it without one")
    given = one(inputs(request), "meta")
    if not isinstance(given, dict):
        raise Invalid("The parameter meta is missing", at="http.meta", code="required")
    sent = orjson.loads(parameters({"name": "meta", "valueMeta": given}))
    if not validate.check(sent, "Parameters"):
        raise Invalid.of(validate.problems(sent, "Parameters"))

    def attempt() -> Reply:
        stored = hub.store.read(request.type, request.id)
        resource = json_patch.tree(stored.body)
        lists = resource["meta"]
        for name in _LISTS:
            labels = work(lists.get(name, []), given.get(name, []))
            lists.pop(name, None)
            if labels:
                lists[name] = labels
        change = Change(
            Method.UPDATE,
            stored.type,
            stored.id,
            json_patch.text(resource),
            if_match=(str(stored.version_id),),
            whole_meta=True,
        )
        (outcome,) = hub.store.commit([change])
        return _told(outcome.body or hub.store.read(request.type, request.id).body)

    return patch.repeatedly(attempt)


def _key(label: Any) -> Any:
    """Return what makes a label the same: a profile's url, a coding's system and code."""
    return (label.get("system"), label.get("code")) if isinstance(label, dict) else label


def _told(body: bytes) -> Reply:
    found = orjson.loads(body).get("meta", {})
    return Reply(200, parameters({"name": "return", "valueMeta": found}))


_INSTANCE = frozenset(("instance",))

META = Operation(meta, core("Resource-meta"), _INSTANCE)
META_ADD = Operation(add, core("Resource-meta-add"), _INSTANCE, methods=("POST",), changes=True)
META_DELETE = Operation(
    delete, core("Resource-meta-delete"), _INSTANCE, methods=("POST",), changes=True
)
