"""The part of a write that needs no database: read, check and index one change.

Runs where the change came in (an HTTP worker, a feed), so that the one writer of a SQLite file
does only what has to be done in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, NamedTuple

import msgspec

from app.errors import Invalid, Issue, UnknownType, YilianError
from app.fhir import definitions, references, validate
from app.fhir import json as fhir_json
from app.fhir.extract import Extractor
from app.fhir.primitives import is_id
from app.store.criteria import normal
from app.store.database import Connection
from app.store.effects import Effects
from app.store.entries import Entries, IdentifierKeys, Link, LinkRules, entries_of, links
from app.store.members import Pieces
from app.store.posted import Posted
from app.store.types import Change, Method
from app.store.unite import Unite
from app.store.written import Writing, Written


class Prepared(msgspec.Struct, array_like=True, gc=False):
    """A change that is valid in itself.

    body: compact JSON without this server's id and meta; body_id: the id the sender wrote into it;
    conditional: conditional references of the body; generation: of the posted search parameters
    that `entries` knows; front: of the body (`fhir.json.front`); words: the dictionary rows of
    `entries` in one piece, which has none then (`pack_words`).
    """

    method: Method
    type: str
    id: str | None
    criteria: str | None
    if_match: tuple[str, ...]
    create_only: bool
    whole_meta: bool
    full_url: str | None
    entry: int | None
    body: bytes = b""
    body_id: str | None = None
    entries: Entries | None = None
    conditional: list[str] = []
    generation: int = 0
    front: int = 0
    words: bytes = b""


class _Words(NamedTuple):
    """The dictionary rows of one resource (`Entries`)."""

    codes: list[tuple[int, str, str, int]]
    texts: list[tuple[int, str, int]]
    units: list[tuple[int, int, str, str, str]]


_encode_words = msgspec.msgpack.Encoder().encode
_decode_words = msgspec.msgpack.Decoder(_Words).decode


def pack_words(prepared: Prepared) -> None:
    """Put the dictionary rows of a change into one piece, for another process.

    Resources say the same codes, displays and units again and again: who knows a piece need not
    take it apart.
    """
    entries = prepared.entries
    if entries is not None and not prepared.words and entries.codes:
        prepared.words = _encode_words((entries.codes, entries.texts, entries.units))
        entries.codes, entries.texts, entries.units = [], [], []


def unpacked_words(packed: bytes) -> Entries:
    """Return what `pack_words` took, as entries that hold nothing else."""
    codes, texts, units = _decode_words(packed)
    return Entries(d=0, have=0, codes=codes, texts=texts, units=units)


@dataclass(frozen=True, slots=True)
class Preparer:
    """What preparing needs to know of this installation.

    zone: for dates without one; bases: own base URLs with a trailing slash: references that begin
    with one are local; identifier_keys: canonical identifier keys of a resource, for `ident`;
    link_rules: what a resource links, for `link`;
    effects: what else writes of some types do; posted: the posted search parameters;
    unite: when resources of a type are one thing.
    """

    tenant: int
    zone: tzinfo
    bases: tuple[str, ...] = ()
    identifier_keys: IdentifierKeys | None = None
    effects: Effects = field(default_factory=dict)
    posted: Posted | None = None
    link_rules: LinkRules | None = None
    unite: Unite | None = None
    _pieces: Pieces = field(init=False, compare=False, repr=False)
    writing: Writing = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        pieces = Pieces(self.tenant, self.zone, self.bases, self.identifier_keys)
        object.__setattr__(self, "_pieces", pieces)
        object.__setattr__(self, "writing", Writing(pieces))

    @property
    def generation(self) -> int:
        """The generation of posted search parameters that `entries` knows, or an older one."""
        return self.posted.generation if self.posted else 0

    def notice(self, db: Connection) -> None:
        """Learn which search parameters were posted since."""
        if self.posted is not None:
            self.posted.notice(db)

    def settle(self, db: Connection) -> None:
        """Learn which search parameters were posted by what was just committed."""
        if self.posted is not None:
            self.posted.settle(db)

    def prepare(self, changes: Sequence[Change]) -> list[Prepared]:
        """Return the changes ready for `commit`. Raises the first change's error that has one."""
        return [self._one(change) for change in changes]

    def _one(self, change: Change) -> Prepared:
        try:
            return self._prepared(change)
        except YilianError as exc:
            if change.entry is None:
                raise
            raise located(exc, change.entry) from exc

    def _prepared(self, change: Change) -> Prepared:
        if not definitions.is_resource_type(change.type):
            raise UnknownType("R4 has no such resource type")
        prepared = Prepared(
            method=change.method,
            type=change.type,
            id=change.id,
            criteria=None if change.criteria is None else normal(change.criteria),
            if_match=change.if_match,
            create_only=change.create_only,
            whole_meta=change.whole_meta,
            full_url=change.full_url,
            entry=change.entry,
        )
        if change.method is Method.DELETE:
            return prepared
        if change.body is None:
            raise Invalid("the resource is missing", code="required", at=change.type)
        resource, body = fhir_json.parse_compact(change.body)
        if resource.get("resourceType") != change.type:
            raise Invalid(f"the resource is not a {change.type}", at="resourceType", code="invalid")
        prepared.generation = self.generation  # before the entries: may be too old, never too new
        prepared.entries = self._checked(change.type, body, resource)
        prepared.body = body
        prepared.body_id = resource.get("id")
        prepared.front = fhir_json.front(body, resource)
        if change.method is Method.UPDATE and change.criteria is None:
            _require_same_id(change, prepared.body_id)
        if change.type in self.effects:
            self.effects[change.type].check(resource)
        if change.entry is not None:
            prepared.conditional = references.conditional(body)
        return prepared

    def stated(self, type_name: str, id_: str, written: Written) -> Prepared:
        """Return an update by what this hub has written itself (`writing`).

        Its dictionary rows are packed. Raises as `prepare` does.
        """
        body = written.body
        if type_name in self.effects:
            return self._prepared(Change(Method.UPDATE, type_name, id_, body))
        prepared = Prepared(Method.UPDATE, type_name, id_, None, (), False, False, None, None, body)
        prepared.body_id = id_
        prepared.generation = self.generation
        prepared.front = written.front
        found = self.writing.entries(written)
        if found is None:
            prepared.entries = self._checked(type_name, body, None)
            pack_words(prepared)
            return prepared
        prepared.entries, prepared.words = found
        rules = self.link_rules
        if rules is not None and rules.states(type_name, written.form.names):
            prepared.entries.links = self._links(type_name, fhir_json.load(body), rules)
        return prepared

    def _checked(self, type_name: str, body: bytes, resource: dict[str, Any] | None) -> Entries:
        """Return the index entries of a body. Raises Invalid when it is not valid R4.

        resource: the parsed body, if it is at hand.
        """
        entries = None
        if resource is None or is_id(resource.get("id", "absent")):
            entries = self._pieces.entries(type_name, body)
        linking = self.link_rules is not None and self.link_rules.states(type_name)
        if entries is not None and not linking:
            return entries
        if resource is None:
            resource = fhir_json.load(body)
        if entries is None:
            if not validate.check(resource, type_name):
                raise Invalid.of(validate.problems(resource, type_name))
            return self.entries(type_name, resource)
        if self.link_rules is not None:
            entries.links = self._links(type_name, resource, self.link_rules)
        return entries

    def _links(self, type_name: str, resource: dict[str, Any], rules: LinkRules) -> list[Link]:
        return links(type_name, resource, rules, zone=self.zone, bases=self.bases)

    def entries(
        self, type_name: str, resource: dict[str, Any], extract: Extractor | None = None
    ) -> Entries:
        """Return the index entries of a parsed resource; `extract`: of some parameters alone."""
        return entries_of(
            type_name,
            resource,
            tenant=self.tenant,
            zone=self.zone,
            bases=self.bases,
            identifier_keys=self.identifier_keys if extract is None else None,
            link_rules=self.link_rules if extract is None else None,
            extract=extract,
        )

    def relinked(self, type_name: str, body: bytes) -> list[Link] | None:
        """Return the links of a body whose references were rewritten; None when it has none."""
        if self.link_rules is None or not self.link_rules.states(type_name):
            return None
        return self._links(type_name, fhir_json.load(body), self.link_rules)


def _require_same_id(change: Change, body_id: str | None) -> None:
    if body_id is None:
        raise Invalid("an update needs the id in the body", at=f"{change.type}.id", code="required")
    if body_id != change.id:
        raise Invalid("the id in the body is not that of the address", at=f"{change.type}.id")


def located(error: YilianError, entry: int) -> YilianError:
    """Return `error` with its places named from the Bundle: Bundle.entry[n].resource..."""
    prefix = f"Bundle.entry[{entry}]"
    error.issues = [replace(issue, at=_below(prefix, issue)) for issue in error.issues]
    return error


def _below(prefix: str, issue: Issue) -> str:
    if not issue.at or issue.at.startswith("Bundle.entry"):
        return issue.at or prefix
    first, dot, rest = issue.at.partition(".")
    if first[:1].isupper():
        return f"{prefix}.resource{dot}{rest}"
    return f"{prefix}.{issue.at}"
