"""Functions of the mapping language about readings: what was measured, its value and its unit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from app.feeds.iot import times
from app.feeds.iot.vocabulary import ABSENT, CATEGORY, Concept, Measured, Vocabulary
from app.feeds.iot.waves import sampled as sampled_data
from app.fhir.ids import RECORD, record_key

UCUM: Final = "http://unitsofmeasure.org"


def device_part(run: Any) -> str:
    """Return what names the device in record keys: its own key, with its system."""
    made = run.made.get("device")
    if made and made[0].key:
        system, value = made[0].key
        return f"{system}|{value}"
    return str(run.doc.mapping)


def _concept_of(run: Any, code: Any, unit: Any, display: Any = None) -> Concept:
    vocabulary: Vocabulary = run.doc.vocabulary
    shown = None if display is None else str(display)
    known_unit = vocabulary.unit(None if unit is None else str(unit))
    return vocabulary.concept(str(code), known_unit, shown, run.doc.mapping)


def reading_key(
    _: Any, run: Any, code: Any, time: Any = None, message: Any = None, unit: Any = None
) -> dict[str, str] | None:
    """Return the identifier of a reading: device, code (or panel), time, message or sequence."""
    if code is None:
        return None
    concept = _concept_of(run, code, unit)
    if concept.panel:
        name = concept.panel[0] + ("" if concept.panel[1] == "cuff" else "." + concept.panel[1])
    else:
        name = concept.loinc or concept.mdc or str(code)
    moment = times.parse(time, run.doc.clock.zone)  # what `when` gave: believed already
    parts = [device_part(run), name, moment.utc if moment else run.doc.message.digest[:32]]
    if message is not None:
        parts.append(str(message))
    return {"system": RECORD, "value": record_key(parts)}


def measured(
    _: Any,
    run: Any,
    code: Any,
    value: Any = None,
    unit: Any = None,
    absent: Any = None,
    display: Any = None,
) -> dict[str, Any] | None:
    """Return category, code and value of a reading: or the panel it is a component of."""
    if code is None:
        return None
    concept = _concept_of(run, code, unit, display)
    content = {"code": _codeable(concept), **_content(run, concept, value, unit, absent)}
    vocabulary: Vocabulary = run.doc.vocabulary
    panel = vocabulary.panel(concept)
    body: dict[str, Any] = {}
    if concept.category:
        body["category"] = [{"coding": [{"system": CATEGORY, "code": concept.category}]}]
    if panel is None:
        return body | content
    body |= {"code": panel, "component": [content]}
    if concept.panel and concept.panel[1] != "cuff":
        body["method"] = {"text": concept.panel[1]}
    return body


def component(
    _: Any, run: Any, code: Any, value: Any = None, unit: Any = None, absent: Any = None
) -> dict[str, Any] | None:
    """Return code and value of a component, also of one that belongs to a panel elsewhere."""
    if code is None:
        return None
    concept = _concept_of(run, code, unit)
    return {"code": _codeable(concept), **_content(run, concept, value, unit, absent)}


def metric(_: Any, run: Any, number: Any, name: Any = None) -> str | None:
    """Return the MDC number if the reference id agrees with it, else the reference id.

    Numbers in the field are often simply wrong; the name is what the device's maker meant.
    """
    if number is None or name is None:
        return None if number is None and name is None else str(name if number is None else number)
    vocabulary: Vocabulary = run.doc.vocabulary
    known = vocabulary.metric(str(name))
    return str(number) if known in (None, str(number)) else str(name)


def panel_of(_: Any, run: Any, code: Any) -> str | None:
    """Return the panel's code of a component, else the code itself."""
    if code is None:
        return None
    concept = _concept_of(run, code, None)
    return concept.panel[0] if concept.panel else str(code)


def _codeable(concept: Concept) -> dict[str, Any]:
    body: dict[str, Any] = {"coding": [dict(coding) for coding in concept.codings]}
    if concept.text:
        body["text"] = concept.text
    return body


def _content(run: Any, concept: Concept, value: Any, unit: Any, absent: Any) -> dict[str, Any]:
    vocabulary: Vocabulary = run.doc.vocabulary
    reason = vocabulary.reason(absent)
    if reason is None:
        found = vocabulary.measured(value, None if unit is None else str(unit), concept)
        if found.absent is None:
            return _value_element(found, concept)
        reason = found.absent
    return {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": reason}]}}


_RATIO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*[:/]\s*(\d+(?:\.\d+)?)\s*", re.ASCII)


def _value_element(found: Measured, concept: Concept) -> dict[str, Any]:
    if isinstance(found.value, bool):
        return {"valueBoolean": found.value}
    if isinstance(found.value, str):
        ratio = _RATIO.fullmatch(found.value)
        if ratio and concept.known:
            numerator, denominator = ({"value": Decimal(part)} for part in ratio.groups())
            return {"valueRatio": {"numerator": numerator, "denominator": denominator}}
        return {"valueString": found.value}
    return {"valueQuantity": _as_quantity(found)}


def _as_quantity(found: Measured) -> dict[str, Any]:
    quantity: dict[str, Any] = {"value": found.value}
    if found.unit:
        quantity["unit"] = found.unit
    if found.ucum:
        quantity |= {"system": UCUM, "code": found.ucum}
    return quantity


def quantity(value: Any, run: Any, unit: Any = None, code: Any = None) -> dict[str, Any] | None:
    """Return a Quantity, in the unit that `code` (what is measured) asks for."""
    concept = _concept_of(run, code or "", unit)
    text = None if unit is None else str(unit)
    found = run.doc.vocabulary.measured(value, text, concept)
    return _as_quantity(found) if isinstance(found.value, Decimal) else None


def concept(value: Any, run: Any, display: Any = None, unit: Any = None) -> dict[str, Any]:
    return _codeable(_concept_of(run, value, unit, display))


def category(value: Any, run: Any) -> dict[str, Any]:
    return {"coding": [{"system": CATEGORY, "code": str(value)}]}


def sampled(values: list[Any], run: Any, *args: Any) -> dict[str, Any] | None:
    """Return SampledData: period (ms), unit, then factor, origin and missing indexes.

    Numbers are stored as integers times a factor; what is none is "E".
    """
    return sampled_data(values, run.doc.vocabulary, *args)


def at_least(_: Any, __: Any, value: Any, limit: Any = None) -> str | None:
    """Return H when a value has reached a limit."""
    number, least = decimal_of(value), decimal_of(limit)
    return "H" if number is not None and least is not None and number >= least else None


def unit_by(_: Any, __: Any, molar: Any = None, mass: Any = None, unit: Any = None) -> str | None:
    """Return the unit of a glucose that stands under the name of its unit."""
    if unit is not None:
        return str(unit)
    return "mmol/L" if molar is not None else "mg/dL" if mass is not None else None


def beyond(_: Any, __: Any, value: Any, low: Any = None, high: Any = None) -> str | None:
    """Return L or H when a value is strictly outside its limits."""
    number, lower, upper = decimal_of(value), decimal_of(low), decimal_of(high)
    if number is None:
        return None
    if lower is not None and number < lower:
        return "L"
    if upper is not None and number > upper:
        return "H"
    return None


def decimal_of(value: Any) -> Decimal | None:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None
