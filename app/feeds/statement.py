"""What one message says, ready to be applied: resources as bytes, checked and indexed already.

Made without the store, so that it can be done by another process than the one that writes: most
resources of a message are new, and of those nothing is left to do but to write the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from app.errors import YilianError
from app.feeds.merge import WHOLE
from app.mapping.run import NAMELESS, Entry
from app.store.prepare import Prepared, Preparer
from app.store.written import Writing, Written, encode

Json = dict[str, Any]

# Described by the inbox entry and the Provenance already.
_NOT_KEPT = frozenset(("MessageHeader",))

_REMEMBERED = 50_000  # ids: some 6 MB
_WRITING = Writing()
_TOKEN_ESCAPES = ("\\|", "|"), ("\\,", ","), ("\\$", "$"), ("\\\\", "\\")


class Statement(msgspec.Struct, array_like=True, gc=False):
    """One resource of a converted message.

    key: system and value of the identifier that names it; id: computed from the key. mention: it
    fills gaps of what is stored and never overwrites. body: compact JSON with `id`; references to
    other resources of the message by their computed ids. replaced_by: the survivor's computed id,
    of a patient record that the message merges. prepared: ready to be written when it is new.
    """

    type: str
    key: tuple[str, str] | None
    id: str
    mention: bool
    body: bytes
    replaced_by: str | None = None
    prepared: Prepared | None = None

    @property
    def local(self) -> bytes:
        """The reference to it inside the message."""
        return f"{self.type}/{self.id}".encode()


class Recent:
    """The ids of resources that were stated lately: most of what comes again is stored by then."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._half = most // 2
        self._ids: set[str] = set()
        self._before: set[str] = set()

    def again(self, id_: str) -> bool:
        """Say whether an id was asked for before."""
        if id_ in self._ids:
            return True
        if len(self._ids) >= self._half:
            self._before, self._ids = self._ids, set()
        self._ids.add(id_)
        return id_ in self._before


def statements(
    bundle: Mapping[str, Any],
    preparer: Preparer | None = None,
    recent: Recent | None = None,
    made: Sequence[Entry] = (),
) -> list[Statement]:
    """Return the entries of a transaction Bundle in the printed form (architecture.md).

    preparer: prepare them for the case that they are new; recent: but for those that hardly are;
    made: what the entries were printed from, in their order, if it is at hand: it has the keys.
    """
    printed = bundle["entry"]
    named = map(_key, made) if made else map(_printed_key, printed)
    keyed = [
        (one, key)
        for one, key in zip(printed, named, strict=True)
        if one["resource"]["resourceType"] not in _NOT_KEPT
    ]
    entries = [one for one, _ in keyed]
    ids = [str(one["fullUrl"]).removeprefix("urn:uuid:") for one in entries]
    local = {
        id_.encode(): one["resource"]["resourceType"].encode()
        for id_, one in zip(ids, entries, strict=True)
    }
    writing = _WRITING if preparer is None else preparer.writing
    said = []
    for id_, (entry, key) in zip(ids, keyed, strict=True):
        written = writing.write(id_, entry["resource"], local)
        one = _statement(entry, key, id_, written.body)
        if preparer is not None and (
            recent is None or one.type in WHOLE or not recent.again(one.id)
        ):
            one.prepared = _prepared(one, written, preparer)
        said.append(one)
    return said


def with_id(body: Mapping[str, Any], id_: str) -> bytes:
    """Return a resource as compact JSON, its type, id and meta in front: there the store finds
    them at once."""
    head = {"resourceType": body["resourceType"], "id": id_}
    if "meta" in body:
        head["meta"] = body["meta"]
    return encode({**head, **body, "id": id_})


def decode(raw: bytes) -> Json:
    """Return parsed JSON whose numbers keep their digits."""
    if b"." not in raw:
        return msgspec.json.decode(raw, type=dict[str, Any])
    parsed: Json = json.loads(raw, parse_float=Decimal)
    return parsed


def replaced_by(patient: Mapping[str, Any]) -> str | None:
    """Return the id of the record that a patient record was merged into, None for most."""
    for link in patient.get("link") or ():
        if link.get("type") == "replaced-by":
            reference = (link.get("other") or {}).get("reference") or ""
            return str(reference).removeprefix("Patient/") or None
    return None


def _statement(
    entry: Mapping[str, Any], key: tuple[str, str] | None, id_: str, body: bytes
) -> Statement:
    type_name = entry["resource"]["resourceType"]
    merged = type_name == "Patient" and b'"replaced-by"' in body
    return Statement(
        type=type_name,
        key=key,
        id=id_,
        mention=entry["request"]["method"] == "POST",
        body=body,
        replaced_by=replaced_by(decode(body)) if merged else None,
    )


def _prepared(said: Statement, written: Written, preparer: Preparer) -> Prepared | None:
    """Return it prepared; None when something is wrong: whoever applies it finds that again."""
    try:
        return preparer.stated(said.type, said.id, written)
    except YilianError:
        return None


def _key(made: Entry) -> tuple[str, str] | None:
    """Return system and value of the identifier that names what is made."""
    return None if made.type in NAMELESS else made.key


def _printed_key(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the same of an entry that was printed: from `identifier=system|value`
    (`app.fhir.ids.criteria`)."""
    request = entry["request"]
    query = request.get("ifNoneExist") or request["url"].partition("?")[2]
    if not query:
        return None
    system, _, value = query.partition("|")
    plain = value.count("%") == value.count("%25")  # record keys
    value = value.replace("%25", "%") if plain else unquote(value)
    if "\\" in value:
        for escaped, meant in _TOKEN_ESCAPES:
            value = value.replace(escaped, meant)
    return _system(system), value


@lru_cache(maxsize=4096)
def _system(criterion: str) -> str:
    return unquote(criterion.removeprefix("identifier="))
