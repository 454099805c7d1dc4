"""This server's FHIR base url: configuration first, then a trusted proxy, then a known Host.

A `Host` header is whatever the client writes, and the base goes into links, so only the names the
site allows are believed; for any other the first of them stands in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.rest.services import Options

MOUNT = "/fhir"

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.\-]+)(:\d{1,5})?", re.ASCII)


def base_url(environ: Mapping[str, Any], options: Options) -> str:
    """Return the base url of the answer to one request, without a slash at the end."""
    if options.base_url:
        return options.base_url
    get = environ.get
    scheme, host = get("wsgi.url_scheme", "http"), get("HTTP_HOST", "")
    forwarded = get("HTTP_FORWARDED")
    if forwarded and get("REMOTE_ADDR") in options.trusted_proxies:
        said = _first_hop(forwarded)
        scheme, host = said.get("proto", scheme), said.get("host", host)
        if scheme in ("http", "https") and _HOST.fullmatch(host):
            return f"{scheme}://{host}{MOUNT}"
    return _by_host(scheme, host, str(get("SERVER_PORT", "")), options.hosts)


@lru_cache(maxsize=64)
def _by_host(scheme: str, host: str, port: str, known: tuple[str, ...]) -> str:
    match = _HOST.fullmatch(host)
    if match is None or match[1].lower() not in known:
        host = f"{known[0]}:{port}" if port else known[0]
    return f"{scheme}://{host}{MOUNT}"


@lru_cache(maxsize=64)
def _first_hop(forwarded: str) -> dict[str, str]:
    """Return the parameters of the first element of a Forwarded header (RFC 7239)."""
    first = forwarded.split(",")[0]
    pairs = (part.partition("=") for part in first.split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
