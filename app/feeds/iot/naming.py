"""Functions of the mapping language about numbers of devices, people and places: whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.feeds.iot import ieee11073
from app.feeds.iot.tags import epc_uri
from app.fhir.ids import encode_part


def _identifier(system: str, value: Any) -> dict[str, str] | None:
    text = str(value).strip()
    return {"system": system, "value": text} if text else None


def serial(value: Any, run: Any, manufacturer: Any = None) -> dict[str, str] | None:
    """Return a serial number: of its manufacturer, else a device number of this sender."""
    if manufacturer is None:
        return number_of(value, run, "device")
    return _identifier(f"urn:x-yilian:serial:{encode_part(str(manufacturer))}", value)


# An EUI-64 that says it is one: by its key, or in pairs as on the label.
_EUI64 = re.compile(r"eui64:([0-9A-Fa-f]{16})|((?:[0-9A-Fa-f]{2}[-:]){7}[0-9A-Fa-f]{2})", re.ASCII)
_ALIAS = re.compile(r"([a-z]{2,12}-[a-z0-9]{1,4}):(.+)", re.ASCII)


def number_of(value: Any, run: Any, kind: str) -> dict[str, str] | None:
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


def octets(form: Callable[[str], str | None], system: str) -> Callable[..., Any]:
    """Return the function that gives an identifier of octets, written in their usual form."""

    def identifier(value: Any, _: Any) -> dict[str, str] | None:
        written = form(str(value))
        return {"system": system, "value": written} if written else None

    return identifier


def epc(value: Any, run: Any) -> dict[str, str] | None:
    """Return a tag as its pure identity URI; what is no EPC keeps its own text."""
    text = str(value).strip()
    found = epc_uri(text)
    if found is None:
        return number_of(text, run, "tag")
    return {"system": "urn:ietf:rfc:3986", "value": found}
