"""Patch and conditional patch: R4 http.html#patch.

A patch is computed from the newest version and committed on the condition that it still is the
newest; if another writer was faster, it is computed again.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app.errors import (
    Conflict,
    Invalid,
    Malformed,
    NotFound,
    PreconditionFailed,
    Unprocessable,
    UnsupportedMediaType,
)
from app.fhir import json, validate, xml
from app.rest import criteria, fhirpath_patch, json_patch, negotiate, write, xml_patch
from app.rest.exchange import Reply, Request
from app.rest.negotiate import Format
from app.rest.services import Hub
from app.store.types import Change, Method, Stored

T = TypeVar("T")

_ATTEMPTS = 5


def patch(hub: Hub, request: Request) -> Reply:
    """Change parts of a resource."""
    return _committed(hub, request, change)


def conditional_patch(hub: Hub, request: Request) -> Reply:
    """Change parts of the one resource that meets the criteria."""
    return _committed(hub, request, conditional_change)


def change(hub: Hub, request: Request) -> Change:
    """Return the update that a patch comes to, on the condition that nothing changes meanwhile."""
    return _change(request, hub.store.read(request.type, request.id))


def _change(request: Request, stored: Stored) -> Change:
    if request.if_match and not {"*", str(stored.version_id)} & set(request.if_match):
        raise PreconditionFailed("If-Match does not name the current version", at="http.If-Match")
    return Change(
        Method.UPDATE,
        stored.type,
        stored.id,
        _patched(request, stored),
        if_match=(str(stored.version_id),),
        whole_meta=True,
        full_url=request.full_url,
        entry=request.index,
    )


def conditional_change(hub: Hub, request: Request) -> Change:
    """As `change`, for the one match of the criteria in the address."""
    found = hub.store.matching(request.type, criteria.of_address(request), 2)
    if not found:
        raise NotFound("No resource meets the criteria")
    if len(found) > 1:
        raise PreconditionFailed("The criteria match several resources", code="multiple-matches")
    request.id = found[0].id
    return _change(request, found[0])  # as it was met: reading it again might find it deleted


def repeatedly(attempt: Callable[[], T]) -> T:
    """Return what `attempt` gives, trying again while other writers are faster."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except Conflict as error:
            if error.issues[0].code == "multiple-matches":
                raise
    return attempt()


def _committed(hub: Hub, request: Request, make: Callable[[Hub, Request], Change]) -> Reply:
    def attempt() -> Reply:
        wanted = make(hub, request)
        try:
            return write.commit(hub, request, wanted)
        except Conflict:
            raise
        except Invalid as error:  # R4: a patch whose result is no valid resource is 422
            raise Unprocessable.of(error.issues) from error

    if request.if_match:
        return attempt()
    return repeatedly(attempt)


def _patched(request: Request, stored: Stored) -> bytes:
    """Return the body with the patch applied, its numbers as they were written."""
    kind, content = _content(request)
    work = _KINDS.get(kind)
    if work is None:
        raise UnsupportedMediaType(
            "There is no such kind of patch: send " + ", ".join(_KINDS), at="http.Content-Type"
        )
    return work(stored.body, content)


def _content(request: Request) -> tuple[str, bytes]:
    """Return media type and content of a patch; in a Bundle a Binary carries them."""
    if request.bundled:
        resource = json.parse(request.body)
        if resource.get("resourceType") == "Binary":
            return _of_binary(resource)
    return negotiate.media(request.header("CONTENT_TYPE") or "").type, request.body


def _of_binary(resource: dict[str, Any]) -> tuple[str, bytes]:
    if not validate.check(resource, "Binary"):
        raise Invalid.of(validate.problems(resource, "Binary"))
    try:
        data = b64decode(resource.get("data", ""), validate=True)
    except ValueError as exc:
        raise Invalid("The data is not base64", at="Binary.data") from exc
    return negotiate.media(resource["contentType"]).type, data


def _json_patch(body: bytes, patch: bytes) -> bytes:
    patched = json_patch.apply(json_patch.tree(body), json_patch.tree(patch))
    return json_patch.text(_without_empty_lists(patched))


def _without_empty_lists(tree: Any) -> Any:
    """Return what is left when the last of a list was taken: FHIR JSON has no empty arrays."""
    if isinstance(tree, dict):
        return {name: _without_empty_lists(v) for name, v in tree.items() if v != []}
    return [_without_empty_lists(item) for item in tree] if isinstance(tree, list) else tree


def _xml_patch(body: bytes, patch: bytes) -> bytes:
    patched = xml_patch.apply(xml.to_xml(body), patch)
    try:
        return xml.to_json(patched)
    except Malformed as error:  # it was well-formed: the patch made something else of it
        raise Unprocessable.of(error.issues) from error


def _fhirpath_patch(body: bytes, patch: bytes) -> bytes:
    sent = json.parse(patch)
    if sent.get("resourceType") != "Parameters":
        raise Malformed("A FHIRPath Patch is a Parameters resource", at="resourceType")
    if not validate.check(sent, "Parameters"):
        raise Malformed.of(validate.problems(sent, "Parameters"))
    patched = fhirpath_patch.apply(json_patch.tree(body), json_patch.tree(patch))
    return json_patch.text(patched)


_KINDS: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "application/json-patch+json": _json_patch,
    "application/xml-patch+xml": _xml_patch,
    Format.JSON.value: _fhirpath_patch,
    Format.XML.value: lambda body, patch: _fhirpath_patch(body, xml.to_json(patch)),
}
