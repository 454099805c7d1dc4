"""Device messages as the mapping language sees them: paths, anchors and facts.

Paths (docs/devices.md): `name.name` from the place the formula is asked at, `$.name` from the
payload, `../name` from the object around, `name[0]` one item, `name[*]` all items, `name.*` all
members, `.` the place itself, `@name` what the envelope and the transport say. `@key` is the name
under which a place stands in its object.

paths.py      the places of a payload
functions.py  what formulas may ask of their values
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from app.errors import Invalid
from app.feeds.iot.functions import FUNCTIONS
from app.feeds.iot.messages import Message
from app.feeds.iot.paths import Node, access, parse, places, told, walk
from app.feeds.iot.times import Clock
from app.feeds.iot.vocabulary import Vocabulary
from app.fhir.ids import encode_part
from app.mapping.source import Access, Function, Getter


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


_FACTS: Final = frozenset(
    ("mapping", "channel", "topic", "deviceId", "mac", "manufacturer", "model", "serial")
).union(("patientId", "gateway", "receivedAt", "hub-version", "mapping-digest", "mapping-files"))

_HUB: Final = {
    "hub-version": "hub_version",
    "mapping-digest": "mapping_digest",
    "mapping-files": "mapping_files",
}


class IotSource:
    """The feed as the mapping language sees it."""

    name = "iot"

    def __init__(self) -> None:
        self.functions: Mapping[str, Function] = FUNCTIONS

    def path(self, text: str, at: str | None, trace: bool) -> Access:
        """Compile a path; `@` names are facts about the message, the others places in it."""
        access = _fact(text[1:]) if text.startswith("@") else places(text)
        return told(access, text) if trace else access

    def may_hold(self, anchor: str, other: str) -> bool:
        return True  # anything nests in anything

    def key_of(self, anchor: str, reads: tuple[str, ...]) -> Getter | None:
        """Return None: no result is remembered from message to message."""
        return None

    def anchor(self, text: str) -> Callable[[Any], Iterable[Any]]:
        """Compile an anchor: a path from the payload; `$` is the payload itself."""
        start, steps = parse(text)
        if start == "up":
            raise Invalid("an anchor is a path from the payload")

        def nodes(doc: Document) -> list[Node]:
            return [node for node in walk(doc.root, steps) if node.value is not None]

        return nodes


def _fact(name: str) -> Access:
    if name == "key":
        return access(lambda node, run: node.key, lambda node, run: node)
    if name == "uri":
        return access(lambda node, run: run.doc.uri)
    if name == "messageId":
        return access(lambda node, run: run.doc.message_id)
    if name not in _FACTS and name != "provenance":
        raise Invalid(f"nothing is known as `@{name}`")
    if name == "provenance":
        return access(lambda node, run: run.context.values.get("provenance", True) or None)
    if name in _HUB:
        return access(lambda node, run: run.context.values.get(_HUB[name]))
    return access(lambda node, run: run.doc.facts.get(name))
