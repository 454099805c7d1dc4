"""FHIR JSON as bytes: read with every fault found, rewritten without touching what it says.

R4 json.html. A resource is stored as the bytes that will be served: compact UTF-8 in which numbers
and escapes stand as they were sent. Only `id` and two members of `meta` are the server's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from app.errors import Malformed, TooMuch

DEPTH_MAX = 100

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MINE = ("versionId", "lastUpdated")
_KEPT = ("profile", "security", "tag")  # survive an update that does not name them


def compact(body: bytes) -> bytes:
    """Return the same JSON without white space. Raises Malformed."""
    try:
        return msgspec.json.format(body, indent=-1)
    except msgspec.DecodeError as exc:
        raise Malformed("the body is not JSON") from exc
    except RecursionError as exc:
        raise TooMuch(f"nested deeper than {DEPTH_MAX} levels") from exc


def pretty(body: bytes) -> bytes:
    """Return the same JSON indented by two."""
    return msgspec.json.format(body, indent=2)


def parse(body: bytes) -> dict[str, Any]:
    """Return the object that compact JSON holds.

    Raises Malformed: not UTF-8, not JSON, not an object, a member twice; TooMuch: nested too deep.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if "recursion" in str(exc):
            raise TooMuch(f"nested deeper than {DEPTH_MAX} levels") from exc
        raise Malformed("the body is not JSON in UTF-8") from exc
    if not isinstance(found, dict):
        raise Malformed("the body is not a JSON object")
    # A doubled member is lost by parsing: then there are fewer of them than in the text. Escaped
    # quotes can make the counts differ or hide it, so that a close look decides.
    if body.count(b'":') != orjson.dumps(found).count(b'":') or b"\\u0022" in body:
        _refuse_doubled(body)
    return found


def _refuse_doubled(body: bytes) -> None:
    def members(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise Malformed("a member stands twice in one object", at=name[:64])

    json.loads(body, object_pairs_hook=members)


def splice(
    body: bytes,
    id_: str,
    version_id: str,
    last_updated: str,
    kept: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return compact JSON with the server's id, meta.versionId and meta.lastUpdated in it.

    resourceType, id and meta come first, all other members follow in their order and bytes.
    kept: members of `meta` (raw) of the version before, for those the new one does not name.
    """
    members = _members.decode(body)
    kind = members.pop("resourceType")
    members.pop("id", None)
    meta = members.pop("meta", None)
    parts = [
        b'{"resourceType":%b,"id":"%b","meta":{"versionId":"%b","lastUpdated":"%b"'
        % (kind, id_.encode(), version_id.encode(), last_updated.encode())
    ]
    own: dict[str, msgspec.Raw] = _members.decode(meta) if meta is not None else {}
    for name, raw in own.items():
        if name not in _MINE:
            parts.append(b',"%b":%b' % (name.encode(), raw))
    for name, old in (kept or {}).items():
        if name not in own:
            parts.append(b',"%b":%b' % (name.encode(), old))
    parts.append(b"}")
    for name, raw in members.items():
        parts.append(b",%b:%b" % (_quoted(name), raw))
    parts.append(b"}")
    return b"".join(parts)


def kept_meta(body: bytes) -> dict[str, bytes]:
    """Return the members of `meta` that an update keeps unless it names them."""
    meta = _members.decode(body).get("meta")
    if meta is None:
        return {}
    own = _members.decode(meta)
    return {name: bytes(own[name]) for name in _KEPT if name in own}


def _quoted(name: str) -> bytes:
    return b'"%b"' % name.encode() if name.isidentifier() else orjson.dumps(name)
