"""Numbers that an authority assigned: FHIR tokens `system|value` and local `alias:value`.

A system that stands for a registered scheme gives the key of that scheme.
"""

from __future__ import annotations

import re

from app.fhir.systems import canonical_system
from app.registry import systems
from app.registry.reading import MARKED, Context, Reading

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s|]+")
_LONGEST_VALUE = 1024


def assign(reading: Reading, system: str, value: str, context: Context) -> Reading:
    """Set the key of `value` in `system`, by its scheme if the system has one."""
    native = systems.read_value(system, value, context)
    if native is None:
        reading.uri = None
        reading.level = reading.level or "instance"
        return reading.identify(reading.level, systems.local_key(system, value))
    reading.fields.update(native.fields)
    reading.errors.extend(native.errors)
    for code in native.warnings:
        reading.warn(code)
    if native.canonical is not None and native.level is not None:
        reading.identify(native.level, *native.keys)
        reading.uri = native.uri
    return reading


def read_token(text: str, context: Context) -> Reading:
    """Read `system|value` (R4 search.html#token)."""
    reading = Reading("fhir-token", MARKED)
    system, bar, value = text.partition("|")
    plain = canonical_system(system.strip())
    value = value.strip()
    if not bar or not _URI.fullmatch(plain):
        return Reading("unknown").fail("unknown-scheme", "a system is an absolute URI")
    if not value:
        return reading.fail("empty", "there is no value behind the bar", "value")
    if len(value) > _LONGEST_VALUE:
        return reading.fail("length", f"more than {_LONGEST_VALUE} characters", "value")
    if plain != system:
        reading.warn("normalized")
    reading.fields.update(system=plain, value=value)
    return assign(reading, plain, value, context)


def alias_system(alias: str, context: Context) -> str | None:
    """Return the system an alias stands for, None if nobody here knows it."""
    return systems.ALIASES.get(alias) or context.names().aliases.get(alias)


def read_alias(text: str, context: Context) -> Reading:
    """Read `alias:value`, the alias being a NamingSystem of ours or of the site."""
    reading = Reading("alias", MARKED)
    alias, _, value = text.partition(":")
    system = alias_system(alias, context)
    if system is None:
        return reading.fail("unknown-scheme", "nobody here knows this alias", "alias", 0)
    if not value:
        return reading.fail("empty", "there is no value behind the colon", "value")
    reading.fields.update(alias=alias, system=system, value=value)
    return assign(reading, system, value, context)
