"""The human page of a code system or value set, at the address of the resource.

The HL7 terminology ecosystem asks for one where a browser follows a canonical url. It is the
console's page of its codes, to which the client is sent on: 303, RFC 9110 section 15.4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from app.fhir import json
from app.rest.base import MOUNT
from app.rest.exchange import Reply, Request
from app.rest.negotiate import prefers_page
from app.rest.services import Hub

# Resource type -> the parameter of the console's page.
PARAMETERS = {"CodeSystem": "system", "ValueSet": "valueset"}


def instead(hub: Hub, request: Request, segments: Sequence[str]) -> Reply | None:
    """Return the way to the page of a resource; None when no page is asked for, or there is none.

    Raises NotFound, Deleted.
    """
    if len(segments) != 2 or segments[0] not in PARAMETERS or request.method not in ("GET", "HEAD"):
        return None
    if not prefers_page(request.header("ACCEPT")) or request.param("_format"):
        return None
    type_name, id_ = segments
    resource = json.load(hub.store.read(type_name, id_).body)
    url, version = resource.get("url"), resource.get("version")
    if not isinstance(url, str):
        return None
    canonical = f"{url}|{version}" if version else url
    page = f"{request.base.removesuffix(MOUNT)}/terminology"
    query = urlencode({PARAMETERS[type_name]: canonical})
    return Reply(303, headers=[("Location", f"{page}?{query}")])
