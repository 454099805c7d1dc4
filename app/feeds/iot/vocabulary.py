"""What device codes and units mean in LOINC, MDC and UCUM.

IEEE 11073-10101 (MDC), LOINC, UCUM; R4 observation-vitalsigns.html for the units that the
vital-signs profiles fix. All rows are data (`mappings/iot/vocabulary.yaml` and overlays); this
module only looks up, and converts between units of the same kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, Final

from app.fhir import ucum
from app.mapping.library import Table

LOINC: Final = "http://loinc.org"
MDC: Final = "urn:iso:std:iso:11073:10101"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
OWN: Final = "https://yilian.example/fhir/CodeSystem/device-observation"
ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

_LOINC_CODE = re.compile(r"[0-9]{1,7}-[0-9]", re.ASCII)
_MDC_NUMBER = re.compile(r"[0-9]{5,8}", re.ASCII)
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Concept:
    """What is measured: its codings, and what follows from them."""

    codings: tuple[dict[str, str], ...]
    text: str | None
    category: str | None
    loinc: str | None
    mdc: str | None
    panel: tuple[str, str] | None  # (LOINC code, what sets two panels apart)
    known: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A value in the unit it is stored in, or the reason why there is none.

    value: Decimal, text or boolean. ucum: None when the unit is not known, then `unit` is its text.
    """

    value: Decimal | str | bool | None
    unit: str | None = None
    ucum: str | None = None
    absent: str | None = None


class Vocabulary:
    """Answers from the tables of one library; remembers what it was asked."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._rows: dict[str, dict[str, Any]] = {
            name: dict(table.rows) for name, table in tables.items()
        }
        self._concepts: dict[tuple[str, str | None, str | None, str], Concept] = {}
        self._scales: dict[
            tuple[str | None, str | None, str | None, bool],
            tuple[str | None, str | None, str | None, str | None],
        ] = {}
        self._conversions: dict[tuple[str, str], tuple[Fraction, Fraction] | None] = {}

    def _code(self, table: str, key: str | None) -> str | None:
        row = self._rows.get(table, {}).get(key) if key else None
        return row[0] if row else None

    def unit(self, text: str | None) -> str | None:
        """Return the UCUM code of a unit as a sender writes it, None when it is not known."""
        if not text:
            return None
        known = self._code("unit", text)
        if known is not None:
            return known
        return text if ucum.canonical(text) is not None else None

    def concept(self, code: str, unit: str | None, display: str | None, scope: str) -> Concept:
        """Return the concept of a sender's code: LOINC, MDC number or reference id, or its own.

        unit: the UCUM code, which decides between codes of mass and molar concentration. scope: the
        mapping, for codes that nobody else knows. Never fails: an unknown code is kept as it is.
        """
        key = (code, unit, display, scope)
        found = self._concepts.get(key)
        if found is None:
            if len(self._concepts) >= _REMEMBERED:
                self._concepts.clear()
            found = self._concepts[key] = self._concept(*key)
        return found

    def _concept(self, code: str, unit: str | None, display: str | None, scope: str) -> Concept:
        loinc, mdc = self._both(code, unit)
        codings: list[dict[str, str]] = []
        for one in (loinc, self._code("also-loinc", loinc)):
            if one:
                codings.append(_coding(LOINC, one, self._title(one)))
        own = self._rows.get("own", {}).get(code)
        if own:
            codings.append(_coding(OWN, code, own[1]))
            mdc = self._code("own-mdc", code)
        if mdc:
            codings.append(_coding(MDC, mdc, None))
        known = bool(codings)
        if not known:
            codings.append(_coding(f"urn:x-yilian:code:iot:{scope}", code, display))
        panels = self._rows.get("panel", {})
        panel = panels.get(mdc or "") or panels.get(loinc or "")
        return Concept(
            codings=tuple(codings),
            text=display,
            category=self._code("category", loinc) or self._code("category", mdc),
            loinc=loinc,
            mdc=mdc,
            panel=(panel[0], panel[1] or "") if panel else None,
            known=known,
        )

    def metric(self, name: str) -> str | None:
        """Return the MDC number of a reference id."""
        return self._code("mdc", name)

    def _both(self, code: str, unit: str | None) -> tuple[str | None, str | None]:
        """Return the LOINC code and the MDC number of a code in either."""
        if _LOINC_CODE.fullmatch(code):
            return code, self._code("loinc-mdc", code)
        mdc = self._code("mdc", code)
        if mdc is None and _MDC_NUMBER.fullmatch(code):
            mdc = code
        molar = self._code("mdc-loinc-molar", mdc) if unit and unit.startswith("mmol") else None
        return molar or self._code("mdc-loinc", mdc), mdc

    def _title(self, loinc: str) -> str | None:
        row = self._rows.get("loinc", {}).get(loinc)
        return row[1] if row else None

    def panel(self, concept: Concept) -> dict[str, Any] | None:
        """Return the code of the panel that a component belongs to, None when it stands alone."""
        if concept.panel is None:
            return None
        code, place = concept.panel
        codings = [_coding(LOINC, code, self._title(code))]
        if place == "cuff" and (mdc := self._code("loinc-mdc", code)):
            codings.append(_coding(MDC, mdc, None))
        return {"coding": codings}

    def measured(self, value: Any, unit: str | None, concept: Concept) -> Measured:
        """Return a value and its unit, in a unit that the concept's profile allows.

        unit: as the sender writes it; without one the usual unit of a known metric.
        """
        if value is None or value == "":
            return Measured(None, absent="unknown")
        if isinstance(value, bool):
            return Measured(value)
        reason = self._code("no-value", text := str(value).strip()) if concept.known else None
        if reason and self._code("value-after-all", f"{concept.loinc} {text}"):
            reason = None
        if reason and (concept.category == "vital-signs" or not isinstance(value, int | Decimal)):
            return Measured(None, absent=reason)
        number = _number(value)
        if number is None:
            return Measured(str(value))
        unit, code, scale, wanted = self._scale(unit, concept)
        if scale:
            number = _plain(number * Decimal(scale))
        if code is None:
            return Measured(number, unit=unit)
        if wanted is None:
            return Measured(number, unit=code, ucum=code)
        converted = self.convert(number, code, wanted)
        if converted is None:  # not of the same kind: the sender's word stands
            return Measured(number, unit=code, ucum=code)
        return Measured(converted, unit=wanted, ucum=wanted)

    def _scale(
        self, unit: str | None, concept: Concept
    ) -> tuple[str | None, str | None, str | None, str | None]:
        """Return the unit (the usual one without one), its UCUM code, a factor of the sender's
        spelling, and the unit to convert to."""
        key = (unit, concept.loinc, concept.mdc, concept.known)
        found = self._scales.get(key)
        if found is None:
            if len(self._scales) >= _REMEMBERED:
                self._scales.clear()
            if unit is None and concept.known:
                usual = self._code("usual-unit", concept.mdc)
                unit = usual or self._code("own-unit", concept.loinc)
            code = self.unit(unit)
            allowed = (self._code("profile-unit", concept.loinc) or "").split()
            wanted = None if not allowed or code in allowed else allowed[0]
            found = self._scales[key] = unit, code, self._code("unit-scale", unit), wanted
        return found

    def convert(self, value: Decimal, unit: str, to: str) -> Decimal | None:
        """Return `value` of one UCUM unit in another, None when they measure different things.

        Two digits more than the value had are kept, but at least six: a converted value should not
        look more precise than that.
        """
        key = (unit, to)
        if key not in self._conversions:
            self._conversions[key] = _conversion(unit, to)
        conversion = self._conversions[key]
        if conversion is None:
            return None
        factor, offset = conversion
        exact = Fraction(value) * factor + offset
        with localcontext() as context:
            context.prec = max(6, len(value.as_tuple().digits) + 2)
            return _plain(Decimal(exact.numerator) / Decimal(exact.denominator))

    def reason(self, text: Any) -> str | None:
        """Return the data-absent-reason of what a sender says about a missing value."""
        if text is None or text is False or text == "":
            return None
        return self._code("absent", str(text).strip().lower()) or "unknown"


def _conversion(unit: str, to: str) -> tuple[Fraction, Fraction] | None:
    one, other = ucum.canonical(unit), ucum.canonical(to)
    if one is None or other is None or one.unit != other.unit:
        return None
    return one.factor / other.factor, (one.offset - other.offset) / other.factor


def _coding(system: str, code: str, display: str | None) -> dict[str, str]:
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return coding


_BEYOND: Final = 10**300
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)


def _number(value: Any) -> Decimal | None:
    """Return the number of a reading; None when it is none, or beyond what readers of JSON hold."""
    if isinstance(value, int):
        return Decimal(value) if -_BEYOND < value < _BEYOND else None
    if not isinstance(value, Decimal):
        text = str(value).strip()
        if not _NUMBER.fullmatch(text):
            return None
        value = Decimal(text)
    if not value.is_finite() or abs(value) >= _BEYOND:
        return None
    return _plain(value)


def _plain(value: Decimal) -> Decimal:
    """Return the number without an exponent and without zeros that a conversion added."""
    return value if "E" not in str(value) else Decimal(format(value, "f"))
