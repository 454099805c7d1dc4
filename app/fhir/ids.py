"""Ids computed from business identities: UUIDs (version 8) out of a keyed hash.

Whoever knows a patient's number must not be able to compute the id of the resource, so the hash is
HMAC-SHA-256 with the installation's secret; the same record gives the same id in any order of
arrival. RFC 9562 section 5.8 (UUID version 8), RFC 2104 (HMAC).
"""

from __future__ import annotations

import hashlib
import re
from binascii import hexlify
from collections.abc import Iterable
from functools import lru_cache

BASE = "https://yilian.example/fhir"  # one build constant: canonical base of what we publish
RECORD = f"{BASE}/sid/record"  # identifier system of record keys

# What `yilian convert` uses when the installation has no secret: its output is the same anywhere.
CONVERT_SECRET = b"yilian convert: no installation secret"

_BLOCK = 64  # of SHA-256, in bytes
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
# A UUID is made of the hexadecimal digits of the hash by one `translate`: it stands here as the
# places of its characters among these digits and what `_tail` puts behind them: `-`, version,
# variant.
_DASH, _VERSION, _VARIANT = 64, 65, 66
_UUID = bytes((
    *range(8), _DASH, *range(8, 12), _DASH, _VERSION, *range(13, 16), _DASH, _VARIANT,
    *range(17, 20), _DASH, *range(20, 32),
))  # fmt: skip


def _tail(digit: int) -> bytes:
    """Return what fills up a table for `_UUID`, by the digit in the place of the variant."""
    variant = "89ab"[int(chr(digit), 16) & 3]
    return f"-8{variant}".encode().ljust(256 - 64)


_TAILS = {digit: _tail(digit) for digit in b"0123456789abcdef"}
_KEY = re.compile(r"[A-Za-z0-9:/._~%-]*")
# Each byte as it stands in a part of a key, and in a query (RFC 3986 section 2.3).
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_IN_PART = [chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in range(256)]
_IN_QUERY = [chr(byte) if byte in b":/" else _IN_PART[byte] for byte in range(256)]
_TOKEN_SPECIAL = str.maketrans({"\\": "\\\\", "|": "\\|", ",": "\\,", "$": "\\$"})


class Ids:
    """Gives the ids of one installation (its secret) and tenant."""

    def __init__(self, secret: bytes, tenant: str = "") -> None:
        key = secret if len(secret) <= _BLOCK else hashlib.sha256(secret).digest()
        key = key.ljust(_BLOCK, b"\0")
        # Both hash states are prepared once; a copy costs less than a new HMAC.
        self._inner = hashlib.sha256(key.translate(_INNER))
        self._inner.update(f"{tenant}\x1f".encode())
        self._outer = hashlib.sha256(key.translate(_OUTER))

    def id_of(self, type_: str, key: str) -> str:
        """Return the id of the resource of that type with that record key (or `system|value`)."""
        inner = self._inner.copy()
        inner.update(f"{type_}\x1f{key}".encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        digits = hexlify(outer.digest())
        return _UUID.translate(digits + _TAILS[digits[16]]).decode()


def record_key(parts: Iterable[str]) -> str:
    """Return the value of a record key identifier: its parts, percent-encoded, joined by `:`."""
    return ":".join(encode_part(part) for part in parts)


def encode_part(part: str) -> str:
    """Return one part of a derived URI or record key: trimmed and percent-encoded."""
    part = part.strip()
    return part if part.isalnum() and part.isascii() else _encoded(part, _IN_PART)


def _encoded(text: str, table: list[str]) -> str:
    """Return the text percent-encoded; times take twice as long by `urllib.parse.quote`."""
    return "".join([table[byte] for byte in text.encode()])


def criteria(system: str | None, value: str) -> str:
    """Return the search `identifier=system|value` as it stands in a request URL.

    The token's own delimiters are escaped first (R4 search.html#escaping), then the URL's: a
    record key, which is percent-encoded already, gets its `%` encoded once more.
    """
    if not (value.isalnum() and value.isascii()):
        if _KEY.fullmatch(value):  # record keys: all there is to encode is `%`
            value = value.replace("%", "%25")
        else:
            value = _encoded(value.translate(_TOKEN_SPECIAL), _IN_QUERY)
    return f"{_criterion(system or '')}{value}"


@lru_cache(maxsize=4096)
def _criterion(system: str) -> str:
    return f"identifier={_encoded(system, _IN_QUERY)}|"
