"""Device messages as the mapping language sees them: JSON paths, anchors and functions.

Paths (docs/devices.md): `name.name` from the place the formula is asked at, `$.name` from the
payload, `../name` from the object around, `name[0]` one item, `name[*]` all items, `name.*` all
members, `.` the place itself, `@name` what the envelope and the transport say. `@key` is the name
under which a place stands in its object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from app.errors import Invalid
from app.feeds.iot import ieee11073, times
from app.feeds.iot.messages import Message
from app.feeds.iot.tags import epc_uri
from app.feeds.iot.times import Clock, Moment
from app.feeds.iot.vocabulary import ABSENT, CATEGORY, Concept, Measured, Vocabulary
from app.feeds.iot.waves import sampled
from app.fhir.ids import RECORD, encode_part, record_key
from app.mapping.source import Access, Function, Getter

UCUM: Final = "http://unitsofmeasure.org"


class Node:
    """A place in a payload."""

    __slots__ = ("children", "key", "made", "up", "value")

    def __init__(self, value: Any, up: Node | None, key: str | int | None = None) -> None:
        self.value = value
        self.up = up
        self.key = key
        self.made: dict[str, Any] | None = None
        self.children: dict[str | int, Node] | None = None

    @property
    def group(self) -> Node:
        return self

    @property
    def place(self) -> str:
        """Where this is in the payload: params[2].val"""
        if self.up is None:
            return "$"
        if isinstance(self.key, int):
            return f"{self.up.place}[{self.key}]"
        outer = self.up.place
        return f"{outer}.{self.key}" if outer != "$" else str(self.key)

    @property
    def raw(self) -> object:
        value = self.value
        return id(value) if isinstance(value, dict | list) else value

    def child(self, key: str | int, value: Any) -> Node:
        """Return the place below, the same one every time (rules meet at places)."""
        if self.children is None:
            self.children = {}
        found = self.children.get(key)
        if found is None:
            found = self.children[key] = Node(value, self, key)
        return found


@dataclass(slots=True)
class Document:
    """One message on its way through a mapping."""

    root: Node
    message: Message
    mapping: str
    vocabulary: Vocabulary
    clock: Clock
    uri: str
    message_id: str | None
    facts: dict[str, Any] = field(default_factory=dict)

    def present(self, bits: Mapping[str, int]) -> int:
        """Return -1: rules look for themselves what is there."""
        return -1

    @property
    def memo_scope(self) -> object:
        return self.mapping

    @property
    def key_parts(self) -> tuple[str, ...]:
        return (self.mapping, self.message_id or self.message.digest[:32])

    def places(self) -> Iterable[str]:
        """Yield the members of the payload, for saying which nobody used."""
        value = self.root.value
        for key, member in value.items() if isinstance(value, dict) else ():
            yield f"{key}[0]" if isinstance(member, list) and member else str(key)


def document(
    message: Message, payload: Any, mapping: str, vocabulary: Vocabulary, zone: tzinfo
) -> Document:
    """Return the message ready for a mapping; `payload` is its content as paths see it."""
    clock = Clock(zone)
    received = clock.moment(message.received_at) if message.received_at is not None else None
    clock = Clock(zone, received)
    device = message.device or {}
    facts = {
        "mapping": mapping,
        "channel": message.channel,
        "topic": message.topic,
        "deviceId": message.topic_device or device.get("id"),
        "mac": device.get("mac"),
        "manufacturer": device.get("manufacturer"),
        "model": device.get("model"),
        "serial": device.get("serial"),
        "patientId": message.patient_id,
        "gateway": message.gateway,
        "receivedAt": received.instant if received else None,
    }
    id_ = message.message_id
    sender = encode_part(message.gateway or mapping)
    return Document(
        Node(payload, None),
        message,
        mapping,
        vocabulary,
        clock,
        f"urn:x-yilian:msg:iot:{sender}#{encode_part(id_ or message.digest[:32])}",
        id_,
        {name: value for name, value in facts.items() if value is not None},
    )


# --------------------------------------------------------------------------------- paths

_STEP = re.compile(r"([^.\[\]/]+)?((?:\[(?:\d+|\*)\])*)")
_INDEX = re.compile(r"\[(\d+|\*)\]")
_FACTS: Final = frozenset(
    ("mapping", "channel", "topic", "deviceId", "mac", "manufacturer", "model", "serial")
).union(("patientId", "gateway", "receivedAt", "hub-version", "mapping-digest", "mapping-files"))

_HUB: Final = {
    "hub-version": "hub_version",
    "mapping-digest": "mapping_digest",
    "mapping-files": "mapping_files",
}

_Steps = tuple[str | int, ...]


class IotSource:
    """The feed as the mapping language sees it."""

    name = "iot"

    def __init__(self) -> None:
        self.functions: Mapping[str, Function] = FUNCTIONS

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        """Compile a path; `@` names are facts about the message, the others places in it."""
        access = _fact(text[1:]) if text.startswith("@") else _places(text)
        return _told(access, text) if trace else access

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return None: no result is remembered from message to message."""
        return None

    def anchor(self, text: str) -> Callable[[Any], Iterable[Any]]:
        """Compile an anchor: a path from the payload; `$` is the payload itself."""
        start, steps = _parse(text)
        if start == "up":
            raise Invalid("an anchor is a path from the payload")

        def nodes(doc: Document) -> list[Node]:
            return [node for node in _walk(doc.root, steps) if node.value is not None]

        return nodes


def _fact(name: str) -> Access:
    if name == "key":
        return _access(lambda node, run: node.key, lambda node, run: node)
    if name == "uri":
        return _access(lambda node, run: run.doc.uri)
    if name == "messageId":
        return _access(lambda node, run: run.doc.message_id)
    if name not in _FACTS and name != "provenance":
        raise Invalid(f"nothing is known as `@{name}`")
    if name == "provenance":
        return _access(lambda node, run: run.context.values.get("provenance", True) or None)
    if name in _HUB:
        return _access(lambda node, run: run.context.values.get(_HUB[name]))
    return _access(lambda node, run: run.doc.facts.get(name))


def _access(one: Getter, node: Getter | None = None) -> Access:
    def many(place: Any, run: Any) -> list[Any]:
        found = one(place, run)
        return [] if found is None else [found]

    def made(place: Any, run: Any) -> Node | None:
        found = one(place, run)
        return None if found is None else Node(found, run.doc.root)

    def nodes(place: Any, run: Any) -> list[Node]:
        found = made(place, run)
        return [] if found is None else [found]

    return Access(one, many, made, nodes)


def _parse(text: str) -> tuple[str, _Steps]:
    """Return where a path starts ("here", "root", or "up" followed by steps) and its steps."""
    ups = 0
    rest = text
    while rest.startswith("../") or rest == "..":
        ups += 1
        rest = rest[3:]
    steps: list[str | int] = [".."] * ups
    start = "up" if ups else "here"
    if rest == "$" or rest.startswith(("$.", "$[")):
        start, rest = "root", rest[1:].removeprefix(".")
    rest = rest.removeprefix(".") if rest != "." else ""
    for part in rest.split(".") if rest else ():
        match = _STEP.fullmatch(part)
        if match is None or not (match.group(1) or match.group(2)):
            raise Invalid(f"`{text}` is not a path")
        if match.group(1):
            steps.append(match.group(1))
        for index in _INDEX.findall(match.group(2)):
            steps.append("[*]" if index == "*" else int(index))
    return start, tuple(steps)


def _places(text: str) -> Access:
    start, steps = _parse(text)
    if start == "here" and len(steps) == 1 and isinstance(steps[0], str) and steps[0] not in _WILD:
        return _member(steps[0])

    def nodes(node: Any, run: Any) -> list[Node]:
        return _walk(run.doc.root if start == "root" else node, steps)

    def node_(node: Any, run: Any) -> Node | None:
        found = nodes(node, run)
        return found[0] if found else None

    def many(node: Any, run: Any) -> list[Any]:
        places = _reach(run.doc.root if start == "root" else node, steps)
        if steps and steps[-1] == "[*]":  # a gap in a series is one of its values
            return [found.value for found in places]
        return [found.value for found in places if _filled(found.value) is not None]

    if "[*]" in steps or "*" in steps:

        def one(node: Any, run: Any) -> Any:
            found = nodes(node, run)
            return found[0].value if found else None

        return Access(one, many, node_, nodes)

    def value(node: Any, run: Any) -> Any:
        found = (run.doc.root if start == "root" else node).value
        if start == "up":
            place = node_(node, run)
            return None if place is None else place.value
        for step in steps:
            if isinstance(step, int):
                found = found[step] if isinstance(found, list) and step < len(found) else None
            else:
                found = found.get(step) if isinstance(found, dict) else None
            if found is None:
                return None
        return _filled(found)

    return Access(value, many, node_, nodes)


_WILD: Final = frozenset(("*", "[*]", ".."))


def _member(name: str) -> Access:
    """The most frequent path: one member of the object the formula is asked at."""

    def one(node: Any, run: Any) -> Any:
        value = node.value
        return _filled(value.get(name)) if isinstance(value, dict) else None

    def many(node: Any, run: Any) -> list[Any]:
        found = one(node, run)
        return [] if found is None else [found]

    def place(node: Any, run: Any) -> Node | None:
        found = one(node, run)
        return None if found is None else node.child(name, found)

    def places(node: Any, run: Any) -> list[Node]:
        found = place(node, run)
        return [] if found is None else [found]

    return Access(one, many, place, places)


def _filled(value: Any) -> Any:
    """Return the value, None for an empty text: devices send "" for nothing."""
    return None if value == "" else value


def _walk(node: Node, steps: _Steps) -> list[Node]:
    """Return the places at the end of a path that hold something."""
    return [place for place in _reach(node, steps) if _filled(place.value) is not None]


def _reach(node: Node, steps: _Steps) -> list[Node]:
    found = [node]
    for step in steps:
        found = [below for place in found for below in _below(place, step)]
    return found


def _below(node: Node, step: str | int) -> Iterable[Node]:
    value = node.value
    if step == "..":
        around = node.up
        while around is not None and isinstance(around.value, list):
            around = around.up
        return () if around is None else (around,)
    if isinstance(value, list):
        if step == "[*]":
            return (node.child(index, item) for index, item in enumerate(value))
        if isinstance(step, int) and step < len(value):
            return (node.child(step, value[step]),)
        return ()
    if not isinstance(value, dict):
        return ()
    if step == "*":
        return (node.child(key, item) for key, item in value.items())
    return (node.child(step, value[step]),) if step in value else ()


def _told(access: Access, text: str) -> Access:
    """Return the access that tells the trace which places it found."""

    def tell(getter: Getter) -> Getter:
        def telling(node: Any, run: Any) -> Any:
            for found in access.nodes(node, run):
                run.trace.read(text if text.startswith("@") else found.place)
            return getter(node, run)

        return telling

    return Access(tell(access.one), tell(access.many), tell(access.node), tell(access.nodes))


# --------------------------------------------------------------------------------- functions


def _moment(run: Any, value: Any, device_now: Any = None) -> Moment | None:
    known = ("moment", str(value), str(device_now))
    if known not in run.memo:
        clock: Clock = run.doc.clock
        if device_now is not None:
            clock = clock.with_device_now(device_now)
        run.memo[known] = clock.moment(value)
    found: Moment | None = run.memo[known]
    return found


def _when(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return the time to store: corrected, or of receipt when there is none."""
    found = _moment(run, value, device_now)
    return found.text if found else None


def _instant(value: Any, run: Any) -> str | None:
    found = _moment(run, value)
    return found.instant if found else None


def _told_time(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return what the device said, where that is not what is stored."""
    found = _moment(run, value, device_now)
    return found.raw if found else None


def _time_fault(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    found = _moment(run, value, device_now)
    return "time-fault" if found and found.fault else None


def _when_given(_: Any, run: Any, value: Any = None, device_now: Any = None) -> str | None:
    """Return the time to store, None when the payload has none."""
    return None if value is None else _when(_, run, value, device_now)


def _span(index: int) -> Callable[..., str | None]:
    """Return the function that gives one end of an interval of two of start, end and duration."""

    def end(_: Any, run: Any, interval: Any) -> str | None:
        if not isinstance(interval, dict):
            return None
        told = interval.get(("start_date_time", "end_date_time")[index])
        if told is not None:
            return _when(_, run, told)
        other = _moment(run, interval.get(("end_date_time", "start_date_time")[index]))
        seconds = _seconds(run, interval.get("duration"))
        if other is None or seconds is None:
            return None
        return times.shifted(other, seconds if index else -seconds).text

    return end


def _seconds(run: Any, duration: Any) -> float | None:
    if not isinstance(duration, dict):
        return None
    number, unit = _decimal(duration.get("value")), run.doc.vocabulary.unit(duration.get("unit"))
    if number is None or unit is None:
        return None
    seconds = run.doc.vocabulary.convert(number, unit, "s")
    return None if seconds is None or abs(seconds) > 10**9 else float(seconds)


def _recorded(_: Any, run: Any) -> str:
    """Return when the message was received; where nobody knows, the latest time it speaks of."""
    if run.doc.clock.received is not None:
        return str(run.doc.clock.received.instant)
    moments = [found for known, found in run.memo.items() if known[0] == "moment" and found]
    latest = max(moments, key=lambda moment: moment.at, default=None)
    return latest.instant if latest else "1970-01-01T00:00:00Z"


def _after(_: Any, run: Any, start: Any, seconds: Any) -> str | None:
    """Return the time `seconds` after `start`."""
    begun, length = _moment(run, start), _decimal(seconds)
    if begun is None or length is None or abs(length) > 10**9:
        return None
    return times.shifted(begun, float(length)).text


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None


def _device_part(run: Any) -> str:
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


def _reading_key(
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
    parts = [_device_part(run), name, moment.utc if moment else run.doc.message.digest[:32]]
    if message is not None:
        parts.append(str(message))
    return {"system": RECORD, "value": record_key(parts)}


def _measured(
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


def _component(
    _: Any, run: Any, code: Any, value: Any = None, unit: Any = None, absent: Any = None
) -> dict[str, Any] | None:
    """Return code and value of a component, also of one that belongs to a panel elsewhere."""
    if code is None:
        return None
    concept = _concept_of(run, code, unit)
    return {"code": _codeable(concept), **_content(run, concept, value, unit, absent)}


def _metric(_: Any, run: Any, number: Any, name: Any = None) -> str | None:
    """Return the MDC number if the reference id agrees with it, else the reference id.

    Numbers in the field are often simply wrong; the name is what the device's maker meant.
    """
    if number is None or name is None:
        return None if number is None and name is None else str(name if number is None else number)
    vocabulary: Vocabulary = run.doc.vocabulary
    known = vocabulary.metric(str(name))
    return str(number) if known in (None, str(number)) else str(name)


def _panel_of(_: Any, run: Any, code: Any) -> str | None:
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


def _quantity(value: Any, run: Any, unit: Any = None, code: Any = None) -> dict[str, Any] | None:
    """Return a Quantity, in the unit that `code` (what is measured) asks for."""
    concept = _concept_of(run, code or "", unit)
    text = None if unit is None else str(unit)
    found = run.doc.vocabulary.measured(value, text, concept)
    return _as_quantity(found) if isinstance(found.value, Decimal) else None


def _concept(value: Any, run: Any, display: Any = None, unit: Any = None) -> dict[str, Any]:
    return _codeable(_concept_of(run, value, unit, display))


def _category(value: Any, run: Any) -> dict[str, Any]:
    return {"coding": [{"system": CATEGORY, "code": str(value)}]}


def _identifier(system: str, value: Any) -> dict[str, str] | None:
    text = str(value).strip()
    return {"system": system, "value": text} if text else None


def _serial(value: Any, run: Any, manufacturer: Any = None) -> dict[str, str] | None:
    """Return a serial number: of its manufacturer, else a device number of this sender."""
    if manufacturer is None:
        return _number_of(value, run, "device")
    return _identifier(f"urn:x-yilian:serial:{encode_part(str(manufacturer))}", value)


# An EUI-64 that says it is one: by its key, or in pairs as on the label.
_EUI64 = re.compile(r"eui64:([0-9A-Fa-f]{16})|((?:[0-9A-Fa-f]{2}[-:]){7}[0-9A-Fa-f]{2})", re.ASCII)
_ALIAS = re.compile(r"([a-z]{2,12}-[a-z0-9]{1,4}):(.+)", re.ASCII)


def _number_of(value: Any, run: Any, kind: str) -> dict[str, str] | None:
    """Return a number of the sender's own (device, patient, staff, place) with its authority.

    Also the forms of scenarios.md: `alias:value`, EPC URIs and other scans stand for themselves.
    """
    if isinstance(value, dict | list | bool) or value is None:
        return None
    known = ("number", kind, str(value))
    found = run.memo.get(known)
    if found is None:
        found = run.memo[known] = _numbered(str(value).strip(), run, kind)
    return dict(found) if found else None


def _numbered(text: str, run: Any, kind: str) -> dict[str, str] | None:
    alias = _ALIAS.fullmatch(text)
    if alias:
        system = f"https://yilian.example/fhir/sid/{alias.group(1)}"
        return {"system": system, "value": alias.group(2)}
    octets = _EUI64.fullmatch(text) if kind == "device" else None
    if octets and (written := ieee11073.eui64(octets[1] or octets[2])):
        return {"system": ieee11073.EUI64_SYSTEM, "value": written}
    if text.startswith("urn:epc:"):
        return {"system": "urn:ietf:rfc:3986", "value": text}
    return _identifier(_authority(run, kind), text)


def _authority(run: Any, kind: str) -> str:
    """Return the system of the sender's own numbers: of its gateway, mapping or facility."""
    known = ("authority", kind)
    if known not in run.memo:
        table = run.context.values["assigners"]
        names = (f"{run.doc.mapping}:{kind}", run.doc.message.gateway, run.doc.mapping)
        name = next((name for name in names if name in table.rows), None)
        system, listed = table.system(name or run.doc.message.gateway, None, None, run.facility)
        if not listed:
            text = "an assigning authority is in no table; its own name is used"
            run.warn(text, None, "unresolved-assigner")
        run.memo[known] = system
    return str(run.memo[known])


def _octets(form: Callable[[str], str | None], system: str) -> Callable[..., Any]:
    def identifier(value: Any, _: Any) -> dict[str, str] | None:
        written = form(str(value))
        return {"system": system, "value": written} if written else None

    return identifier


def _sampled(values: list[Any], run: Any, *args: Any) -> dict[str, Any] | None:
    """Return SampledData: period (ms), unit, then factor, origin and missing indexes.

    Numbers are stored as integers times a factor; what is none is "E".
    """
    return sampled(values, run.doc.vocabulary, *args)


def _at_least(_: Any, __: Any, value: Any, limit: Any = None) -> str | None:
    """Return H when a value has reached a limit."""
    number, least = _decimal(value), _decimal(limit)
    return "H" if number is not None and least is not None and number >= least else None


def _epc(value: Any, run: Any) -> dict[str, str] | None:
    """Return a tag as its pure identity URI; what is no EPC keeps its own text."""
    text = str(value).strip()
    found = epc_uri(text)
    if found is None:
        return _number_of(text, run, "tag")
    return {"system": "urn:ietf:rfc:3986", "value": found}


def _unit_by(_: Any, __: Any, molar: Any = None, mass: Any = None, unit: Any = None) -> str | None:
    """Return the unit of a glucose that stands under the name of its unit."""
    if unit is not None:
        return str(unit)
    return "mmol/L" if molar is not None else "mg/dL" if mass is not None else None


def _beyond(_: Any, __: Any, value: Any, low: Any = None, high: Any = None) -> str | None:
    """Return L or H when a value is strictly outside its limits."""
    number, lower, upper = _decimal(value), _decimal(low), _decimal(high)
    if number is None:
        return None
    if lower is not None and number < lower:
        return "L"
    if upper is not None and number > upper:
        return "H"
    return None


FUNCTIONS: dict[str, Function] = {
    "when": Function(_when, takes="none", type="dateTime", args=(0, 2)),
    "told": Function(_told_time, takes="none", type="string", args=(1, 2)),
    "time_fault": Function(_time_fault, takes="none", type="string", args=(1, 2)),
    "recorded": Function(_recorded, takes="none", type="instant"),
    "after": Function(_after, takes="none", type="dateTime", args=(2, 2)),
    "instant": Function(_instant, type="instant"),
    "reading_key": Function(_reading_key, takes="none", type="Identifier", args=(1, 4)),
    "component": Function(_component, takes="none", args=(1, 4)),
    "device_key": Function(lambda _, run: _device_part(run), takes="none", type="string"),
    "metric": Function(_metric, takes="none", type="string", args=(1, 2)),
    "panel_of": Function(_panel_of, takes="none", type="string", args=(1, 1)),
    "when_given": Function(_when_given, takes="none", type="dateTime", args=(0, 2)),
    "span_start": Function(_span(0), takes="none", type="dateTime", args=(1, 1)),
    "span_end": Function(_span(1), takes="none", type="dateTime", args=(1, 1)),
    "at_least": Function(_at_least, takes="none", type="code", args=(1, 2)),
    "epc": Function(_epc, type="Identifier"),
    "unit_by": Function(_unit_by, takes="none", type="string", args=(1, 3)),
    "member": Function(lambda value, _, name: value.get(name), type="string", args=(1, 1)),
    "measured": Function(_measured, takes="none", args=(1, 5)),
    "quantity": Function(_quantity, type="Quantity", args=(0, 2)),
    "concept": Function(_concept, type="CodeableConcept", args=(0, 2)),
    "category": Function(_category, type="CodeableConcept"),
    "serial": Function(_serial, type="Identifier", args=(0, 1)),
    "number_of": Function(_number_of, type="Identifier", args=(1, 1)),
    "bluetooth": Function(_octets(ieee11073.eui48, ieee11073.BLUETOOTH_SYSTEM), type="Identifier"),
    "eui64": Function(_octets(ieee11073.eui64, ieee11073.EUI64_SYSTEM), type="Identifier"),
    "beyond": Function(_beyond, takes="none", type="code", args=(2, 3)),
    "sampled": Function(_sampled, takes="values", type="SampledData", args=(2, 5)),
}


def present(payload: Any, path: str) -> bool:
    """Whether a payload has something at a path (as in `constants.match`)."""
    _, steps = _parse(path)
    return bool(_walk(Node(payload, None), steps))
