"""Lists that are code systems: countries, currencies, languages, time zones, DICOM, MDC.

Each is made of a table of facts and held in memory as any other CodeSystem. The urls are those of
HL7's external code systems (terminology.hl7.org); versions are those of the source of the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.terminology.memory import MemorySystem
from app.terminology.systems import ucum
from app.terminology.systems.facts import table
from app.terminology.systems.grammar import header
from app.terminology.types import Json

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class _List:
    """One list: the table its concepts are made of, and how."""

    table: str
    name: str
    title: str
    concepts: Callable[[Row], Iterator[Json]]
    properties: Sequence[tuple[str, str]] = ()
    content: str = "complete"


def made(url: str) -> MemorySystem:
    """Return the code system of one of the urls of `LISTS`."""
    of = LISTS[url]
    facts = table(of.table)
    concepts = [concept for row in facts.rows for concept in of.concepts(row)]
    return MemorySystem(
        header(
            url,
            of.name,
            of.title,
            version=facts.version,
            language="en",
            content=of.content,
            count=len(concepts),
            property=[{"code": code, "type": kind} for code, kind in of.properties],
            concept=concepts,
        )
    )


def _concept(code: str, display: str, chinese: str = "", **properties: str) -> Json:
    made: Json = {"code": code, "display": display}
    if chinese:
        made["designation"] = [{"language": "zh-CN", "value": chinese}]
    held = [{"code": name, "valueCode": value} for name, value in properties.items() if value]
    return made | ({"property": held} if held else {})


def _country(row: Row) -> Iterator[Json]:
    """The three codes of a country are three concepts: each says which the others are."""
    alpha2, alpha3, numeric, name, chinese, official = row
    codes = {"alpha2": alpha2, "alpha3": alpha3, "numeric": numeric}
    for kind, code in codes.items():
        others = {other: value for other, value in codes.items() if other != kind}
        concept = _concept(code, name, chinese, **others)
        if official:
            concept.setdefault("designation", []).append({"language": "en", "value": official})
        yield concept


def _subdivision(row: Row) -> Iterator[Json]:
    code, parent, name, chinese = row
    yield _concept(code, name, chinese, parent=parent, country=code.partition("-")[0])


def _currency(row: Row) -> Iterator[Json]:
    code, numeric, name, chinese = row
    yield _concept(code, name, chinese, numeric=numeric)


def _language_two(row: Row) -> Iterator[Json]:
    alpha3, _bibliographic, alpha2, name, chinese = row
    if alpha2:
        yield _concept(alpha2, name, chinese, alpha3=alpha3)


def _language_three(row: Row) -> Iterator[Json]:
    alpha3, bibliographic, alpha2, name, chinese = row
    yield _concept(alpha3, name, chinese, alpha2=alpha2)
    if bibliographic:
        yield _concept(bibliographic, name, chinese, alpha2=alpha2, terminologic=alpha3)


def _zone(row: Row) -> Iterator[Json]:
    code, chinese = row
    yield _concept(code, code, chinese)


def _plain(row: Row) -> Iterator[Json]:
    code, name = row
    yield _concept(code, name)


def _device(row: Row) -> Iterator[Json]:
    """Return a code of MDC; a unit is named by its reference id, in Chinese by UCUM's names."""
    code, reference_id, name, chinese, unit = row
    named = chinese or (ucum.named(unit, "zh") if not name else "")
    concept = _concept(code, name or reference_id, named, unit=unit)
    concept.setdefault("designation", []).append({"language": "en", "value": reference_id})
    yield concept


LISTS: Mapping[str, _List] = {
    "urn:iso:std:iso:3166": _List(
        "countries",
        "ISO3166Part1",
        "Countries (ISO 3166-1)",
        _country,
        (("alpha2", "code"), ("alpha3", "code"), ("numeric", "code")),
    ),
    "urn:iso:std:iso:3166:-2": _List(
        "subdivisions",
        "ISO3166Part2",
        "Subdivisions of countries (ISO 3166-2)",
        _subdivision,
        (("parent", "code"), ("country", "code")),
    ),
    "urn:iso:std:iso:4217": _List(
        "currencies",
        "ISO4217",
        "Currencies (ISO 4217)",
        _currency,
        (("numeric", "code"),),
    ),
    "http://terminology.hl7.org/CodeSystem/iso639-1": _List(
        "iso639",
        "ISO639Part1",
        "Languages, two letters (ISO 639-1)",
        _language_two,
        (("alpha3", "code"),),
    ),
    "http://terminology.hl7.org/CodeSystem/iso639-2": _List(
        "iso639",
        "ISO639Part2",
        "Languages, three letters (ISO 639-2)",
        _language_three,
        (("alpha2", "code"), ("terminologic", "code")),
    ),
    "https://www.iana.org/time-zones": _List(
        "time_zones",
        "IANATimeZones",
        "Time zones (IANA)",
        _zone,
    ),
    "http://dicom.nema.org/resources/ontology/DCM": _List(
        "dicom",
        "DCM",
        "DICOM controlled terminology (PS3.16 annex D)",
        _plain,
    ),
    "urn:iso:std:iso:11073:10101": _List(
        "mdc",
        "MDC",
        "Medical device communication (IEEE 11073-10101), what device feeds use",
        _device,
        (("unit", "code"),),
        content="fragment",
    ),
}
