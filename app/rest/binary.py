"""Binary as raw content, in and out: R4 binary.html#rest.

The content is whatever a client once sent, so it is served in a way that no browser takes for a
page of ours: `nosniff`, and a sandbox without scripts.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

import orjson

from app.errors import Invalid, NotAcceptable
from app.rest import negotiate
from app.rest.exchange import Reply, Request
from app.rest.negotiate import Format

_GUARD = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
]
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+", re.ASCII)
_FHIR = {form.value for form in Format}


def is_raw(request: Request) -> bool:
    """Say whether the body is the content itself, not a Binary resource."""
    if request.type != "Binary" or request.bundled:
        return False
    sent = negotiate.media(request.header("CONTENT_TYPE") or "").type
    return bool(sent) and sent not in _FHIR


def wrapped(request: Request) -> bytes:
    """Return the Binary that carries the body."""
    resource: dict[str, object] = {"resourceType": "Binary"}
    if request.id:
        resource["id"] = request.id
    resource["contentType"] = request.header("CONTENT_TYPE")
    context = request.header("X_SECURITY_CONTEXT")
    if context:
        resource["securityContext"] = {"reference": context}
    if request.body:
        resource["data"] = b64encode(request.body).decode()
    return orjson.dumps(resource)


def unwrapped(request: Request, reply: Reply) -> Reply:
    """Return the content itself, unless a FHIR format was asked for by its own name."""
    if request.param("_format") or _asks_for_fhir(request):
        return reply
    resource = orjson.loads(reply.body)
    kind = resource["contentType"]
    if not _takes(request, kind):
        raise NotAcceptable("The content is of another type than Accept asks for", at="http.Accept")
    try:
        reply.body = b64decode(resource.get("data", ""))
    except ValueError as exc:
        raise Invalid("The stored content is not base64", at="Binary.data") from exc
    reply.content_type = kind if _HEADER_VALUE.fullmatch(kind) else "application/octet-stream"
    reply.headers += _GUARD
    return reply


def _asks_for_fhir(request: Request) -> bool:
    """Say whether Accept names a FHIR format before anything else it could get."""
    return negotiate.accepted(request.header("ACCEPT"))[0].type in _FHIR


def _takes(request: Request, kind: str) -> bool:
    mine = negotiate.media(kind).type
    ranges = {"*/*", mine, mine.partition("/")[0] + "/*"}
    wanted = negotiate.accepted(request.header("ACCEPT"))
    return any(media.type in ranges and media.quality > 0 for media in wanted)
