"""One message through a compiled mapping: first what it is about, then what it says.

Identities come first: every rule that applies gives its entries (type, id, request), so that a
reference resolves in whatever order the rules stand. Then the bodies are filled. Request forms and
ids: architecture, "Printed Bundle" and "Record key and id".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import msgspec

from app.errors import Issue
from app.fhir.ids import RECORD, Ids, criteria, encode_part, record_key
from app.mapping.memory import Known, Memory
from app.mapping.source import Document, Getter, Scope
from app.mapping.specialise import Facts
from app.mapping.writer import MakeOver, Program

# R4 types without an `identifier` element that mappings make: addressed by id.
NAMELESS = frozenset(
    ("AuditEvent", "Binary", "Linkage", "MessageHeader", "OperationOutcome", "Provenance")
)

_RECORD_QUERY = criteria(RECORD, "")


class Entry(msgspec.Struct, eq=False):
    """One resource of the Bundle in the making.

    key: (system, value) of the identifier that names it.
    """

    type: str
    key: tuple[str, str] | None
    id: str
    mention: bool
    reference: dict[str, str]
    rule: Rule | None = None
    node: Any = None
    body: dict[str, Any] | None = None
    printed_request: dict[str, Any] | None = None

    @staticmethod
    def of(type_: str, key: tuple[str, str] | None, id_: str, mention: bool) -> Entry:
        """Return an entry that no rule has made yet."""
        return Entry(type_, key, id_, mention, {"reference": f"urn:uuid:{id_}"})

    @property
    def full_url(self) -> str:
        return self.reference["reference"]

    def printed(self) -> dict[str, Any]:
        """Return the Bundle entry."""
        type_, key, body, request = self.type, self.key, self.body, self.printed_request
        if key is None or type_ in NAMELESS:
            if body is not None:  # R4 http.html#update asks for the id
                body = {"resourceType": type_, "id": self.id, **body}
            request = {"method": "PUT", "url": f"{type_}/{self.id}"}
        elif request is None:
            system, value = key
            if system is RECORD:  # made here, of parts that are encoded
                start, value = _RECORD_QUERY, value.replace("%", "%25")
            else:
                start, value = "", criteria(system, value)
            if self.mention:
                request = {"method": "POST", "url": type_, "ifNoneExist": f"{start}{value}"}
            else:
                request = {"method": "PUT", "url": f"{type_}?{start}{value}"}
            self.printed_request = request
        return {"fullUrl": self.reference["reference"], "resource": body, "request": request}


@dataclass(slots=True)
class Rule:
    """One compiled rule: for each node of an anchor, one resource."""

    name: str
    type: str
    anchor: Callable[[Any], Iterable[Any]]
    same: str  # merge | number: what a key that comes again means
    mention: bool
    late: bool  # filled after all others (it speaks about them)
    at: str  # file:line
    every: bool = True  # takes the elements of the `every` block
    referred: bool = True  # others refer to what it makes around them
    bits: int = 0  # of the segments it is about, in Run.present; 0: not known
    given: Getter | None = None  # what must hold of the message as a whole, asked once
    when: Getter | None = None
    key: Getter | None = None  # -> (system, value) | None
    fill: Getter = field(default=lambda node, run: None)  # -> the body
    functions: dict[str, str] = field(default_factory=dict)  # names of these four, as generated


# A rule, and the nodes it is about with the entries of these.
_Planned = tuple[Rule, list[tuple[Any, Entry]]]


@dataclass(slots=True)
class Context:
    """What a conversion is told from outside; the same for many messages.

    values: settings that formulas may name (zone, facility, hub version ...); feeds define them.
    """

    ids: Ids
    values: Mapping[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def _sender_key(*parts: str) -> str:
    """Return the beginning of record keys that are made of a message's own name."""
    return record_key(parts)


class Run:
    """The state of one message on its way."""

    __slots__ = (
        "context",
        "doc",
        "entries",
        "facility",
        "here",
        "issues",
        "known",
        "made",
        "memo",
        "memory",
        "ordinals",
        "own_key",
        "present",
        "trace",
        "zone",
    )

    def __init__(
        self, doc: Any, context: Context, trace: Any = None, memory: Memory | None = None
    ) -> None:
        self.doc = doc
        self.context = context
        self.zone = context.values.get("zone")
        self.facility: str | None = context.values.get("facility")
        self.entries: dict[str, Entry] = {}
        self.made: dict[str, list[Entry]] = {}
        self.ordinals: dict[object, int] = {}
        self.issues: list[Issue] = []
        self.memo: dict[Any, Any] = {}
        self.here: Entry | None = None
        self.own_key: str | None = None
        self.present = -1
        self.memory = memory or Memory()
        self.known: Known = self.memory.of((doc.memo_scope, context.ids) if memory else None)
        self.trace = trace

    def fork(self) -> Run:
        """Return a run over the same message that has made nothing yet."""
        other = Run(self.doc, self.context, memory=self.memory)
        other.present = self.present
        other.zone = self.zone
        return other

    def admit(self, entry: Entry) -> None:
        """Take an entry that another run made of the same text; it is shared, so never changed."""
        found = self.entries.get(entry.id)
        if found is None:
            self.entries[entry.id] = entry
        elif found.rule is None and found is not entry and entry.body is not None:
            merged = Entry.of(entry.type, entry.key, entry.id, True)
            merged.body = dict(found.body or ())
            add_missing(merged.body, entry.body)
            self.entries[entry.id] = merged

    def own(self, entry: Entry) -> Entry:
        """Return an entry that was only mentioned so far as one that this run may change."""
        mine = self.entries[entry.id] = Entry.of(entry.type, entry.key, entry.id, entry.mention)
        mine.body = None if entry.body is None else dict(entry.body)
        return mine

    def warn(self, text: str, at: str | None, details: str, code: str = "value") -> None:
        """Report something that was dropped or guessed."""
        self.issues.append(Issue("warning", code, text, at, details))

    def entry(self, type_: str, key: tuple[str, str], mention: bool) -> Entry:
        """Return the entry of that key, a new one if the message did not name it before."""
        id_ = self.context.ids.id_of(type_, f"{key[0]}|{key[1]}")
        found = self.entries.get(id_)
        if found is None:
            found = self.entries[id_] = Entry.of(type_, key, id_, mention)
        elif not mention and found.mention:
            found.mention = False
        return found

    def own_record(self, rule: str) -> tuple[str, str]:
        """Return the key of what a rule makes of the message and has no key of its own for."""
        number = self.ordinals[rule] = self.ordinals.get(rule, 0) + 1
        if self.own_key is None:
            *sender, message = self.doc.key_parts
            self.own_key = f"{_sender_key(*sender)}:{encode_part(message)}"
        return RECORD, f"{self.own_key}:{encode_part(rule)}:{number}"


class Made(msgspec.Struct, frozen=True):
    """What one message gave: entries in the order of their rules, and what was noticed."""

    entries: list[Entry]
    issues: list[Issue]

    def bundle(self, kind: str = "transaction") -> dict[str, Any]:
        """Return the Bundle as a dict; numbers that carry precision are Decimals."""
        return {
            "resourceType": "Bundle",
            "type": kind,
            "entry": [entry.printed() for entry in self.entries],
        }


_MOST_PLANS = 1024  # patterns of filled fields
_OFTEN = 50  # messages of one pattern, after which its functions are made over
_MOST_MADE_OVER = 64  # patterns: some 0.3 MB each


class _Plan:
    """The rules that may have something to be about in messages of one pattern."""

    __slots__ = ("rules", "uses")

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.uses = 0


class Mapping_:
    """A compiled mapping: immutable, shared by all messages."""

    __slots__ = (
        "_made_over", "_plans", "_program", "bits", "digest", "every", "files", "memory", "names",
        "paths", "rules",
    )  # fmt: skip

    def __init__(
        self,
        rules: list[Rule],
        every: Getter | None,
        files: tuple[str, ...],
        digest: str,
        bits: Mapping[str, int],
        paths: frozenset[str],
        program: Program,
    ) -> None:
        self.paths = paths  # all that formulas and anchors name
        self.rules = rules
        self.bits = bits  # field -> its bit in Run.present
        self.every = every
        self.files = files
        self.names = " ".join(files)
        self.digest = digest
        self.memory = Memory()
        self._program = program
        self._plans: dict[tuple[int, object], _Plan] = {}
        self._made_over = 0

    def run(self, doc: Document, context: Context, trace: Any = None) -> Made:
        """Return what the message says as entries."""
        run = Run(doc, context, trace, self.memory)
        if trace is None:
            run.present = doc.present(self.bits)
        planned: list[_Planned] = []
        late: list[_Planned] = []
        for rule in self._plan(run.present, doc.memo_scope):
            nodes = rule.anchor(doc)
            if nodes and (rule.given is None or rule.given(doc.root, run)):
                found = _identified(rule, nodes, run)
                if found:
                    (late if rule.late else planned).append((rule, found))
        every = self.every(doc.root, run) if self.every else None
        shared = list(every.items()) if every else []
        for rule, found in planned:
            _fill(rule, found, run, shared)
        for rule, found in late:
            _fill(rule, found, run, shared)
        entries = [entry for entry in run.entries.values() if entry.body]
        return Made(entries, _once(run.issues))

    def _plan(self, present: int, scope: object) -> list[Rule]:
        """Return the rules that may have something to be about in such a message."""
        plan = self._plans.get((present, scope))
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            rules = [rule for rule in self.rules if not rule.bits or rule.bits & present]
            plan = self._plans[present, scope] = _Plan(rules)
        plan.uses += 1
        often = plan.uses == _OFTEN and self._made_over < _MOST_MADE_OVER
        if often and isinstance(scope, Scope) and present >= 0:
            self._made_over += 1
            plan.rules = self._for_pattern(plan.rules, present, scope)
        return plan.rules

    def _for_pattern(self, rules: list[Rule], present: int, scope: Scope) -> list[Rule]:
        """Return the rules with functions that take for granted what such messages have."""
        absent = frozenset(name for name, bit in self.bits.items() if not bit & present)
        facts = Facts(present, absent, scope.names, frozenset(rule.name for rule in rules))
        kept = []
        for rule in rules:
            tests = {
                name: self._program.decided(rule.functions[name], facts)
                for name in ("given", "when")
                if getattr(rule, name) is not None
            }
            if False in tests.values():
                continue
            rule = replace(rule)
            for name, holds in tests.items():
                if holds is True:
                    setattr(rule, name, None)
            kept.append(rule)
        facts = replace(facts, made=frozenset(rule.name for rule in kept))
        made_over = self._program.made_over(facts)
        return [_installed(rule, made_over) for rule in kept]


def _once(issues: list[Issue]) -> list[Issue]:
    """Return the issues without those that were noticed before."""
    if len(set(map(id, issues))) < 2:  # one object stands for what is noticed often
        return issues[:1]
    seen = {id(issue): issue for issue in issues}
    return list(dict.fromkeys(seen.values()))


def _installed(rule: Rule, made_over: MakeOver) -> Rule:
    for name, function in rule.functions.items():
        if getattr(rule, name) is not None:
            setattr(rule, name, made_over(function, partial(setattr, rule, name)))
    return rule


def _identified(rule: Rule, nodes: Iterable[Any], run: Run) -> list[tuple[Any, Entry]]:
    """Return an entry for every node that the rule is about."""
    name, type_, when, key_of, mention = rule.name, rule.type, rule.when, rule.key, rule.mention
    entries, id_of, referred = run.entries, run.context.ids.id_of, rule.referred
    out = []
    for node in nodes:
        if when is not None and not when(node, run):
            continue
        key = None if key_of is None else key_of(node, run)
        if key is None:
            key = run.own_record(name)
        id_ = id_of(type_, f"{key[0]}|{key[1]}")
        if id_ in entries:
            entry = _again(rule, key, entries[id_], node, run)
        else:
            reference = {"reference": f"urn:uuid:{id_}"}
            entry = entries[id_] = Entry(type_, key, id_, mention, reference, rule, node)
        if referred:
            _noted(entry, name, node)
        out.append((node, entry))
    if out:
        run.made[name] = [entry for _, entry in out]
    return out


def _again(rule: Rule, key: tuple[str, str], known: Entry, node: Any, run: Run) -> Entry:
    """Return the entry for a key that the message has named before."""
    if rule.same == "number":
        ordinals = run.ordinals
        counted = known.rule is not None and known.rule.same == "number"
        number = ordinals[known.id] = ordinals.get(known.id, int(counted)) + 1
        if number > 1:
            return _numbered(rule, (key[0], f"{key[1]}:{number}"), node, run)
    return _taken(rule, known, node, run)


def _numbered(rule: Rule, key: tuple[str, str], node: Any, run: Run) -> Entry:
    """Return the entry for a key that came before and got a number therefore."""
    id_ = run.context.ids.id_of(rule.type, f"{key[0]}|{key[1]}")
    known = run.entries.get(id_)
    if known is not None:
        return _taken(rule, known, node, run)
    run.ordinals.setdefault(id_, 0)  # nobody has had this key itself yet
    entry = run.entries[id_] = Entry.of(rule.type, key, id_, rule.mention)
    entry.rule, entry.node = rule, node
    return entry


def _taken(rule: Rule, known: Entry, node: Any, run: Run) -> Entry:
    """Return an entry that is there as one that the rule speaks of, too."""
    if known.rule is None:
        known = run.own(known)
        known.rule, known.node = rule, node
    if not rule.mention:
        known.mention = False
    return known


def _noted(entry: Entry, name: str, node: Any) -> None:
    """See to it that references find the entry: from its node, and from beside it."""
    group = node.group
    for place in (node,) if group is node else (node, group):
        if place.made is None:
            place.made = {name: entry}
        elif name not in place.made:
            place.made[name] = entry


def _fill(
    rule: Rule, found: list[tuple[Any, Entry]], run: Run, shared: list[tuple[str, Any]]
) -> None:
    """Give the entries of a rule what it says, and what is `shared` by all resources."""
    fill, trace, type_ = rule.fill, run.trace, rule.type
    more = shared if rule.every else ()
    named = type_ not in NAMELESS
    for node, entry in found:
        run.here = entry
        if trace is not None:
            trace.begin(entry)
        said = fill(node, run)
        if said is None or "resourceType" not in said:
            said = {"resourceType": type_, **(said or {})}
        body = entry.body
        if body is not None:
            add_missing(body, said)
        else:
            body = entry.body = said
            for name, value in more:
                if name not in body:
                    body[name] = value
                elif body[name] != value:
                    add_missing(body, {name: value})
        if named:
            if "identifier" in body:
                name_it(entry)
            elif (key := entry.key) is not None:
                body["identifier"] = [{"system": key[0], "value": key[1]}]


def name_it(entry: Entry) -> None:
    """See to it that the body carries the identifier that the request looks for."""
    body = entry.body
    if body is None or entry.key is None or entry.type in NAMELESS:
        return
    system, value = entry.key
    if "identifier" not in body:
        body["identifier"] = [{"system": system, "value": value}]
        return
    found = body["identifier"]
    if not isinstance(found, list):
        return
    for identifier in found:
        if identifier.get("value") == value and identifier.get("system") == system:
            return
    body["identifier"] = [*found, {"system": system, "value": value}]


def add_missing(body: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Fill gaps of `body` from `more`: objects inward, arrays by items that are not there yet."""
    for name, value in more.items():
        have = body.get(name)
        if have is None:
            if not _other_choice(body, name):
                body[name] = value
        elif isinstance(have, dict) and isinstance(value, dict):
            body[name] = joined = dict(have)
            add_missing(joined, value)
        elif isinstance(have, list) and isinstance(value, list):
            fresh = [item for item in value if item not in have]
            if fresh:
                body[name] = have + fresh


_CHOICES = (
    "value",
    "effective",
    "onset",
    "deceased",
    "multipleBirth",
    "occurrence",
    "performed",
    "medication",
)


def _other_choice(body: Mapping[str, Any], name: str) -> bool:
    """Return whether `name` is a choice element of which the body has another type."""
    for base in _CHOICES:
        if name.startswith(base) and name[len(base) :][:1].isupper():
            return any(k.startswith(base) and k[len(base) :][:1].isupper() for k in body)
    return False
