"""What the rows of a stored code system hold: numbers of sets, bodies of concepts, facts.

All of it is an on-disk format. The sets of a version have the keys `p(v, number)` in `cs_set`;
numbers from `FIRST_PROPERTY` on are properties, as `Facts.properties` says.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any, Final

import msgspec

from app.terminology.types import Concept, Designation, Json, Property

# Numbers of sets. The five kinds of terms.py come first; then value = ...
CHILDREN: Final = 8  # a code ('' for the roots): the concepts right below it
MEMBERS: Final = 9  # the code of a reference set: its members
HAVING: Final = 10  # the code of a property: the concepts that have it
STATE: Final = 11  # 'inactive', 'abstract': the concepts that are
FIRST_PROPERTY: Final = 32  # the text of a value: the concepts with that value

LAST_PROPERTY: Final = (1 << 16) - 1

# Values longer than this are stored by their beginning: the body decides.
LONGEST_VALUE: Final = 300
CUT: Final = "\x01"

LOADING, READY, REPLACED = range(3)


def set_key(v: int, number: int) -> int:
    """Return `cs_set.p`."""
    return v << 16 | number


def concept_id(v: int, n: int) -> int:
    """Return `cs_concept.id`."""
    return v << 32 | n


class Held(msgspec.Struct, array_like=True, frozen=True):
    """One property of a concept. group: role group of SNOMED CT relationships, 0 for none."""

    code: str
    kind: str
    value: Any
    group: int = 0


class Named(msgspec.Struct, array_like=True, frozen=True):
    """One designation; use: its number in `Facts.uses`, -1 for none; retired: not used any more."""

    value: str
    language: str | None = None
    use: int = -1
    extension: list[Json] = []
    retired: bool = False


class Body(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a concept beside its code and place."""

    display: str | None = None
    parents: list[str] = []
    held: list[Held] = []
    designations: list[Named] = []
    definition: str | None = None
    extension: list[Json] = []


class Facts(msgspec.Struct):
    """What is known of a version beside its header.

    size: how many concepts; properties: code -> number of its sets; kinds: code -> the types of
    its values; uses: designation uses; folds: case does not count in codes.
    """

    size: int = 0
    properties: dict[str, int] = {}
    kinds: dict[str, list[str]] = {}
    uses: list[Json] = []
    folds: bool = False


encode_body = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(Body).decode
encode_facts = msgspec.json.encode
decode_facts = msgspec.json.Decoder(Facts).decode


def value_text(value: Any) -> str:
    """Return a property's value as filters compare it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return str(value.get("code", ""))
    return str(value)


def value_key(text: str) -> str:
    """Return a value as it stands in `cs_set.value`: without NUL, long ones cut."""
    plain = text.replace("\x00", "")
    return plain if len(plain) <= LONGEST_VALUE else plain[:LONGEST_VALUE] + CUT


def concept(code: str, body: Body, facts: Facts) -> Concept:
    """Return a concept as it is asked for."""
    return Concept(
        code,
        body.display,
        body.definition,
        [_designation(named, facts) for named in body.designations],
        [Property(h.code, h.kind, h.value) for h in body.held],
        body.parents,
        body.extension,
    )


def _designation(named: Named, facts: Facts) -> Designation:
    return Designation(
        named.value,
        named.language,
        facts.uses[named.use] if named.use >= 0 else None,
        _RETIRED if named.retired else named.extension,
    )


_RETIRED: Final[list[Json]] = [
    {
        "url": "http://hl7.org/fhir/StructureDefinition/structuredefinition-standards-status",
        "valueCode": "withdrawn",
    }
]


def packed_spans(spans: array[int]) -> bytes:
    """Return first and last numbers, pair after pair, as stored."""
    if sys.byteorder == "big":
        spans = array("I", spans)
        spans.byteswap()
    return spans.tobytes()


def unpacked_spans(stored: bytes) -> array[int]:
    """Return first and last numbers, pair after pair."""
    spans = array("I", stored)
    if sys.byteorder == "big":
        spans.byteswap()
    return spans
