"""Which identifier systems are one: what the NamingSystems of a store say. R4 namingsystem.html.

An identifier is found under every system that a NamingSystem lists together with its own. All of
them are read once and again when one has changed, which every process sees for itself in the change
log: one probe (8 us on SQLite), which is all it costs where there is no NamingSystem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.fhir import definitions
from app.fhir import json as fhir_json
from app.fhir.systems import canonical_system, systems_of
from app.store import keys
from app.store.database import Connection

# Tells whether anything was written: also what was committed late, behind something newer.
_STATE = (
    "SELECT count(*),sum(seq) FROM (SELECT seq FROM log WHERE tenant=? AND type=?"
    " ORDER BY lu DESC,seq DESC LIMIT 64) AS newest"
)


class Systems:
    """The systems that are one, as far as this process has noticed. Safe to use from threads."""

    def __init__(self, tenant: int) -> None:
        self._tenant = tenant
        self._type = definitions.type_number("NamingSystem")
        self._state: tuple[Any, ...] | None = None
        self._same: Mapping[str, Sequence[str]] = {}

    def same(self, db: Connection, system: str) -> Sequence[str]:
        """Return the systems that are the same as one, itself first."""
        state = db.one(_STATE, (self._tenant, self._type))
        if state != self._state:  # the state first: what comes in between is read next time
            self._same = self._read(db)
            self._state = state
        if not self._same:
            return (system,)
        others = self._same.get(canonical_system(system), ())
        return (system, *(each for each in others if each != system))

    def _read(self, db: Connection) -> dict[str, list[str]]:
        rows = db.all(
            "SELECT r.body FROM ix x JOIN res r ON r.pk=x.pk WHERE x.k=? AND r.method IN (0,1)",
            (keys.of_type(self._tenant, self._type),),
        )
        same: dict[str, dict[str, None]] = {}
        for (body,) in rows:
            listed = dict.fromkeys(systems_of(fhir_json.load(body)))
            if len(listed) > 1:
                for each in listed:
                    same.setdefault(each, {}).update(listed)
        return {system: list(others) for system, others in same.items()}
