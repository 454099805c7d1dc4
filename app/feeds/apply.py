"""Brings what a message says together with what is stored, in the transaction it is given.

For each resource: find the one that is meant (its own id, the owner of its identifier, the
survivor of a merge), join the statement with what is known (`merge.py`), write what changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from app.errors import Conflict, Issue
from app.feeds.group import Group, may_be_owned, told_number
from app.feeds.merge import Json, Lifecycle, Said, Told, fresh, same, together
from app.feeds.statement import Statement, decode, replaced_by, with_id
from app.fhir.ids import Ids
from app.mapping.run import add_missing
from app.registry import unite
from app.store import owners
from app.store.prepare import Prepared, Preparer
from app.store.states import Target
from app.store.types import Change, Method

_MERGED = frozenset(("Device", "Patient"))  # types whose resources may be merged into others
_SHARED_NUMBER = Issue(
    "warning",
    "conflict",
    "a number of this device stands on a device that has other numbers: kept apart from it",
    "Device.identifier",
    "shared-device-number",
)

# Resources that say what was, not what is: a merge does not re-point them.
_HISTORICAL = frozenset(("AuditEvent", "Patient", "Person", "Provenance"))
_MOST_MERGES = 50  # of one chain
_REMEMBERED = 10_000  # mentions that add nothing to what is stored


@dataclass(frozen=True, slots=True)
class Stated:
    """What one message says: its statements, when, and what its event means.

    at: event time, microseconds since 1970. removed: elements it takes away, by resource type.
    """

    statements: Sequence[Statement]
    at: int
    lifecycle: Lifecycle
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a message did: the versions it wrote (Type/id/_history/n), and what was doubtful."""

    touched: tuple[str, ...]
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Applier:
    """Applies messages with one installation's settings."""

    preparer: Preparer
    repeated: Repeated = field(default_factory=lambda: Repeated(_REMEMBERED))

    def apply(self, group: Group, stated: Stated) -> Applied:
        """Write what a message says.

        Raises YilianError when it cannot be applied, PreconditionFailed when another writer
        (PostgreSQL has many) changed what it is about; the caller undoes what was written.
        """
        return _Work(group, self, stated).run()


class Repeated:
    """The mentions that added nothing when they were last seen: staff, wards, devices.

    They come with every message, and what they are about seldom changes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()

    def adds_nothing(self, type_name: str, known: Known, said: bytes) -> bool:
        """Say whether just this was said when the resource had just this version."""
        return self._known.get((type_name, known.id)) == (known.version_id, said)

    def note(self, type_name: str, known: Known, said: bytes) -> None:
        self._known[type_name, known.id] = known.version_id, said
        if len(self._known) > self._most:
            self._known.popitem(last=False)


_MERGED_INTO = unite.MERGED_INTO.encode()


class Known:
    """A stored resource; its body is read when somebody asks."""

    __slots__ = ("_body", "_raw", "id", "version_id")

    def __init__(self, id_: str, version_id: int, raw: bytes) -> None:
        self.id = id_
        self.version_id = version_id
        self._raw = raw
        self._body: Json | None = None

    @property
    def body(self) -> Json:
        if self._body is None:
            self._body = decode(self._raw)
        return self._body

    @property
    def replaced_by(self) -> str | None:
        """The id of the record that this one was merged into."""
        if b'"replaced-by"' in self._raw:
            return replaced_by(self.body)
        return unite.merged_into(self.body) if _MERGED_INTO in self._raw else None


@dataclass(slots=True)
class _Target:
    """A statement and the stored resource it is about.

    redirected: its own record was merged into this one. after: the resource from now on; None
    while it is just what was stated, or (repeated) what is known. told: None for mentions, which
    tell nothing.
    """

    said: Statement
    id: str
    known: Known | None = None
    redirected: bool = False
    repeated: bool = False
    after: Json | None = None
    told: Told | None = None

    @property
    def type(self) -> str:
        return self.said.type

    def body(self) -> Json:
        """Return the resource from now on, to be changed further."""
        if self.after is None:
            known = self.known if self.repeated else None
            self.after = dict(known.body) if known else decode(self.said.body)
        return self.after


class _Work:
    """One message on its way into the store."""

    def __init__(self, group: Group, applier: Applier, stated: Stated) -> None:
        self.group = group
        self.preparer = applier.preparer
        self.repeated = applier.repeated
        self.stated = stated
        self.new: dict[Target, Statement] = {}  # written as they were prepared
        self.targets: dict[Target, _Target] = {}  # the others, by type and computed id
        self.moved: dict[bytes, bytes] = {}  # references to other resources than computed
        self.repointed: dict[Target, bytes] = {}
        self.seen: dict[Target, str] = {}  # the versions that all this is decided on
        self.issues: list[Issue] = []

    def run(self) -> Applied:
        statements = self.stated.statements
        merges = any(one.replaced_by for one in statements)
        is_absent, owned = self.group.is_absent, self._owner
        usual: dict[str, bool] = {}  # types for which the event means nothing
        for said in statements:
            type_name = said.type
            at = type_name, said.id
            if type_name not in usual:
                usual[type_name] = not merges and self._is_usual(type_name)
            if (
                said.prepared is not None
                and usual[type_name]
                and is_absent(at)
                and at not in self.targets
                and not (may_be_owned(said) and owned(said))
            ):
                self.new[at] = said  # written as it was prepared, as most are
                continue
            self.new.pop(at, None)
            target = self.targets[at] = self._target(said)
            if target.id != said.id:
                self.moved[said.local] = f"{said.type}/{target.id}".encode()
        if self.moved:  # what is new may refer to them
            self._settle_all()
        merged = [one for one in self.targets.values() if one.said.replaced_by]
        for source in merged:
            self._check_merge(source)
        for target in self.targets.values():
            self._settle(target)
        for source in merged:
            self._merge(source)
        return Applied(self._write(), tuple(dict.fromkeys(self.issues)))

    # --- which resource is meant -----------------------------------------------------------------

    def _is_usual(self, type_name: str) -> bool:
        """Say whether the event means nothing for resources of a type."""
        return not self.stated.removed.get(type_name) and not self.stated.lifecycle.specials(
            type_name
        )

    def _settle_all(self) -> None:
        """Take nothing as it was prepared."""
        found = self.targets
        self.targets = {
            at: found.get(at) or _Target(said, said.id)
            for said in self.stated.statements
            for at in [(said.type, said.id)]
        }
        self.new.clear()

    def _target(self, said: Statement) -> _Target:
        known = self._stored(said.type, said.id)
        if known is None and may_be_owned(said):
            known = self._owner(said)
            return _Target(said, known.id if known else said.id, known)
        if known is not None and said.type in _MERGED and not said.replaced_by:
            survivor = self._survivor(said.type, known)
            if said.type == "Device" and self._is_another(said, survivor):
                return self._apart(said, survivor)
            return _Target(said, survivor.id, survivor, redirected=survivor is not known)
        return _Target(said, said.id, known)

    # --- devices: one thing with many numbers ----------------------------------------------------

    def _is_another(self, said: Statement, known: Known) -> bool:
        """Say whether a statement contradicts the device that its first number stands on."""
        if self.repeated.adds_nothing("Device", known, said.body):
            return False
        body = decode(said.body)
        return len(body.get("identifier") or ()) > 1 and unite.apart(body, known.body)

    def _apart(self, said: Statement, other: Known) -> _Target:
        """Return whom a statement is about that contradicts what has its number.

        A gateway's number is no number of the monitors behind it: these are known by their own.
        """
        self.issues.append(_SHARED_NUMBER)
        body = unite.without(decode(said.body), other.body)
        id_ = _derived(said.id, body)
        said = replace(said, key=None, id=id_, body=with_id(body, id_), prepared=None)
        known = self._stored("Device", id_) or self._owner(said)
        if known is not None:
            known = self._survivor("Device", known)
        return _Target(said, known.id if known else id_, known)

    def _owner(self, said: Statement) -> Known | None:
        """Return the resource that carries its identifier as its own, not as a merged record's.

        A device is known by any of its numbers: whoever names it next may use another of them.
        """
        found: list[Known] = []
        for system, value in (*((said.key,) if said.key else ()), *_other_numbers(said)):
            carriers = [Known(*one) for one in self.group.owners(said.type, system, value)]
            found = [one for one in carriers if _owns(one.body, system, value)]
            if found and said.type == "Device":
                found = self._agreeing(said, found)
            if found:
                break
        if len(found) > 1:
            text = f"several resources of type {said.type} own this identifier"
            raise Conflict(text, code="multiple-matches")
        if not found:
            return None
        self.seen.setdefault((said.type, found[0].id), str(found[0].version_id))
        return found[0]

    def _agreeing(self, said: Statement, found: list[Known]) -> list[Known]:
        """Return those devices that a statement does not contradict."""
        body = decode(said.body)
        agreeing = [one for one in found if not unite.apart(body, one.body)]
        if len(agreeing) < len(found):
            self.issues.append(_SHARED_NUMBER)
        return agreeing

    def _survivor(self, type_name: str, record: Known) -> Known:
        for _ in range(_MOST_MERGES):
            target = record.replaced_by
            further = self._stored(type_name, target) if target else None
            if further is None:
                return record
            record = further
        raise Conflict("the merges of this record have no end")

    def _stored(self, type_name: str, id_: str) -> Known | None:
        found = self.group.state(type_name, id_)
        if found is None:
            return None
        self.seen.setdefault((type_name, id_), str(found.vid))
        return Known(id_, found.vid, found.body)

    # --- what it says from now on ----------------------------------------------------------------

    def _settle(self, target: _Target) -> None:
        """Decide what the resource is from now on, and when its elements were told."""
        said, known = target.said, target.known
        raw = self._resolved(said.body)
        if said.mention and known is not None:
            self._fill(target, known, raw)
            return
        if raw is not said.body:
            target.after = decode(raw)
        if said.mention:
            return
        lifecycle, at = self.stated.lifecycle, self.stated.at
        removed = (
            frozenset() if said.replaced_by else self.stated.removed.get(said.type, frozenset())
        )
        if known is None:
            watched = removed or lifecycle.specials(said.type)
            if watched:
                stated = target.after or decode(said.body)
                target.told = fresh(Said(said.type, stated, at, removed), lifecycle)
            else:
                target.told = Told(at)
            return
        body = target.body()
        if target.redirected:
            body = _without_own_numbers(body, known.body)
        statement = Said(said.type, body, at, removed)
        told = self.group.told(said.type, target.id)
        target.after, target.told = together(known.body, told, statement, lifecycle)

    def _fill(self, target: _Target, known: Known, raw: bytes) -> None:
        """Fill gaps of what is known from a mention."""
        target.repeated = self.repeated.adds_nothing(target.type, known, raw)
        if target.repeated:
            return
        after = _filled(known.body, decode(raw))
        target.repeated = same(known.body, after)
        if target.repeated:
            self.repeated.note(target.type, known, raw)
        else:
            target.after = after

    def _resolved(self, raw: bytes) -> bytes:
        """Return a body with its references to what is really meant."""
        for old, new in self.moved.items():
            if old in raw:
                raw = raw.replace(b'"reference":"%b"' % old, b'"reference":"%b"' % new)
        return raw

    # --- merges of patients ----------------------------------------------------------------------

    def _check_merge(self, source: _Target) -> None:
        """Refuse a merge of a record with itself, in a circle, or into two survivors."""
        survivor = self._survivor_of(source)
        if source.id == survivor.id:
            text = "a record cannot be merged with itself or with one that was merged into it"
            raise Conflict(text, at="MRG-1", details="circular-merge")
        if source.known is None or source.known.replaced_by is None:
            return
        if self._survivor("Patient", source.known).id != survivor.id:
            raise Conflict(
                "the record was merged into another one before", at="MRG-1", details="merged-before"
            )

    def _survivor_of(self, source: _Target) -> _Target:
        survivor = self.targets.get(("Patient", source.said.replaced_by or ""))
        if survivor is None:
            raise Conflict("a merge names no survivor", at="PID", code="required")
        return survivor

    def _merge(self, source: _Target) -> None:
        """Give the survivor the numbers of the merged record, and what refers to that record."""
        survivor = self._survivor_of(source)
        body = survivor.body()
        numbers = body.get("identifier") or []
        have = {(one.get("system"), one.get("value")) for one in numbers}
        body["identifier"] = [
            *numbers,
            *(
                {**one, "use": "old"}
                for one in source.body().get("identifier") or ()
                if (one.get("system"), one.get("value")) not in have
            ),
        ]
        old, new = f"Patient/{source.id}".encode(), f"Patient/{survivor.id}".encode()
        tenant = self.preparer.tenant
        found = owners.referrers(self.group.db, tenant, "Patient", source.id, but=_HISTORICAL)
        for type_name, id_, raw in found:
            moved = raw.replace(b'"reference":"%b"' % old, b'"reference":"%b"' % new)
            self.repointed[type_name, id_] = moved
            self.seen.setdefault((type_name, id_), decode(raw)["meta"]["versionId"])

    # --- writing ---------------------------------------------------------------------------------

    def _write(self) -> tuple[str, ...]:
        targets = _one_a_resource(self.targets.values())
        now = told_number(Told(self.stated.at))
        new = [
            (one.prepared, None if one.mention else now)
            for one in self.new.values()
            if one.prepared is not None
        ]
        ready: list[Prepared] = []
        told: dict[Target, Told] = {}
        changes: dict[Target, bytes] = dict(self.repointed)
        for target in targets:
            said, known = target.said, target.known
            if target.after is None and (known is None or target.repeated):
                if known is None and said.prepared is not None:
                    ready.append(said.prepared)
                elif known is None:
                    changes[target.type, target.id] = said.body
            elif known is None or not same(known.body, target.body()):
                changes[target.type, target.id] = with_id(target.body(), target.id)
            if target.told is not None:
                told[target.type, target.id] = target.told
        ready += self.preparer.prepare(
            [
                Change(
                    Method.UPDATE, *at, raw, if_match=(self.seen[at],) if at in self.seen else ()
                )
                for at, raw in changes.items()
            ]
        )
        outcomes = self.group.write(new, ready, told)
        return tuple([f"{one.type}/{one.id}/_history/{one.version_id}" for one in outcomes])


def _one_a_resource(targets: Iterable[_Target]) -> list[_Target]:
    """Join targets that turned out to be one resource: later statements win, mentions fill."""
    out: dict[Target, _Target] = {}
    for target in targets:
        first = out.setdefault((target.type, target.id), target)
        if first is target:
            continue
        if target.said.mention:
            first.after = _filled(first.body(), target.body())
        else:
            first.after = _filled(target.body(), first.body())
            first.told = target.told
    return list(out.values())


def _filled(body: Json, more: Json) -> Json:
    filled = dict(body)
    add_missing(filled, {name: value for name, value in more.items() if name != "meta"})
    return filled


def _owns(resource: Json, system: str, value: str) -> bool:
    identifiers = resource.get("identifier") or ()
    if isinstance(identifiers, dict):
        identifiers = (identifiers,)
    return any(
        one.get("system") == system and one.get("value") == value and one.get("use") != "old"
        for one in identifiers
    )


def _other_numbers(said: Statement) -> Iterator[tuple[str, str]]:
    """Return the numbers of a device besides the one that it is called by here."""
    if said.type != "Device":
        return
    for one in decode(said.body).get("identifier") or ():
        number = (one.get("system"), one.get("value"))
        if all(number) and number != said.key:
            yield number


def _derived(id_: str, body: Json) -> str:
    """Return the id of a device that is told by its numbers from the one with an id."""
    numbers = sorted(key for keys in unite.numbers(body).values() for key in keys)
    return Ids(id_.encode()).id_of("Device", "\x1f".join(numbers))


def _without_own_numbers(body: Json, survivor: Json) -> Json:
    """Return a statement about a merged record without the numbers the survivor has kinds of."""
    systems = {one.get("system") for one in survivor.get("identifier") or ()}
    fresh_ones = [one for one in body.get("identifier") or () if one.get("system") not in systems]
    rest = {name: value for name, value in body.items() if name not in ("identifier", "active")}
    return {**rest, "identifier": fresh_ones} if fresh_ones else rest
