"""Reads by id: stored bytes, never parsed. R4 http.html#read, #vread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from app.errors import Deleted, NotFound, UnknownType
from app.fhir import definitions
from app.store.database import Connection
from app.store.states import CREATED, DELETED, STUB, UPDATED
from app.store.types import Stored

METHODS = {CREATED: "create", UPDATED: "update", DELETED: "delete"}

_type_name = cache(definitions.type_name)  # a page of resources asks for it as often

_READ = "SELECT vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?"


def stored(type_name: str, id_: str, row: Sequence[Any]) -> Stored:
    """Return the value of a row (vid, lu, method, body)."""
    vid, lu, method, body = row
    return Stored(type_name, id_, vid, lu, body, method == DELETED, METHODS[method])


def current(kind: int, version: Sequence[Any]) -> Stored:
    """Return the value of a row (id, vid, lu, method, body) of a resource that is here."""
    id_, vid, lu, method, body = version
    return Stored(_type_name(kind), id_, vid, lu, body, False, METHODS[method])


def lookup(db: Connection, tenant: int, type_name: str, id_: str) -> Stored | None:
    """Return the newest version, a deletion too; None for what was never written."""
    row = db.one(_READ, (tenant, number_of(type_name), id_))
    if row is None or row[2] == STUB:
        return None
    return stored(type_name, id_, row)


def read(db: Connection, tenant: int, type_name: str, id_: str) -> Stored:
    """Return the current version. Raises NotFound, or Deleted when it is gone."""
    found = lookup(db, tenant, type_name, id_)
    if found is None:
        raise NotFound("there is no such resource")
    if found.deleted:
        raise Deleted("the resource was deleted")
    return found


def vread(db: Connection, tenant: int, type_name: str, id_: str, version_id: str) -> Stored:
    """Return one version, which may be a deletion. Raises NotFound."""
    row = db.one(
        "SELECT pk,vid,lu,method,body FROM res WHERE tenant=? AND type=? AND id=?",
        (tenant, number_of(type_name), id_),
    )
    number = int(version_id) if version_id.isdecimal() and len(version_id) < 10 else 0
    if row is not None and row[3] != STUB and version_id == str(number):  # 01 is not version 1
        if row[1] == number:
            return stored(type_name, id_, row[1:])
        old = db.one("SELECT vid,lu,method,body FROM hist WHERE pk=? AND vid=?", (row[0], number))
        if old is not None:
            return stored(type_name, id_, old)
    raise NotFound("there is no such version")


def number_of(type_name: str) -> int:
    """Return the number that stands for a type in the tables. Raises UnknownType."""
    if not definitions.is_resource_type(type_name):
        raise UnknownType("R4 has no such resource type")
    return definitions.type_number(type_name)
