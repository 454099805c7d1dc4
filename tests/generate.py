"""Random valid R4 resources of any type, made from the definitions alone.

    resource("Patient", 7)   one random resource, the same for the same seed
    resources("Patient")             a Hypothesis strategy of them
    minimal("Patient")               only what is required
    maximal("Patient")               every element, to a bounded depth
    body(resource)                   compact JSON bytes with decimals as written

Decimals are `decimal.Decimal` ("72.10" keeps its zero). Valid means valid to
`app.fhir.validate`: FHIRPath invariants beyond that are not promised. `meta` has no versionId
and no lastUpdated, which are the server's.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from app.fhir import definitions, rules
from app.fhir.definitions import Element, Member, Shape

Json = dict[str, Any]

# For tests over generated resources: a busy machine is no defect.
RELAXED = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))

_ANY = frozenset({"Resource", "DomainResource"})
_SERVERS_OWN = frozenset({"Meta.versionId", "Meta.lastUpdated"})
_BARE = frozenset({"id", "extension", "modifierExtension", "contained"})
_WORDS = (
    *(
        "Glucose",
        "left arm",
        "张三",
        "北京协和医院",
        "王小明",
        "éà",
        "a\tb\nc",
        '"quoted" \\ back',
        "😀",
    ),
    *("𠮷野家", "Naïve  two spaces", "O'Brien & Sons <x>", "血糖（空腹）", "\u3000全角", "x" * 80),
)
_DECIMALS = ("72.10", "0", "1.0", "-3.50", "0.0001", "100", "6.3", "1E+2", "3.14159265358979323846")
_DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>病人 &amp; <b>Peter</b></p></div>'

_VALUES: dict[str, Callable[[Random], Any]] = {
    "base64Binary": lambda r: r.choice(("YQ==", "5byg5LiJ", "AAECAwQF")),
    "boolean": lambda r: r.random() < 0.5,
    "canonical": lambda r: (
        f"http://example.org/fhir/ValueSet/v{r.randrange(50)}|1.{r.randrange(9)}"
    ),
    "code": lambda r: r.choice(("final", "en", "text/plain", "a b", "X-1")),
    "date": lambda r: _date(r)[: r.choice((4, 7, 10, 10, 10))],
    "dateTime": lambda r: r.choice(
        (_instant(r), _instant(r), _date(r), _date(r)[:7], _date(r)[:4])
    ),
    "decimal": lambda r: Decimal(r.choice(_DECIMALS)),
    "id": lambda r: f"gen-{r.randrange(16**8):08x}",
    "instant": lambda r: _instant(r),
    "integer": lambda r: r.choice((0, -1, 42, 2147483647, -2147483648)),
    "markdown": lambda r: r.choice(("# Head\n\n* 一\n* two", *_WORDS)),
    "oid": lambda r: f"urn:oid:1.2.{r.randrange(1, 999)}.{r.randrange(9)}",
    "positiveInt": lambda r: r.randrange(1, 1000),
    "string": lambda r: r.choice(_WORDS),
    "time": lambda r: f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}",
    "unsignedInt": lambda r: r.randrange(1000),
    "uri": lambda r: r.choice(
        ("http://example.org/系统/x", "urn:oid:1.2.3", "http://a.example/b?c=d")
    ),
    "url": lambda r: f"https://example.org/{r.randrange(99)}",
    "uuid": lambda r: (
        f"urn:uuid:{r.randrange(16**8):08x}-1111-4222-8333-{r.randrange(16**12):012x}"
    ),
    "xhtml": lambda r: _DIV,
}


def resource(type_name: str, seed: int) -> Json:
    """Return a random valid resource of that type, of bounded size."""
    random = _random(seed)
    made = _Maker(random).resource(type_name)
    if "contained" in definitions.structure(type_name).elements and random.random() < 0.15:
        _contain(made, random)
    return made


def resources(type_name: str) -> st.SearchStrategy[Json]:
    """Return a strategy of random valid resources of that type."""
    return st.integers(0, 2**32 - 1).map(lambda seed: resource(type_name, seed))


def any_resources() -> st.SearchStrategy[Json]:
    """Return a strategy of random valid resources of all types."""
    return st.sampled_from(definitions.resource_types()).flatmap(resources)


def minimal(type_name: str) -> Json:
    """Return the smallest valid resource of that type: id and what is required."""
    return _Maker(_random(1), wish=0.0).resource(type_name)


def maximal(type_name: str) -> Json:
    """Return a valid resource with every element of the type, deeper ones to a bound."""
    return _Maker(_random(2), wish=1.0, max_depth=3).resource(type_name)


def body(made: Json) -> bytes:
    """Return a resource as compact JSON in which decimals keep their digits."""
    return _dump(made).encode()


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - test data, not secrets


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _date(random: Random) -> str:
    return (
        f"{random.randrange(1900, 2030)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"
    )


def _instant(random: Random) -> str:
    fraction = random.choice(("", ".5", ".123", ".123456"))
    zone = random.choice(("Z", "+08:00", "-05:30"))
    return f"{_date(random)}T{_VALUES['time'](random)}{fraction}{zone}"


def _contain(made: Json, random: Random) -> None:
    """Put a resource into another, and refer to it (dom-3)."""
    inner = _Maker(random, wish=0.05).resource(random.choice(_containable()))
    inner.pop("meta", None)
    inner["id"] = "inner"
    link = {"url": "http://example.org/fhir/link", "valueReference": {"reference": "#inner"}}
    made["contained"] = [inner]
    made.setdefault("extension", []).append(link)


@cache
def _containable() -> tuple[str, ...]:
    return tuple(
        name
        for name in definitions.resource_types()
        if "contained" in definitions.structure(name).elements
    )


class _Maker:
    """Makes one resource. wish: how likely an optional first-level element is to be there."""

    def __init__(self, random: Random, *, wish: float = 0.35, max_depth: int = 4) -> None:
        self._random = random
        self._wish = wish
        self._max_depth = max_depth

    def resource(self, type_name: str, depth: int = 0) -> Json:
        made: Json = {"resourceType": type_name, "id": _VALUES["id"](self._random)}
        made |= self._object(definitions.structure(type_name).shape, depth, made)
        return made

    def _object(self, shape: Shape, depth: int, made: Json | None = None) -> Json:
        made = {} if made is None else made
        for element in shape.elements.values():
            if element.name in _BARE or element.path in _SERVERS_OWN:
                continue
            if element.is_required or self._wants(element, depth):
                self._put(made, element, shape, depth)
        if shape.path == "Period" and "end" in made:
            made["end"] = "2031-05"  # after every start (per-1)
        if shape.path == "Extension":
            return {"url": made["url"], **self._extension_value(depth)}
        if not set(made) - {"resourceType", "id"} and "resourceType" not in made:
            self._put_something(made, shape, depth)
        if "extension" in shape.elements and depth < 3 and self._lucky(0.06):
            made["extension"] = [self._extension()]
        return made

    def _lucky(self, chance: float) -> bool:
        return self._wish > 0 and self._random.random() < chance

    def _wants(self, element: Element, depth: int) -> bool:
        if depth > self._max_depth:
            return False
        if depth > 1 and all(t.code in _ANY or t.code == "Extension" for t in element.types):
            return False
        # Deeper elements are rarer, or a random resource would never end.
        chance = self._wish if self._wish == 1.0 else self._wish / (1 + depth)
        return self._random.random() < chance

    def _put_something(self, made: Json, shape: Shape, depth: int) -> None:
        """An object needs more than an id (ele-1): add its simplest element."""
        elements = [
            e for e in shape.elements.values() if e.name not in _BARE and e.path not in _SERVERS_OWN
        ]
        simple = [e for e in elements if definitions.is_primitive(e.types[0].code)]
        self._put(made, (simple or elements)[0], shape, depth)

    def _put(self, made: Json, element: Element, shape: Shape, depth: int) -> None:
        member = self._random.choice(shape.choice(element.name))
        count = self._random.choice((1, 1, 2)) if element.is_list and self._wish else 1
        values = [self._value(member, depth) for _ in range(count)]
        made[member.name] = values if element.is_list else values[0]
        if depth and rules.has_sibling(shape, "_" + member.name) and self._lucky(0.05):
            self._extend_primitive(made, member)

    def _extend_primitive(self, made: Json, member: Member) -> None:
        """Give a primitive extensions, with or without its value."""
        beside: Json = {"extension": [self._extension()]}
        if self._lucky(0.3):
            beside = {"id": "e1", **beside}
        if not member.element.is_list:
            made["_" + member.name] = beside
            if self._lucky(0.3):
                del made[member.name]
            return
        values = made[member.name]
        made["_" + member.name] = [None] * (len(values) - 1) + [beside]
        if len(values) > 1 and self._lucky(0.5):
            values[-1] = None

    def _extension(self) -> Json:
        url = f"http://example.org/fhir/StructureDefinition/x{self._random.randrange(9)}"
        if self._lucky(0.2):
            inner = {"url": "inner", "valueString": _VALUES["string"](self._random)}
            return {"url": url, "extension": [inner]}
        return {"url": url, **self._extension_value(4)}

    def _extension_value(self, depth: int) -> Json:
        member = self._random.choice(definitions.structure("Extension").shape.choice("value"))
        return {member.name: self._value(member, depth)}

    def _value(self, member: Member, depth: int) -> Any:
        code = member.type.code
        if code in _ANY:
            return _Maker(self._random, wish=0.0).resource(self._random.choice(_containable()))
        systems = rules.required_codes(member)
        shape = member.shape
        if shape is None:
            return self._primitive(code, systems)
        if code == "Reference":
            return self._reference(member)
        if code in {"Coding", "CodeableConcept"} and systems is not None:
            return self._bound(code, systems)
        return self._object(shape, depth + 1)

    def _primitive(self, code: str, systems: rules.Systems | None) -> Any:
        if systems is not None:
            return self._random.choice(sorted(rules.all_codes(systems)))
        return _VALUES[code](self._random)

    def _bound(self, code: str, systems: rules.Systems) -> Json:
        system = self._random.choice(sorted(s for s, codes in systems.items() if codes))
        coding = {"system": system, "code": self._random.choice(sorted(systems[system]))}
        return coding if code == "Coding" else {"coding": [coding], "text": "文本"}

    def _reference(self, member: Member) -> Json:
        targets = sorted(rules.target_types(member)) or list(definitions.resource_types())
        target = self._random.choice(targets)
        id_ = _VALUES["id"](self._random)
        reference = self._random.choice(
            (
                *[f"{target}/{id_}"] * 6,
                f"{target}/{id_}/_history/2",
                f"https://other.example/fhir/{target}/{id_}",
                _VALUES["uuid"](self._random),
            )
        )
        return self._random.choice(
            (
                {"reference": reference},
                {"reference": reference, "display": _VALUES["string"](self._random)},
                {"reference": f"{target}/{id_}", "type": target},
                {"type": target, "identifier": {"system": "urn:oid:1.2.3", "value": id_}},
                {"display": _VALUES["string"](self._random)},
            )
        )
