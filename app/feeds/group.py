"""Messages that share a transaction: what they look up is read for all of them at once, what they
write is written once.

Each is decided as if those before it were written already: what waits to be written is written
first when a later message asks for it. Several messages that fail nowhere need no savepoints; when
the database refuses something of a group, each is done again alone (`dispatch.py`), and then what
one message did can be undone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.errors import PreconditionFailed
from app.feeds import inbox
from app.feeds.inbox import Entry
from app.feeds.merge import Told
from app.feeds.statement import Statement
from app.fhir import definitions
from app.fhir.ids import RECORD
from app.mapping.run import NAMELESS
from app.store import owners
from app.store.database import POSTGRESQL, Connection
from app.store.owners import Key, Owner
from app.store.prepare import Prepared
from app.store.states import State, Target
from app.store.types import Outcome
from app.store.writer import Session

# Rows are read where `res.told` is odd or, of what was told before it came, empty.
_READ_TOLD = "SELECT id, at, elements FROM told WHERE tenant=? AND type=?"
_WRITE_TOLD = (
    "INSERT INTO told (tenant,type,id,at,elements) {}"
    " ON CONFLICT (tenant,type,id) DO UPDATE SET at=excluded.at, elements=excluded.elements"
)
_WRITE_ONE = _WRITE_TOLD.format("VALUES (?,?,?,?,?)")
_WRITE_MANY = _WRITE_TOLD.format(  # PostgreSQL: one round trip
    "SELECT * FROM unnest(?::int2[],?::int2[],?::text[],?::int8[],?::text[])"
)


class Group:
    """One transaction and the messages in it. Call `flush` at its end."""

    def __init__(self, session: Session, tenant: int, *, alone: bool) -> None:
        """alone: there is one message, and what it did is undone when it fails."""
        self.alone = alone
        self._session = session
        self._path = session.path
        self.is_absent = session.path.is_absent  # asked of every statement: without a call more
        self._db = session.db
        self._tenant = tenant
        self._owner_keys: dict[Key, int | None] = {}  # of identifiers that were looked up
        self._owners: dict[Key, Sequence[Owner]] = {}
        self._told: dict[Target, Told | None] = {}
        self._told_now: dict[Target, Told] = {}  # with elements of their own times
        self._entries: dict[int, Entry] = {}  # new ones, not written yet
        self._keys: set[bytes] = set()  # of new entries, and of those that are there already
        self._keys_known: frozenset[bytes] = frozenset()  # looked up
        self._ids: Iterator[int] = iter(())

    @property
    def db(self) -> Connection:
        """The connection, to ask for anything: all that the messages before did is written."""
        self.flush()
        return self._db

    def look_up(self, statements: Sequence[Statement], keys: Sequence[bytes]) -> None:
        """Read what the statements are about, and which entries have one of these keys."""
        targets = [(one.type, one.id) for one in statements]
        self._path.look_up(targets)
        unknown: set[Key] = set()
        stored: dict[str, list[str]] = {}
        for one, target in zip(statements, targets, strict=True):
            state = None if self.is_absent(target) else self.state(*target)
            if state is None:
                if one.key and may_be_owned(one):
                    unknown.add((one.type, *one.key))
            elif not one.mention and _told_in_parts(state):
                stored.setdefault(one.type, []).append(one.id)
        self._owner_keys = {one: owners.key_of(self._tenant, one) for one in unknown}
        self._owners = owners.owners_of(self._db, self._owner_keys)
        for type_name, ids in stored.items():
            self._read_told(type_name, ids)
        self._keys_known = frozenset(keys)
        self._keys |= inbox.keys_there(self._db, self._tenant, keys)
        self._ids = inbox.next_ids(self._db, len(keys))

    @contextmanager
    def message(self) -> Iterator[None]:
        """Undo what the block did when it raises; a single evaluation of changes undoes itself."""
        if not self.alone:
            try:
                yield
            except PreconditionFailed:
                self._path.look_again()
                raise
            return
        self._write_told()
        try:
            with self._session.savepoint():
                yield
                self._write_told()
        except BaseException:
            self._told_now.clear()
            self._told.clear()
            raise

    # --- resources -------------------------------------------------------------------------------

    def state(self, type_name: str, id_: str) -> State | None:
        """Return a resource as it is; None for what is not there."""
        found = self._path.state(type_name, id_)
        return found if found is not None and found.exists else None

    def owners(self, type_name: str, system: str, value: str) -> Sequence[Owner]:
        """Return the resources that carry an identifier: at most three."""
        wanted = type_name, system, value
        known = wanted in self._owner_keys
        key = self._owner_keys[wanted] if known else owners.key_of(self._tenant, wanted)
        if key is not None and self._path.has_touched(key):
            self._path.flush()
        elif known:
            return self._owners[wanted]
        return owners.owners_of(self._db, {wanted: key})[wanted]

    def write(
        self,
        new: Sequence[tuple[Prepared, int | None]],
        changes: Sequence[Prepared],
        told: Mapping[Target, Told],
    ) -> list[Outcome]:
        """Decide a change set; its rows are written with those of the other messages.

        new: of resources that are absent, with what `res` says of when they were told.
        told: when the elements of the others were told, be they changed by that or not.
        """
        if not told:
            return self._path.evaluate(changes, new=new)
        numbers = {at: told_number(one) for at, one in told.items()}
        outcomes = self._path.evaluate(changes, numbers, new)
        for target in numbers.keys() - {(one.type, one.id) for one in outcomes}:
            self._path.tell(target, numbers[target])
        for target, one in told.items():
            if one.elements:
                self._told_now[target] = one
            else:
                self._told_now.pop(target, None)
        return outcomes

    # --- when elements were told -----------------------------------------------------------------

    def told(self, type_name: str, id_: str) -> Told | None:
        """Return when the elements of a resource were told."""
        target = type_name, id_
        if target in self._told_now:
            return self._told_now[target]
        state = self._path.state(type_name, id_)
        if state is not None and state.told is not None and not _told_in_parts(state):
            return Told(state.told >> 1)
        if target not in self._told:
            self._read_told(type_name, [id_])
        return self._told[target]

    def _read_told(self, type_name: str, ids: Sequence[str]) -> None:
        self._told.update(dict.fromkeys((type_name, id_) for id_ in ids))
        rows = self._db.all(
            f"{_READ_TOLD} AND {self._db.in_list('id')}",
            (self._tenant, definitions.type_number(type_name), self._db.array(ids)),
        )
        for id_, at, elements in rows:
            self._told[type_name, id_] = Told(at, json.loads(elements) if elements else {})

    def _write_told(self) -> None:
        if not self._told_now:
            return
        rows = sorted(self._told_row(*target, told) for target, told in self._told_now.items())
        if self._db.dialect == POSTGRESQL:
            self._db.run(_WRITE_MANY, [list(column) for column in zip(*rows, strict=True)])
        else:
            self._db.many(_WRITE_ONE, rows)
        self._told.update(self._told_now)
        self._told_now.clear()

    def _told_row(self, type_name: str, id_: str, told: Told) -> tuple[Any, ...]:
        number = definitions.type_number(type_name)
        return self._tenant, number, id_, told.at, json.dumps(told.elements)

    # --- entries of the inbox --------------------------------------------------------------------

    def repeated(self, key: bytes, since_us: int) -> Entry | None:
        """Return the entry that is the same message, as `inbox.repeated`."""
        if key in self._keys_known and key not in self._keys:
            return None
        return inbox.repeated(self.db, self._tenant, key, since_us)

    def next_id(self) -> int:
        """Return the id for one more entry."""
        id_ = next(self._ids, 0)
        if not id_:
            self._ids = inbox.next_ids(self.db, 1)
            id_ = next(self._ids)
        return id_

    def add(self, entry: Entry) -> None:
        """Keep a new entry, whose id `next_id` gave."""
        self._entries[entry.id] = entry
        self._keys.add(entry.key)

    def entry(self, id_: int) -> Entry:
        """Return an entry with the bytes received. Raises NotFound."""
        known = self._entries.get(id_)
        return known if known is not None else inbox.get(self._db, self._tenant, id_)

    def change(self, entry: Entry) -> None:
        """Keep what became of an entry."""
        if entry.id in self._entries:
            self._entries[entry.id] = entry
        else:
            inbox.change(self._db, entry)

    def flush(self) -> None:
        """Write what waits to be written."""
        self._path.flush()
        self._write_told()
        if self._entries:
            inbox.add_all(self._db, self._tenant, self._entries.values())
            self._entries.clear()


def told_number(told: Told) -> int:
    """Return `res.told`."""
    return 2 * told.at + bool(told.elements)


def _told_in_parts(state: State) -> bool:
    """Say whether the table `told` is to be asked about a resource (`res.told`)."""
    return state.told is None or bool(state.told & 1)


def may_be_owned(said: Statement) -> bool:
    """Say whether a resource of another id may be meant: by an identifier people give."""
    return said.key is not None and said.key[0] != RECORD and said.type not in NAMELESS
