"""Units of measure, `http://unitsofmeasure.org`: UCUM 2.2, case-sensitive codes.

A code is any unit of the grammar; what it is measured in is the property `canonical` (UCUM section
10), by which units are selected: R4 valueset.html, "Using UCUM". The reading is that of
`app/fhir/ucum.py`, which search uses too.

Deviation: annotations may have spaces, as units in laboratory feeds do (UCUM section 6 does not
allow them). The canonical form here counts mol as the number that UCUM says it is; in search it is
a dimension of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from app.fhir import definitions, ucum
from app.fhir.ucum_atoms import VERSION
from app.terminology.systems.facts import table
from app.terminology.systems.grammar import Grammar, header
from app.terminology.types import Concept, Designation, Filter, Json, Property

URL = ucum.SYSTEM

_WHY = {
    "unknown": "The unit '{}' is unknown",
    "character": "A character that UCUM does not have",
    "missing": "A unit is missing",
    "unbalanced": "The parentheses are not balanced",
    "zero": "A factor of zero is no unit",
    "exponent": "The exponent is too large",
    "scale": "The scale '{}' has an offset, and so has to stand alone",
    "long": "The unit is too long",
    "range": "The unit is too large or too small to be compared",
}


class Ucum(Grammar):
    """The system of UCUM codes."""

    common = "http://hl7.org/fhir/ValueSet/ucum-common"

    def __init__(self) -> None:
        self.header: Json = header(
            URL,
            "UCUM",
            "Unified Code for Units of Measure (UCUM)",
            version=VERSION,
            language="en",
            copyright=(
                "Copyright (c) 1999 Regenstrief Institute, Inc. and The UCUM Organization,"
                " Indianapolis, IN. All rights reserved. https://ucum.org"
            ),
            property=[
                {"code": "canonical", "type": "string"},
                {"code": "property", "type": "string"},
            ],
            filter=[{"code": "canonical", "operator": ["="], "value": "a unit in base units"}],
        )

    def find(self, code: str) -> Concept | None:
        """Return the concept of a unit; its display is the code, its name a designation."""
        if ucum.fault(code) is not None:
            return None
        names = [Designation(named(code, language), tag) for language, tag in _LANGUAGES]
        properties = [Property("canonical", "string", canonical(code))]
        measured = _names().get(code, _NAMELESS)["property"]
        if measured:
            properties.append(Property("property", "string", measured))
        return Concept(
            code=code,
            display=code,
            designations=[name for name in names if name.value],
            properties=properties,
        )

    def listed(self) -> Sequence[str]:
        """Return the units of the value set of common ones in R4."""
        return _common()

    def problem(self, code: str) -> str | None:
        """Return what is wrong with a unit, and where in it."""
        fault = ucum.fault(code)
        if fault is None:
            return None
        return f"Error processing unit '{code}': {_said(fault)}"

    def mismatch(self, code: str, filters: Sequence[Filter]) -> str | None:
        """Return what a unit is measured in when another canonical form is required."""
        for wanted in filters:
            if wanted.property == "canonical" and wanted.op == "=":
                found = canonical(code)
                if found != wanted.value:
                    return f"Code {code} has canonical form {found}, not {wanted.value} as required"
        return None


def _said(fault: ucum.Fault) -> str:
    return f"{_WHY[fault.why].format(fault.symbol)} at character {fault.at + 1}"


def canonical(code: str) -> str:
    """Return the base units of a code that is one, "1" for pure numbers."""
    found = ucum.canonical(code)
    if found is None:
        return "1"
    parts = [part for part in found.unit.split(".") if part.rstrip("-0123456789") != "mol"]
    return ".".join(parts) or "1"


@cache
def _common() -> Sequence[str]:
    included = definitions.value_set(Ucum.common)["compose"]["include"]
    codes = (c["code"] for part in included for c in part.get("concept", ()))
    return [code for code in dict.fromkeys(codes) if _is_unit(code)]


def _is_unit(code: str) -> bool:
    return ucum.fault(code) is None


# --- names ---------------------------------------------------------------------------------------

_NAMELESS = {"en": "", "zh": "", "property": ""}
_LANGUAGES = (("en", "en"), ("zh", "zh-CN"))
_POWERS = {2: "平方", 3: "立方"}


@cache
def _names() -> Mapping[str, Mapping[str, str]]:
    """Code of a prefix (with a final -) or an atom -> its names and what it measures."""
    return {
        code: {"en": english, "zh": chinese, "property": measured}
        for code, english, chinese, measured in table("ucum_names").rows
    }


def named(code: str, language: str) -> str:
    """Return a unit in words: "(milligram) / (deciliter)", 毫克每分升; "" where words lack."""
    parts = ucum.parts(code)
    if parts is None:
        return ""
    words = [_worded(part, language) for part in parts]
    if not all(words):
        return ""
    if language == "zh":
        return _chinese(parts, words)
    out = [words[0]]
    for part, word in zip(parts[1:], words[1:], strict=True):
        out += [" / " if part.divides else " * ", word]
    return ("1 / " if parts[0].divides else "") + "".join(out)


def _chinese(parts: Sequence[ucum.Part], words: Sequence[str]) -> str:
    out = ""
    for part, word in zip(parts, words, strict=True):
        if part.symbol == "1" and len(parts) > 1:
            continue  # an annotation, or the 1 of 1/min
        out += "每" if part.divides else "·" if out else ""
        out += word
    return out


def _worded(part: ucum.Part, language: str) -> str:
    """Return one component in words."""
    if not part.atom:
        return part.symbol
    prefix = _names().get(f"{part.prefix}-", _NAMELESS)[language] if part.prefix else ""
    atom = _names().get(part.atom, _NAMELESS)[language]
    if not atom or (part.prefix and not prefix):
        return ""
    if language == "en":
        power = "" if part.exponent == 1 else f" ^ {part.exponent}"
        return f"({prefix}{atom}{power})"
    if part.exponent == 1:
        return prefix + atom
    if part.atom == "m" and part.exponent in _POWERS:
        return _POWERS[part.exponent] + prefix + atom
    return f"{prefix}{atom}的{part.exponent}次方"
