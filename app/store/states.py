"""What a row of `res` says of a resource: how its newest version came to be, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

CREATED, UPDATED, DELETED, STUB = 0, 1, 2, -1

Target = tuple[str, str]  # type, id


@dataclass(slots=True)
class State:
    """The newest version of a resource: what a change of it is decided on.

    told: `res.told`.
    """

    pk: int
    method: int
    vid: int
    lu: int
    d: int
    s: int
    body: bytes
    told: int | None

    @property
    def exists(self) -> bool:
        return self.method in (CREATED, UPDATED)


def digest(
    tenant: int, type_name: str, id_: str, vid: int, method: int, lu: int, body: bytes
) -> bytes:
    """Return what the change log keeps of a version; `body` is empty for a deletion."""
    head = f"{tenant}/{type_name}/{id_}/{vid}/{method}/{lu}\n".encode()
    return sha256(head + body).digest()


def digests(tenant: int, vid: int, method: int, lu: int) -> Callable[[str, str, bytes], bytes]:
    """Return what gives `digest` of one version of many resources: of type, id and body."""
    before, behind = f"{tenant}/", f"/{vid}/{method}/{lu}\n"

    def one(type_name: str, id_: str, body: bytes) -> bytes:
        return sha256(f"{before}{type_name}/{id_}{behind}".encode() + body).digest()

    return one


def stub(tenant: int, pk: int, number: int, id_: str) -> tuple[Any, ...]:
    """Return the row of a resource that is referred to but was never written."""
    return (pk, tenant, pk, number, id_, STUB, 0, 0, 0, 0, b"", None)
