"""The canonical keys of identifiers in resources, so that a scanned code finds them.

The write path indexes these; the resolver probes the keys of a parsed code.
"""

from __future__ import annotations

from app.fhir.systems import canonical_system
from app.registry import names, systems
from app.registry.parse import parse
from app.registry.reading import MARKED, Context

# A value without a system is only looked up under a key that its own form proves.
_PROVEN = MARKED
_ANY_DAY = "9999-12-31"
_CONTEXT = Context(2000, _ANY_DAY, names.shipped_names)


def canonical_keys(system: str | None, value: str) -> tuple[str, ...]:
    """Return the keys of a FHIR Identifier, coarse to fine; none if it names nothing by itself.

    A system that stands for a registered scheme gives that scheme's keys, if the value is right;
    any other gives `id:system|value`.
    """
    value = value.strip()
    if not value:
        return ()
    if not system:
        parsed = parse(value)
        return tuple(parsed.keys) if parsed.confidence >= _PROVEN else ()
    system = canonical_system(system.strip())
    if system == systems.KEY:
        return (value,)
    native = systems.read_value(system, value, _CONTEXT)
    if native is not None and native.canonical is not None:
        return tuple(native.keys)
    return (systems.local_key(system, value),)


def udi_keys(udi: str) -> tuple[str, ...]:
    """Return the keys of a UDI as printed or scanned (Device.udiCarrier); none if it is not one."""
    return tuple(parse(udi).keys)
