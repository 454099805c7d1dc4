"""A change's body as it is stored: with its version, its time, and references to what is meant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from app.clock import instant
from app.errors import Invalid
from app.fhir import json as fhir_json
from app.fhir import references
from app.store.entries import Entries
from app.store.prepare import Prepared, Preparer


@lru_cache(maxsize=256)
def last_updated(us: int) -> str:
    """Return meta.lastUpdated: all changes of a set have the same."""
    return instant(us)


def finished(
    preparer: Preparer,
    change: Prepared,
    id_: str,
    targets: Mapping[str, str],
    vid: int,
    lu: int,
    inherited: Mapping[str, bytes],
) -> tuple[bytes, Entries, bytes]:
    """Return a body as it is stored, its entries, and their words if those are packed.

    targets: what references are replaced by; inherited: the lists of meta that stay from the
    version before. Raises Invalid.
    """
    entries, links = change.entries, None
    if entries is None:
        raise Invalid("the resource is missing", code="required", at=change.type)
    body = references.rewrite(change.body, targets) if targets else change.body
    if change.entry is not None and (open_one := references.unresolved(body)):
        at = references.place_of(open_one, fhir_json.load(body), change.type)
        raise Invalid("a reference names no entry of this Bundle", code="not-found", at=at)
    if body is not change.body:
        links = preparer.relinked(change.type, body)
    # `where(resolve() is Patient)` needs the type, and uris may be replaced too.
    rewritten = body is not change.body and body != change.body
    if change.front and not inherited:
        front = change.front  # what is rewritten lies behind it
        body = fhir_json.splice_at(front, body, change.type, id_, vid, last_updated(lu))
    else:
        body = fhir_json.splice(body, id_, vid, last_updated(lu), inherited)
    remade = (
        rewritten
        or change.generation != preparer.generation  # parameters were posted meanwhile
        or bool(inherited and inherited.keys() - fhir_json.inheritable(change.body).keys())
    )
    if remade:
        entries = preparer.entries(change.type, fhir_json.load(body))
    if links is not None:
        # What a link needs to know of its ends is known only now.
        entries = msgspec.structs.replace(entries, links=links)
    return body, entries, b"" if remade else change.words
