"""A reply as bytes on the wire: format, indentation, compression, headers."""

from __future__ import annotations

import zlib
from functools import lru_cache

import zstandard

from app.fhir import json, xml
from app.rest.exchange import Reply, Request, etag, http_date
from app.rest.negotiate import Format
from app.rest.once import once

Headers = list[tuple[str, str]]

PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    303: "See Other",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

# Answers hold patients: caches may keep them only if they ask again each time.
COMMON: Headers = [("Cache-Control", "private, no-cache"), ("Vary", "Accept, Accept-Encoding")]


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """Return status and phrase: 201 Created."""
    return f"{status} {PHRASES[status]}"


def written(body: bytes, form: Format, *, pretty: bool = False) -> bytes:
    """Return FHIR JSON in the format of the answer."""
    if form is Format.XML:
        return xml.to_xml(body, pretty=pretty)
    return json.pretty(body) if pretty else body


def version_headers(reply: Reply, base: str) -> Headers:
    """Return ETag, Last-Modified and Location of a reply, as far as it has them."""
    headers = []
    if reply.version_id is not None:
        headers.append(("ETag", etag(reply.version_id)))
    if reply.last_updated_us is not None:
        headers.append(("Last-Modified", http_date(reply.last_updated_us // 1_000_000)))
    if reply.location is not None:
        headers.append(("Location", f"{base}/{reply.location}"))
    return headers


def compressed(body: bytes, encoding: str) -> bytes:
    """Return the body in a content encoding; level 1: a 28 kB Bundle takes 40 to 60 us."""
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(body)
    packer = zlib.compressobj(1, wbits=31)  # 31: with gzip's header
    return packer.compress(body) + packer.flush()


# Of constant bodies (half a megabyte of CapabilityStatement): the work is done once.
written_once = once(written)
compressed_once = once(compressed)


def asks_for_pretty(request: Request) -> bool:
    return request.param("_pretty") == "true"
