"""Request bodies: read up to a limit, unpacked if they came compressed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from app.errors import Malformed, TooMuch, UnsupportedMediaType

_CHUNK = 1 << 16
# A client that is still sending misses an answer that comes too early: what is too large is read
# on and dropped, up to this many times the limit.
_PATIENCE = 4


def read(environ: Mapping[str, Any], limit: int) -> bytes:
    """Return the body. Raises TooMuch over `limit` bytes, also after unpacking."""
    stream = environ["wsgi.input"]
    announced = environ.get("CONTENT_LENGTH")
    if announced:
        try:
            length = int(announced)
        except ValueError as exc:
            raise Malformed("Content-Length is not a number", at="http.Content-Length") from exc
        if length > limit:
            _drop(stream, min(length, _PATIENCE * limit))
            raise _too_large()
        body = stream.read(length) if length else b""
    elif environ.get("HTTP_TRANSFER_ENCODING"):
        body = stream.read(limit + 1)
        if len(body) > limit:
            _drop(stream, (_PATIENCE - 1) * limit)
            raise _too_large()
    else:
        return b""
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
    if encoding == "identity":
        return bytes(body)
    if encoding not in ("gzip", "x-gzip"):
        raise UnsupportedMediaType(
            "A body can be compressed with gzip only", at="http.Content-Encoding"
        )
    return _unpacked(body, limit)


def _drop(stream: Any, length: int) -> None:
    while length > 0:
        chunk = stream.read(min(_CHUNK, length))
        if not chunk:
            return
        length -= len(chunk)


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, limit)
    except zlib.error as exc:
        raise Malformed("The body is not gzip", at="http.Content-Encoding") from exc
    if unpacker.unconsumed_tail:
        raise _too_large()
    if not unpacker.eof:
        raise Malformed("The gzip body is cut short", at="http.Content-Encoding")
    return unpacked


def _too_large() -> TooMuch:
    return TooMuch("The body is larger than this server accepts")
