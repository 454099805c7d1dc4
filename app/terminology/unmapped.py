"""The codes that were to be translated and that no concept map knows: a list for people to work on.

Each is written once, when a process meets it first. The list is bounded, since strangers can ask
for anything; the numbers in /metrics go on counting.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from app.store.aside import Statement
from app.store.store import Store

_MOST = 10_000
_MOST_TEXT = 256  # of a system or code; longer ones are no codes
_SEEN = 4096


@dataclass(frozen=True, slots=True)
class Missing:
    """A code of a system that has no translation into another ("" for any)."""

    system: str
    code: str
    target: str
    met_us: int


class Unmapped:
    """The list of one hub; safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = Lock()

    def met(self, codes: Sequence[tuple[str, str, str]]) -> None:
        """Keep codes (system, code, target system) that are new to this process."""
        new = [one for one in codes if self._is_new(one)]
        if not new:
            return
        now_us, tenant = self._store.clock.now_us(), self._store.tenant
        insert = Statement(
            "INSERT INTO unmapped (tenant,system,code,target,met)"
            " SELECT CAST(? AS SMALLINT),?,?,?,CAST(? AS BIGINT)"
            f" WHERE (SELECT count(*) FROM unmapped WHERE tenant=CAST(? AS SMALLINT)) < {_MOST}"  # noqa: S608
            " ON CONFLICT DO NOTHING",
            [(tenant, *one, now_us, tenant) for one in new],
        )
        self._store.write_aside([insert])

    def _is_new(self, one: tuple[str, str, str]) -> bool:
        if any(len(part) > _MOST_TEXT or "\0" in part for part in one):
            return False
        with self._lock:
            new = one not in self._seen
            self._seen[one] = None
            self._seen.move_to_end(one)
            while len(self._seen) > _SEEN:
                self._seen.popitem(last=False)
        return new

    def listed(self, most: int) -> Sequence[Missing]:
        """Return the codes met last."""
        rows = self._store.ask(
            lambda db: db.all(
                "SELECT system,code,target,met FROM unmapped WHERE tenant=?"
                " ORDER BY met DESC, system, code LIMIT ?",
                (self._store.tenant, most),
            )
        )
        return [Missing(*row) for row in rows]

    def mapped(self, codes: Sequence[tuple[str, str, str]]) -> None:
        """Take codes off the list, once they have a translation."""
        delete = "DELETE FROM unmapped WHERE tenant=? AND system=? AND code=? AND target=?"
        self._store.write_aside([Statement(delete, [(self._store.tenant, *c) for c in codes])])
        with self._lock:
            for one in codes:
                self._seen.pop(one, None)
