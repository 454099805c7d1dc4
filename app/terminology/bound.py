"""Whether a value set has a code, for those who check bindings (`app/fhir/bindings.py`)."""

from __future__ import annotations

from app.errors import YilianError
from app.fhir.bindings import Coding
from app.terminology.call import Call
from app.terminology.membership import Membership
from app.terminology.service import Scope
from app.terminology.value_set import Compose
from app.terminology.view import View


class BoundValueSets:
    """The value sets of one scope, as far as their code systems are known."""

    def __init__(self, scope: Scope) -> None:
        self._view = View(Call({}, scope))

    def has(self, value_set: str, coding: Coding) -> bool | None:
        """Say whether a value set has a code; None when it cannot be told.

        It cannot when the value set, one that it imports, or a code system of it is not known.
        """
        try:
            compose = self._view.value_set(value_set, None)
            self._view.check_imports(compose)
            return self._judged(compose, coding)
        except YilianError:
            return None

    def _judged(self, compose: Compose, coding: Coding) -> bool | None:
        systems = {
            part.system
            for one in self._view.all_of(compose)
            for part in one.includes
            if part.system is not None
        }
        asked = systems if coding.system is None else systems & {coding.system}
        known = True
        for system in asked:
            found = Membership(self._view, compose, system, None)
            if found.matches(coding.code):
                return True
            known = known and all(reading.known is not None for reading in found.readings)
        return False if known else None
