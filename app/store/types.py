"""The values that pass between the store and the doors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

from app.errors import Issue


class Method(StrEnum):
    """What a change asks for (R4 http.html)."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Result(StrEnum):
    """What became of a change."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"  # a conditional create met one match, or a write changed nothing
    DELETED = "deleted"
    ABSENT = "absent"  # a delete of something that is not there


@dataclass(frozen=True, slots=True)
class Change:
    """One wished-for change of one resource.

    body: the resource as JSON bytes (UTF-8), as received; None for a delete.
    criteria: search criteria of a conditional interaction ("identifier=sys|v"), percent-decoded
        or not; None when the target is named by `id`.
    if_match: version ids of which one has to be current (If-Match); empty: not asked.
    create_only: If-None-Match: * (update that must create).
    whole_meta: the body says all of meta: no profile, label or tag of the version before stays
        (a patch; an update keeps the lists it does not name).
    full_url: the Bundle.entry.fullUrl that other changes of the same set refer to.
    entry: index in the sender's Bundle, for errors.
    """

    method: Method
    type: str
    id: str | None = None
    body: bytes | None = None
    criteria: str | None = None
    if_match: tuple[str, ...] = ()
    create_only: bool = False
    whole_meta: bool = False
    full_url: str | None = None
    entry: int | None = None


class Outcome(msgspec.Struct, frozen=True):  # an eighth of what a frozen dataclass costs
    """What a change did: the state of the resource after it."""

    result: Result
    type: str
    id: str
    version_id: int
    last_updated_us: int
    body: bytes | None = None


class Stored(NamedTuple):  # a page makes hundreds: a third of what a frozen dataclass costs
    """One version of one resource as it is served."""

    type: str
    id: str
    version_id: int
    last_updated_us: int
    body: bytes  # empty when this version is a deletion
    deleted: bool = False
    method: str = "update"  # create | update | delete: how this version came to be


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search: percent-decoded parameter names and values in the order given.

    type: None searches all types (or those of `_type`).
    compartment: (type, id) of the compartment searched in.
    strict: refuse unknown parameters (else they are reported in `SearchPage.ignored`).
    base: this server's FHIR base URL: references that begin with it are local.
    """

    type: str | None
    params: Sequence[tuple[str, str]]
    compartment: tuple[str, str] | None = None
    strict: bool = True
    base: str = ""


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of a searchset.

    used: the parameters that took part, for the self link.
    next: value of the `_page` parameter that continues this search, None on the last page.
    total: None when it is not known.
    """

    matches: Sequence[Stored]
    includes: Sequence[Stored]
    total: int | None
    used: Sequence[tuple[str, str]]
    next: str | None = None
    ignored: Sequence[Issue] = field(default=())
    summary: str | None = None  # true | text | data | count: how the matches are to be reduced
    elements: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of a history, newest first."""

    versions: Sequence[Stored]
    total: int | None
    next: str | None = None
