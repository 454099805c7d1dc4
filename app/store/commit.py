"""The write path: the only code that changes resources.

One change set is evaluated against the state under the write lock (conditions, versions,
references), then written as rows: body, history, search index, identifier keys, change log. All
of it or nothing. R4 http.html (create, update, delete, conditional variants), #trules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import orjson

from app.clock import Clock
from app.errors import Conflict, Invalid, NotFound, PreconditionFailed, YilianError
from app.fhir import definitions
from app.fhir import json as fhir_json
from app.store import unite
from app.store.batch import Batch, write
from app.store.bodies import finished
from app.store.creates import Creates, Numbered, type_number
from app.store.database import POSTGRESQL, SQLITE, Connection
from app.store.dictionary import Dictionary
from app.store.entries import Entries
from app.store.ids import new_id
from app.store.pks import Pks
from app.store.prepare import Prepared, Preparer, located
from app.store.rows import IndexRows, Rows
from app.store.states import (
    CREATED,
    DELETED,
    STUB,
    UPDATED,
    State,
    Target,
    digest,
    stub,
)
from app.store.types import Change, Method, Outcome, Result

_STATE = "SELECT pk,method,vid,lu,d,s,body,told FROM res WHERE tenant=? AND type=? AND id=?"
# Of many at once: type and id by type and id, each found by its own step in the index.
_STATES = {
    SQLITE: "SELECT r.type,r.id,r.pk,method,vid,lu,d,s,body,told FROM json_each(?) AS w"
    " CROSS JOIN res AS r ON r.tenant=? AND r.type=w.value AND r.id=w.key",
    POSTGRESQL: "SELECT w.type,w.id,r.* FROM unnest(?::int2[],?::text[]) AS w(type,id),"
    " LATERAL (SELECT pk,method,vid,lu,d,s,body,told FROM res"
    " WHERE tenant=? AND type=w.type AND id=w.id LIMIT 1) AS r",
}
_PK = "SELECT pk FROM res WHERE tenant=? AND type=? AND id=?"

# An update of a resource that is absent (`WritePath.is_absent`), by what no Bundle refers to, and
# `res.told` of it.
New = tuple[Prepared, int | None]

_creates = attrgetter("creates")
_NOT_TOLD: Mapping[Target, int] = {}


class Match(Protocol):
    """Find resources by search criteria under the write lock."""

    def __call__(self, db: Connection, type_name: str, criteria: str) -> Sequence[str]:
        """Return the ids of at most two matches."""
        ...


class Numbers(Protocol):
    """Gives fresh values of `res.pk`."""

    def next_pk(self) -> int: ...


@dataclass(slots=True)
class _Step:
    """One change with its target decided.

    result: set when nothing has to be written. fresh: the id is new, so there is no state.
    shared: another entry of the same set creates it. creates: there is no row of it, and nothing
    is asked of one.
    """

    change: Prepared
    id: str
    result: Result | None = None
    fresh: bool = False
    shared: bool = False
    state: State | None = None
    pk: int = 0
    creates: bool = False


class WritePath:
    """Evaluates change sets on one connection and collects their rows.

    Not thread-safe: one writer, one connection. The caller owns the transaction: it calls
    `evaluate` for each set, then `flush`, and tells `committed` or `rolled_back`.
    """

    def __init__(
        self,
        db: Connection,
        *,
        preparer: Preparer,
        clock: Clock,
        numbers: Numbers,
        match: Match,
        make_stubs: Callable[[Sequence[Target]], None] | None = None,
    ) -> None:
        self._db = db
        self._preparer = preparer
        self._tenant = preparer.tenant
        self._clock = clock
        self._numbers = numbers
        self._match = match
        self._make_stubs = make_stubs
        self._pks = Pks(self._pk, self._reserved, make_stubs)
        self._rows = IndexRows(self._tenant, self._pks)
        self._dictionary = Dictionary()
        self._locking = db.dialect == POSTGRESQL  # others write too
        self._batch = Batch()
        self._unwritten: set[Target] = set()  # have rows in the batch
        self._looked_up: dict[Target, State | None] = {}  # as they are, but for `_unwritten`
        # Whether a row is taken before it is filled: who only refers to it might make it else.
        self.reserving = False
        self._touched: set[int] = set()  # keys in `ix` that this transaction has changed
        self._creates = Creates(preparer, self._rows, self._dictionary, self._touched)
        self._uniting: set[int] = set()  # uniting keys in `ident` of resources in the batch
        self.digests: list[bytes] = []  # of the rows of the log that this transaction has written

    # --- the transaction around it ---------------------------------------------------------------

    def flush(self) -> None:
        """Write the collected rows. Raises Conflict when a row has changed meanwhile."""
        if not self._batch:
            return
        batch = self.take()
        if write(self._db, batch) != len(batch.changed):
            raise Conflict("the resource was changed by someone else at the same time")
        self.digests += [row[-1] for row in batch.log]

    @property
    def may_be_refused(self) -> bool:
        """Whether writing the collected rows may raise what their own set is to be told."""
        return bool(self._batch.effects)

    def take(self) -> Batch:
        """Return the collected rows, which are not written then."""
        batch, self._batch = self._batch, Batch()
        for target in self._unwritten:
            self._looked_up.pop(target, None)
        self._unwritten.clear()
        self._uniting.clear()
        return batch

    def committed(self) -> None:
        """Keep what was learned in the transaction that has just committed."""
        self._forget()
        self._pks.committed()
        self._dictionary.committed()

    def rolled_back(self) -> None:
        """Forget rows and numbers of a transaction that was undone."""
        self._batch = Batch()
        self._forget()
        self._pks.rolled_back()
        self._dictionary.rolled_back()

    def _forget(self) -> None:
        """Forget what holds inside one transaction only."""
        self._unwritten.clear()
        self._looked_up.clear()
        self._touched.clear()
        self._uniting.clear()
        self.digests.clear()

    def mark(self) -> tuple[list[int], int, int, int]:
        """Return what is collected and learned so far, for `back_to`."""
        return self._batch.marks(), self._pks.mark(), self._dictionary.mark(), len(self.digests)

    def back_to(self, mark: tuple[list[int], int, int, int]) -> None:
        """Drop the rows collected and what was learned since `mark`."""
        self._looked_up.clear()  # some of it may be undone
        self._batch.cut(mark[0])
        self._pks.back_to(mark[1])
        self._dictionary.back_to(mark[2])
        del self.digests[mark[3] :]

    # --- what is there before --------------------------------------------------------------------

    def look_up(self, targets: Iterable[Target]) -> None:
        """Read the states of many resources at once, for `state` and `evaluate`."""
        numbers: dict[str, int] = {}
        looked_up = self._looked_up
        for target in targets:
            type_name, id_ = target
            if target not in looked_up and id_ not in numbers:
                numbers[id_] = type_number(type_name)
                looked_up[target] = None
        if not numbers:
            return
        params: list[Any] = [orjson.dumps(numbers).decode()]
        if self._db.dialect == POSTGRESQL:
            params = [list(numbers.values()), list(numbers)]
        for number, id_, *row in self._db.all(_STATES[self._db.dialect], (*params, self._tenant)):
            self._looked_up[definitions.type_name(number), id_] = State(*row)

    def look_again(self) -> None:
        """Forget what was looked up: another process has changed some of it."""
        self._looked_up.clear()

    def state(self, type_name: str, id_: str) -> State | None:
        """Return the newest version of a resource, also one that this transaction has made."""
        target = type_name, id_
        if target in self._unwritten:
            self.flush()
        if target not in self._looked_up:
            row = self._db.one(_STATE, (self._tenant, type_number(type_name), id_))
            self._looked_up[target] = State(*row) if row else None
        return self._looked_up[target]

    def is_absent(self, target: Target) -> bool:
        """Say whether it was looked up and there is no row of it, nor will be one."""
        return self._looked_up.get(target, self) is None and target not in self._unwritten

    def has_touched(self, key: int) -> bool:
        """Say whether this transaction has changed rows of a key in `ix`."""
        return key in self._touched

    # --- one change set --------------------------------------------------------------------------

    def evaluate(
        self,
        changes: Sequence[Prepared],
        told: Mapping[Target, int] = _NOT_TOLD,
        new: Sequence[New] = (),
    ) -> list[Outcome]:
        """Decide a change set and collect its rows; return what each change does, those of `new`
        first.

        told: `res.told` of the resources a feed told of. new: further changes of the set of which
        nothing is left to decide. Raises the error of the first change that cannot be done,
        located in its Bundle; then no row of this set is kept.
        """
        if new and self.reserving:  # somebody else may make them
            told = {**told, **{(one.type, one.id or ""): at for one, at in new if at is not None}}
            changes, new = [*(one for one, _ in new), *changes], ()
        if self._has_to_see(changes):
            self.flush()
        mark = self.mark()
        rule = self._preparer.unite
        try:
            outcomes = self._evaluate(changes, told, new)
            if rule is not None and any(one.type == rule.type for one in outcomes):
                outcomes = self._unite(rule, outcomes)
            return outcomes
        except BaseException:
            self.back_to(mark)
            raise

    def _unite(self, rule: unite.Unite, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Merge into what was written what turns out to be the same thing (`unite.py`)."""
        written = {
            (one.type, one.id): unite.read(one.body)
            for one in outcomes
            if one.type == rule.type and one.result in (Result.CREATED, Result.UPDATED) and one.body
        }
        numbers = [n for one in written.values() for n in unite.numbers_of(rule, self._tenant, one)]
        if not numbers:
            return list(outcomes)
        unite.lock(self._db, numbers)
        if len(numbers) > len(set(numbers)) or not self._uniting.isdisjoint(numbers):
            self.flush()
        self._uniting.update(numbers)
        after: dict[Target, Outcome] = {}
        for target, resource in written.items():
            known = after.get(target)
            changes = self._merges(rule, unite.read(known.body or b"{}") if known else resource)
            if changes:
                ready = self._preparer.prepare(changes)  # before anything is written
                self.flush()
                after.update(((one.type, one.id), one) for one in self._evaluate(ready, _NOT_TOLD))
                self.flush()
        return [
            msgspec.structs.replace(after[target], result=one.result)
            if (target := (one.type, one.id)) in after
            else one
            for one in outcomes
        ]

    def _merges(self, rule: unite.Unite, written: dict[str, Any]) -> list[Change]:
        """Return the changes that unite a resource with those that carry one of its numbers."""
        db, tenant = self._db, self._tenant
        numbers = unite.numbers_of(rule, tenant, written)
        ids = unite.holders(db, tenant, rule.type, numbers, written["id"]) if numbers else []
        others = self._bodies(rule.type, ids)
        same = unite.same_thing(rule, written, others) if others else []
        if not same:
            return []
        self.flush()
        pks = [pk for each in same if (pk := self._pk((rule.type, each["id"]), False))]
        before = self._bodies(rule.type, unite.merged_here(db, pks))
        return unite.merges(rule, written, same, before)

    def _bodies(self, type_name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return resources that nobody else can change until we are done."""
        states = [self._locked((type_name, id_)) for id_ in ids]
        return [unite.read(state.body) for state in states if state is not None and state.exists]

    def _has_to_see(self, changes: Sequence[Prepared]) -> bool:
        """Say whether a set is about rows that were collected before it and are not written.

        Criteria may be about anything; of resources named by their ids we know.
        """
        if not self._batch:
            return False
        return any(
            change.criteria is not None
            or change.conditional
            or (change.id is not None and (change.type, change.id) in self._unwritten)
            for change in changes
        )

    def _evaluate(
        self, changes: Sequence[Prepared], told: Mapping[Target, int], new: Sequence[New] = ()
    ) -> list[Outcome]:
        steps: list[_Step] = []
        wished: dict[tuple[str, str], str] = {}  # conditional creates of this set: what they make
        for change in changes:
            if change.id and change.criteria is None and change.method is not Method.CREATE:
                steps.append(_Step(change, change.id))
                continue
            try:
                steps.append(self._decide(change, steps, wished))
            except YilianError as exc:
                _name_entry(exc, change)
                raise
        _refuse_doubles(steps)
        return self._applied(steps, self._rewriting(changes, steps), told, new)

    def _applied(
        self,
        steps: Sequence[_Step],
        targets: Mapping[str, str],
        told: Mapping[Target, int],
        new: Sequence[New] = (),
    ) -> list[Outcome]:
        # In one order for everybody, so that no two writers wait for each other; before any row
        # is made, so that references among the set find the pks.
        if self._locking:
            steps_in_order = sorted(steps, key=lambda step: (step.change.type, step.id))
        else:
            steps_in_order = list(steps)
        for step in steps_in_order:
            self._load(step)
        numbered = self._numbered(new) if new else ()
        now = self._clock.now_us() // 1000 * 1000  # as precise as meta.lastUpdated says it
        outcomes: list[Outcome] = []
        if numbered:
            self._creates.collect(self._batch, numbered, {}, now, outcomes)
        try:
            for creates, run in groupby(steps, _creates):
                if creates:
                    self._creates.collect(
                        self._batch,
                        [(s.change, s.id, s.pk, told.get((s.change.type, s.id))) for s in run],
                        targets,
                        now,
                        outcomes,
                    )
                else:
                    for step in run:
                        outcomes.append(self._apply(step, targets, now, told))
        except YilianError as exc:
            _name_entry(exc, steps[len(outcomes) - len(new)].change)
            raise
        return outcomes

    def _decide(
        self, change: Prepared, before: Sequence[_Step], wished: dict[tuple[str, str], str]
    ) -> _Step:
        """Return the step with its id, from the address, the criteria or a fresh one."""
        if change.criteria is not None:
            step = self._decide_conditional(change, before)
            if step.fresh:
                first = wished.setdefault((change.type, change.criteria), step.id)
                if first != step.id:  # an entry before has the same wish: both mean one resource
                    if change.method is Method.UPDATE:
                        raise _addressed_twice()
                    return _Step(change, first, Result.UNCHANGED, shared=True)
            return step
        if change.method is Method.CREATE:
            return self._fresh(change)
        if change.id is None:
            raise Invalid("the change names no id", code="required")
        return _Step(change, change.id)

    def _decide_conditional(self, change: Prepared, before: Sequence[_Step]) -> _Step:
        found = self._match(self._db, change.type, change.criteria or "")
        if found and change.method is Method.CREATE:  # a create comes after the deletes of its set
            found = [each for each in found if not _deletes(before, change.type, each)]
        if len(found) > 1:
            raise PreconditionFailed(
                "the criteria match several resources", code="multiple-matches"
            )
        if change.method is Method.CREATE:
            if found:
                return _Step(change, found[0], Result.UNCHANGED)
            return self._fresh(change)
        if change.method is Method.DELETE:
            return _Step(change, found[0]) if found else _Step(change, "", Result.ABSENT)
        if not found and change.body_id:
            state = self.state(change.type, change.body_id)
            if state is not None and state.exists:  # it does not meet the criteria
                raise Conflict("another resource has the id in the body", at=f"{change.type}.id")
            return _Step(change, change.body_id)
        if not found:
            return self._fresh(change)
        if change.body_id not in (None, found[0]):
            raise Invalid("the id in the body is not that of the match", at=f"{change.type}.id")
        return _Step(change, found[0])

    def _fresh(self, change: Prepared) -> _Step:
        return _Step(change, new_id(self._clock.now_us()), fresh=True)

    def _load(self, step: _Step) -> None:
        """Read the state of the target under a lock and settle its pk."""
        if step.result is Result.ABSENT:
            return
        target = step.change.type, step.id
        writes = step.change.method is not Method.DELETE and step.result is None
        if not step.fresh:
            if not self._locking and target in self._looked_up and target not in self._unwritten:
                step.state = self._looked_up[target]  # the usual case of a feed
            else:
                step.state = self._locked(target)
            if step.state is None and writes and self.reserving and self._make_stubs is not None:
                self._make_stubs([target])
                self._looked_up.pop(target, None)
                step.state = self._locked(target)
        if writes:
            step.pk = step.state.pk if step.state else self._numbers.next_pk()
            step.creates = step.state is None and not step.change.if_match
            self._pks.add(target, step.pk)
            self._unwritten.add(target)

    def _numbered(self, new: Sequence[New]) -> list[Numbered]:
        """Give numbers to resources that are absent."""
        next_pk = self._numbers.next_pk
        numbered = [(change, change.id or "", next_pk(), told) for change, told in new]
        pks = {(change.type, id_): pk for change, id_, pk, _ in numbered}
        self._pks.add_all(pks)
        self._unwritten.update(pks)
        return numbered

    def _rewriting(self, changes: Sequence[Prepared], steps: Sequence[_Step]) -> dict[str, str]:
        """Return what references of this set are replaced by: fullUrl or criteria -> Type/id."""
        targets: dict[str, str] = {}
        for step in steps:
            url = step.change.full_url
            if not url or not step.id:
                continue
            local = f"{step.change.type}/{step.id}"
            targets[url] = local
            tail = "/".join(url.rsplit("/", 2)[-2:])
            if "://" in url and tail != local and tail.startswith(step.change.type + "/"):
                targets[tail] = local  # a relative reference resolves against the fullUrl's base
        if any(change.conditional for change in changes):
            targets.update(self._conditional_targets(changes, steps, targets))
        return targets

    def _conditional_targets(
        self, changes: Sequence[Prepared], steps: Sequence[_Step], targets: Mapping[str, str]
    ) -> dict[str, str]:
        """Return what conditional references stand for: criteria -> Type/id.

        What the set itself writes counts too. So it is written on trial where it has resources of
        a type that is asked for.
        """
        written = {step.change.type for step in steps if step.result is None}
        asked = {reference.partition("?")[0] for c in changes for reference in c.conditional}
        if asked.isdisjoint(written):
            return self._found_conditional(changes)
        mark = self.mark()
        self._db.run("SAVEPOINT trial")
        try:
            self._applied(steps, targets, _NOT_TOLD)
            self.flush()
            return self._found_conditional(changes)
        finally:
            self._db.run("ROLLBACK TO SAVEPOINT trial")
            self._db.run("RELEASE SAVEPOINT trial")
            self.back_to(mark)

    def _found_conditional(self, changes: Sequence[Prepared]) -> dict[str, str]:
        found: dict[str, str] = {}
        for change in changes:
            for reference in change.conditional:
                if reference not in found:
                    try:
                        found[reference] = self._conditional_target(reference)
                    except YilianError as exc:
                        _name_entry(exc, change)
                        raise
        return found

    def _conditional_target(self, reference: str) -> str:
        type_name, _, criteria = reference.partition("?")
        found = self._match(self._db, type_name, criteria)
        if len(found) != 1:
            raise PreconditionFailed(
                "a conditional reference needs exactly one match",
                code="multiple-matches" if found else "not-found",
            )
        return f"{type_name}/{found[0]}"

    # --- one change ------------------------------------------------------------------------------

    def _apply(
        self, step: _Step, targets: Mapping[str, str], now: int, told: Mapping[Target, int]
    ) -> Outcome:
        change, state = step.change, step.state
        if step.result is Result.ABSENT:
            return Outcome(Result.ABSENT, change.type, step.id, 0, now)
        if step.shared:
            return Outcome(Result.UNCHANGED, change.type, step.id, 1, now)
        if step.result is Result.UNCHANGED:
            if state is None:
                raise Conflict("the resource was deleted at the same time")
            return Outcome(Result.UNCHANGED, change.type, step.id, state.vid, state.lu, state.body)
        _check_versions(change, state)
        if change.method is Method.DELETE:
            return self._delete(change.type, step.id, state, now)
        assert state is not None  # else it is created
        return self._update(step, state, targets, now, told.get((change.type, step.id)))

    def _delete(self, type_name: str, id_: str, state: State | None, now: int) -> Outcome:
        if state is None or not state.exists:
            vid = state.vid if state else 0
            return Outcome(Result.ABSENT, type_name, id_, vid, now)
        batch = self._batch
        number = type_number(type_name)
        vid, lu = state.vid + 1, max(now, state.lu)
        self._unwritten.add((type_name, id_))
        self._keep_history(state)
        self._unindex(type_name, state, None)
        batch.changed.append(
            (state.s, DELETED, vid, lu, state.d, 0, b"", None, state.pk, state.vid)
        )
        self._log(type_name, number, id_, state.pk, state.s, vid, DELETED, lu, b"")
        self._follow(type_name, id_, None)
        return Outcome(Result.DELETED, type_name, id_, vid, lu, b"")

    def _update(
        self, step: _Step, state: State, targets: Mapping[str, str], now: int, told: int | None
    ) -> Outcome:
        """Collect the rows of a resource that has some, be it as a mere target of references."""
        change, pk, batch = step.change, step.pk, self._batch
        vid, lu = state.vid + 1, max(now, state.lu)
        inherited: Mapping[str, bytes] = {}
        if state.exists and not change.whole_meta:
            inherited = fhir_json.inheritable(state.body)
        body, entries, words = finished(
            self._preparer, change, step.id, targets, vid, lu, inherited
        )
        method = UPDATED if state.exists else CREATED
        rows = self._rows.of(change.type, pk, entries, targets)
        batch.changed.append(
            (rows.s, method, vid, lu, entries.d, entries.have, body, told, pk, state.vid)
        )
        if state.method != STUB:
            self._keep_history(state)
        self._touched.update(entries.keys)
        self._index(change.type, state, rows)
        if words:
            self._dictionary.learn_words(batch, words)
        else:
            self._dictionary.learn(batch, entries)
        number = type_number(change.type)
        self._log(change.type, number, step.id, pk, rows.s, vid, method, lu, body)
        self._follow(change.type, step.id, body)
        result = Result.UPDATED if state.exists else Result.CREATED
        return Outcome(result, change.type, step.id, vid, lu, body)

    def tell(self, target: Target, told: int) -> None:
        """Collect that a feed told of a resource, which stays as it is."""
        state = self.state(*target)
        if state is not None and state.told != told:
            state.told = told
            self._batch.told.append((told, state.pk))

    def _follow(self, type_name: str, id_: str, body: bytes | None) -> None:
        """Collect what else a write of this type does."""
        effect = self._preparer.effects.get(type_name)
        if effect is not None:
            self._batch.effects.append((effect, id_, body))

    def _locked(self, target: Target) -> State | None:
        """Return the state of a target that no other writer can change until we are done."""
        if not self._locking or self._looked_up.get(target, self) is None:
            return self.state(*target)
        number = type_number(target[0])
        row = self._db.one(_STATE + " FOR UPDATE", (self._tenant, number, target[1]))
        return State(*row) if row else None

    def _keep_history(self, state: State) -> None:
        self._batch.hist.append((state.pk, state.vid, state.s, state.method, state.lu, state.body))

    def _log(
        self,
        type_name: str,
        number: int,
        id_: str,
        pk: int,
        s: int,
        vid: int,
        method: int,
        lu: int,
        body: bytes,
    ) -> None:
        sealed = digest(self._tenant, type_name, id_, vid, method, lu, body)
        self._batch.log.append((self._tenant, s, number, pk, vid, method, lu, sealed))

    # --- index rows ------------------------------------------------------------------------------

    def _index(self, type_name: str, state: State | None, rows: Rows) -> None:
        if state is not None and state.exists:
            rows = self._unindex(type_name, state, rows)
        rows.add_to(self._batch)

    def index_also(self, type_name: str, pk: int, s: int, entries: Entries) -> None:
        """Collect rows of a resource as it is stored, beside those it has."""
        self._rows.of(type_name, pk, entries, {}, s).add_to(self._batch)
        self._dictionary.learn(self._batch, entries)

    def rows_of(self, type_name: str, pk: int, entries: Entries) -> Rows:
        """Return the index rows that a resource has to have (`verify.py`)."""
        return self._rows.of(type_name, pk, entries, {})

    def _unindex(self, type_name: str, state: State, new: Rows | None) -> Rows:
        """Collect the deletion of the old version's rows; return the rows that are really new.

        The old rows are worked out from the old body: no table says which rows a resource has.
        """
        entries = self._preparer.entries(type_name, fhir_json.load(state.body))
        self._touched.update(entries.keys)
        old = self._rows.of(type_name, state.pk, entries, {})
        return (new or Rows(old.s)).replacing(old, self._batch)

    def _pk(self, target: Target, fresh: bool) -> int | None:
        """Return the pk of a resource that is not among those in mind; fresh: look for sure."""
        if not fresh and target in self._looked_up:
            known = self._looked_up[target]
            return known.pk if known else None
        row = self._db.one(_PK, (self._tenant, type_number(target[0]), target[1]))
        if fresh:
            self._looked_up.pop(target, None)
        return row[0] if row else None

    def _reserved(self, target: Target) -> int:
        """Collect a row that only gives a resource its pk: it is referred to, and not there yet."""
        pk = self._numbers.next_pk()
        self._unwritten.add(target)
        self._batch.res.append(stub(self._tenant, pk, type_number(target[0]), target[1]))
        return pk


def _name_entry(error: YilianError, change: Prepared) -> None:
    """Say in an error of a change which Bundle entry it is about."""
    if change.entry is not None:
        located(error, change.entry)


def _refuse_doubles(steps: Sequence[_Step]) -> None:
    seen: set[Target] = set()
    for step in steps:
        target = (step.change.type, step.id)
        if not step.id or step.result is Result.UNCHANGED:
            continue
        if target in seen:
            error = _addressed_twice()
            _name_entry(error, step.change)
            raise error
        seen.add(target)


def _deletes(steps: Sequence[_Step], type_name: str, id_: str) -> bool:
    return any(
        step.id == id_ and step.change.type == type_name and step.change.method is Method.DELETE
        for step in steps
    )


def _addressed_twice() -> Invalid:
    return Invalid("the same resource is addressed twice in one transaction", code="invariant")


def _check_versions(change: Prepared, state: State | None) -> None:
    current = state.vid if state is not None and state.exists else None
    if change.create_only and current is not None:
        raise PreconditionFailed("the resource exists already", code="conflict")
    if not change.if_match:
        return
    if current is None and change.method is Method.DELETE and state is None:
        raise NotFound("there is no such resource")
    if current is None or ("*" not in change.if_match and str(current) not in change.if_match):
        raise PreconditionFailed("If-Match does not name the current version", code="conflict")
