"""Resources out of request bodies, as JSON bytes: R4 http.html#mime-type, json.html."""

from __future__ import annotations

from app.errors import Malformed
from app.fhir import xml
from app.rest import negotiate
from app.rest.exchange import Request
from app.rest.negotiate import Format


def resource(request: Request) -> bytes:
    """Return the resource in the body as JSON. Raises Malformed, UnsupportedMediaType.

    XML is turned into the JSON that says the same; it is stored and checked as JSON.
    """
    body = request.body
    sent = negotiate.request_format(request.header("CONTENT_TYPE"))
    if not body:
        raise Malformed("The body is empty")
    if sent is None:  # nothing said: XML begins with `<`, and JSON never does
        sent = Format.XML if body.lstrip()[:1] == b"<" else Format.JSON
    return xml.to_json(body) if sent is Format.XML else body
