"""FHIR JSON as bytes: reading, compacting, splicing in what the server owns, reducing.

R4 json.html, search.html#summary and #elements, RFC 8259. A resource is stored and served as the
bytes its author wrote, without white space: numbers keep their digits ("72.10"), texts their
escapes. So nothing here writes a parsed resource again; members are moved as raw slices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import orjson

from app.errors import Malformed
from app.fhir import definitions
from app.fhir.definitions import Shape
from app.fhir.rules import MAX_DEPTH

Json = dict[str, Any]
Members = dict[str, msgspec.Raw]

_SUBSETTED_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
SUBSETTED = b'{"system":"%b","code":"SUBSETTED","display":"subsetted"}' % _SUBSETTED_SYSTEM.encode()

_NO_JSON = "The body is not JSON."
_INHERITED = ("profile", "security", "tag")  # http.html#update: lists that survive an update
_TYPE = b'{"resourceType":"'
_META = b',"meta":{'
_HEAD = frozenset({"resourceType", "id", "meta"})
_SERVERS_OWN = frozenset({"versionId", "lastUpdated", "_versionId", "_lastUpdated"})

_members = msgspec.json.Decoder(Members).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_codings = msgspec.json.Decoder(list[dict[str, Any]]).decode


# --- reading -------------------------------------------------------------------------------------


def parse(body: bytes) -> Json:
    """Return the object in a JSON body. Numbers with a fraction become floats.

    Raises Malformed for anything but one JSON object: broken syntax, invalid UTF-8, a byte order
    mark, NaN and numbers beyond a double, duplicate names, nesting deeper than `MAX_DEPTH`.
    """
    return parse_compact(body)[0]


def parse_compact(body: bytes) -> tuple[Json, bytes]:
    """Return the object in a JSON body and the body without white space; see `parse`."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Malformed(_explain(body)) from exc
    if type(parsed) is not dict:
        raise Malformed("The body is not a JSON object.")
    try:
        written = orjson.dumps(parsed)
    except TypeError as exc:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.") from exc
    if written == body:
        return parsed, body
    text = msgspec.json.format(body, indent=-1)
    if text != written:
        _look_for_duplicates(text, written)
    return parsed, text


def load(body: bytes) -> Json:
    """Return the object in a stored body: what `parse` has let in needs no second look."""
    stored: Json = orjson.loads(body)
    return stored


def _look_for_duplicates(text: bytes, written: bytes) -> None:
    """Refuse a name that stands twice in an object: it is in `text`, lost in `written`.

    What may differ otherwise are numbers and escapes. Without `\\u` both hold the same colons.
    """
    if text.count(b":") != written.count(b":") or b"\\u" in text:
        json.loads(text, object_pairs_hook=_unique)


def _explain(body: bytes) -> str:
    """Return a reason that a sender can act on and that repeats nothing of the body."""
    if not body.strip():
        return "The body is empty."
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "The body begins with a byte order mark; FHIR JSON is UTF-8 without one."
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    return _NO_JSON


def _unique(pairs: Sequence[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Malformed("An object has the same member twice.")


def compact(body: bytes) -> bytes:
    """Return JSON without white space; numbers and escapes stay as written. Raises Malformed."""
    return _format(body, -1)


def pretty(body: bytes) -> bytes:
    """Return JSON indented by two spaces; numbers and escapes stay as written. Raises Malformed."""
    return _format(body, 2)


def _format(body: bytes, indent: int) -> bytes:
    try:
        return msgspec.json.format(body, indent=indent)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(_NO_JSON) from exc


def members(body: bytes) -> Members:
    """Return name -> raw text of the members of an object. Raises Malformed."""
    try:
        return _members(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise Malformed(_NO_JSON) from exc


# --- splicing ------------------------------------------------------------------------------------


def splice(
    body: bytes,
    id_: str,
    version_id: int | str,
    last_updated: str,
    inherited: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return the compact resource with id, meta.versionId and meta.lastUpdated set.

    `resourceType`, `id` and `meta` come first; all other members keep their text and order.
    `inherited` (see `inheritable`): lists of the version before that are added to meta where the
    body does not name them.
    """
    found = members(body)
    type_name = bytes(found["resourceType"])
    old_id, old_meta = found.get("id"), found.get("meta")
    head = b'{"resourceType":%b,"id":"%b","meta":{"versionId":"%b","lastUpdated":"%b"%b}' % (
        type_name,
        id_.encode(),
        str(version_id).encode(),
        last_updated.encode(),
        b"" if old_meta is None and not inherited else _kept_meta(old_meta, inherited or {}),
    )
    # Bodies nearly always begin with these three, so that the rest is one slice.
    offset, count = len(b'{"resourceType":,') + len(type_name), 1
    if old_id is not None:
        offset, count = offset + len(b'"id":,') + len(bytes(old_id)), count + 1
    if old_meta is not None:
        offset, count = offset + len(b'"meta":,') + len(bytes(old_meta)), count + 1
    if _HEAD.issuperset(islice(found, count)) and body.find(b"\\", 0, offset) < 0:
        rest = body[offset:]
    else:
        members_left = (_member(n, bytes(raw)) for n, raw in found.items() if n not in _HEAD)
        rest = b",".join(members_left) + b"}"
    return b"%b,%b" % (head, rest) if len(rest) > 1 else head + b"}"


def front(body: bytes, resource: Mapping[str, Any]) -> int:
    """Return where the members behind type, id and meta's own begin, for `splice`.

    Positive: inside meta; negative: behind the id, of a body without meta; 0: these members do
    not stand in front, or meta says what the server says. `resource` is the parsed body.
    """
    own_id, meta = resource.get("id"), resource.get("meta")
    head = b'%b%b"' % (_TYPE, resource["resourceType"].encode())
    if own_id is not None:
        head += b',"id":"%b"' % own_id.encode()
    if meta is None:
        return -len(head) if body.startswith(head) else 0
    head += _META
    if not body.startswith(head) or not meta or not _SERVERS_OWN.isdisjoint(meta):
        return 0
    return len(head)


def splice_at(
    front: int, body: bytes, type_name: str, id_: str, version_id: int, last_updated: str
) -> bytes:
    """Return what `splice` does, for a body of which `front` is known: nothing is read then."""
    return b'{"resourceType":"%b","id":"%b","meta":{"versionId":"%d","lastUpdated":"%b"%b%b' % (
        type_name.encode(),
        id_.encode(),
        version_id,
        last_updated.encode(),
        b"," if front > 0 else b"}",
        body[abs(front) :],
    )


class Stamp:
    """What `splice_at` adds to bodies that have their ids already: a version and its time."""

    def __init__(self, version_id: int, last_updated: str) -> None:
        own = b'"versionId":"%d","lastUpdated":"%b"' % (version_id, last_updated.encode())
        self._inside, self._behind = b"%b," % own, b"%b%b}" % (_META, own)

    def on(self, front: int, body: bytes) -> bytes:
        """Return the body with it; `front` is not 0."""
        if front > 0:
            return self._inside.join((body[:front], body[front:]))
        return self._behind.join((body[:-front], body[-front:]))


def _kept_meta(old: msgspec.Raw | None, inherited: Mapping[str, bytes]) -> bytes:
    """Return the members of meta that are not the server's, each with a comma before it."""
    found: Members = {} if old is None else members(bytes(old))
    parts = [
        b",%b:%b" % (orjson.dumps(name), bytes(raw))
        for name, raw in found.items()
        if name not in _SERVERS_OWN
    ]
    parts += [b"," + _member(n, text) for n, text in inherited.items() if n not in found]
    return b"".join(parts)


def _member(name: str, text: bytes) -> bytes:
    return b"%b:%b" % (orjson.dumps(name), text)


def inheritable(previous: bytes) -> dict[str, bytes]:
    """Return the raw lists of a stored version's meta that survive an update: http.html#update."""
    meta = members(previous).get("meta")
    if meta is None:
        return {}
    return {n: bytes(v) for n, v in members(bytes(meta)).items() if n in _INHERITED}


# --- reducing ------------------------------------------------------------------------------------


def reduce(body: bytes, *, summary: str | None = None, elements: Iterable[str] = ()) -> bytes:
    """Return the resource cut down as `_summary` (true, text, data) or `_elements` ask for.

    What remains keeps its text and order; meta.tag gains SUBSETTED. Mandatory elements stay.
    Names in `elements` are first-level element names (`value` for every `value[x]`).
    """
    found = members(body)
    type_name = str(orjson.loads(bytes(found["resourceType"])))
    shape = definitions.structure(type_name).shape
    if summary == "data":
        kept = {name: bytes(raw) for name, raw in found.items() if name != "text"}
    elif summary == "true":
        kept = _summarised(found, shape)
    else:
        wanted = frozenset({"text"}) if summary == "text" else frozenset(elements)
        names = _names(type_name, wanted)
        kept = {name: bytes(raw) for name, raw in found.items() if name in names}
    return _object(_tagged(kept))


def is_reduced(body: bytes) -> bool:
    """Say whether the text is that of a resource of which something is left out (SUBSETTED)."""
    if b'"SUBSETTED"' not in body:
        return False
    try:
        meta = members(body).get("meta")
        tags = None if meta is None else members(bytes(meta)).get("tag")
        return tags is not None and any(map(_is_mark, _codings(bytes(tags))))
    except (Malformed, msgspec.DecodeError):
        return False  # what is wrong with it is told when it is read


def _is_mark(coding: Json) -> bool:
    return coding.get("code") == "SUBSETTED" and coding.get("system") in (None, _SUBSETTED_SYSTEM)


@lru_cache(maxsize=512)
def _names(type_name: str, wanted: frozenset[str]) -> frozenset[str]:
    """Return the JSON names of the wanted elements, the mandatory ones, id and meta."""
    elements = definitions.structure(type_name).members.values()
    names = {"resourceType", "id", "meta"} | {
        m.name for m in elements if m.element.is_required or m.element.name in wanted
    }
    return frozenset(names | {f"_{name}" for name in names})


def _summarised(found: Members, shape: Shape) -> dict[str, bytes]:
    """Return the members of the summary; inside backbone elements the same rule holds."""
    kept = {}
    for name, raw in found.items():
        member = shape.members.get(name.removeprefix("_"))
        if member is None or member.name in {"id", "meta"}:
            kept[name] = bytes(raw)  # resourceType
        elif member.element.is_summary or member.element.is_required:
            inner = member.element.shape
            kept[name] = bytes(raw) if inner is None else _summarised_text(bytes(raw), inner)
    return kept


def _summarised_text(text: bytes, shape: Shape) -> bytes:
    if text.startswith(b"["):
        return b"[%b]" % b",".join(_summarised_text(bytes(item), shape) for item in _items(text))
    found = members(text)
    kept = _summarised(found, shape)
    # Where nothing belongs to the summary, the element stays whole: an empty one is not valid.
    return _object(kept) if kept.keys() - {"id"} else text


def _object(kept: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(_member(name, text) for name, text in kept.items())


def _tagged(kept: dict[str, bytes]) -> dict[str, bytes]:
    """Add SUBSETTED to meta.tag; meta is put behind the id if there was none."""
    if "meta" not in kept:
        head = {name: text for name, text in kept.items() if name in _HEAD}
        return head | {"meta": b'{"tag":[%b]}' % SUBSETTED} | kept
    meta = {name: bytes(raw) for name, raw in members(kept["meta"]).items()}
    tags = meta.get("tag")
    if tags is None:
        meta["tag"] = b"[%b]" % SUBSETTED
    elif not any(tag.get("code") == "SUBSETTED" for tag in _codings(tags)):
        meta["tag"] = b"%b,%b]" % (tags[:-1], SUBSETTED)
    return {**kept, "meta": _object(meta)}
