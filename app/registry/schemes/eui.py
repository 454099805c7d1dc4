"""EUI-48, EUI-64 (IEEE RA) and Bluetooth random addresses (Core 5.4 Vol 6 B 1.3).

The two sizes are different keys: nothing is expanded with FFFE. Random addresses that rotate are
read but never become keys.
"""

from __future__ import annotations

import re

from app.registry.reading import MARKED, UNCHECKED, Context, Reading

# Octets with one separator throughout, or groups of four digits with dots.
FORM = re.compile(
    r"[0-9A-Fa-f]{2}(?:(:|-)[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}(?:(?:\1[0-9A-Fa-f]{2}){2})?"
    r"|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2,3}"
)
_HEX = re.compile("[0-9A-Fa-f]*")
_RANDOM_TYPES = {
    3: "random-static",
    1: "random-resolvable",
    0: "random-non-resolvable",
    2: "random-reserved",
}


def _read(reading: Reading, text: str, digits: int) -> str | None:
    """Return the lower-case digits of an address of so many, None after an error."""
    body = text[2:] if text[:2] in ("0x", "0X") else text
    if any(separator in body for separator in ":-."):
        reading.confidence = MARKED
        if not FORM.fullmatch(body):
            plain = body.translate(_NO_SEPARATORS)
            if not _HEX.fullmatch(plain):
                reading.fail("illegal-character", "hexadecimal digits are expected")
            elif len(plain) != digits:
                reading.fail("length", f"{digits} hexadecimal digits are expected")
            else:
                reading.fail("format", "octets with one separator are expected")
            return None
        body = body.translate(_NO_SEPARATORS)
    if not _HEX.fullmatch(body):
        reading.fail("illegal-character", "hexadecimal digits are expected")
        return None
    if len(body) != digits:
        reading.fail("length", f"{digits} hexadecimal digits are expected")
        return None
    value = body.lower()
    first = int(value[:2], 16)
    reading.fields.update(oui=value[:6], local=bool(first & 2), multicast=bool(first & 1))
    return value


_NO_SEPARATORS = {ord(c): None for c in ":-."}


def read_48(text: str, context: Context) -> Reading:
    """Read an EUI-48 (MAC address)."""
    reading = Reading("eui48", UNCHECKED)
    value = _read(reading, text, 12)
    return reading.identify("instance", f"eui48:{value}") if value else reading


def read_64(text: str, context: Context) -> Reading:
    """Read an EUI-64, which an IEEE 11073 System-Id is."""
    reading = Reading("eui64", UNCHECKED)
    value = _read(reading, text, 16)
    return reading.identify("instance", f"eui64:{value}") if value else reading


def read_any(text: str, context: Context) -> Reading:
    """Read an address with separators, of whichever size it has."""
    return (read_48 if len(text.translate(_NO_SEPARATORS)) == 12 else read_64)(text, context)


def read_random(text: str, context: Context) -> Reading:
    """Read a Bluetooth random address: the two top bits say how long it can be relied on."""
    reading = Reading("ble-address", UNCHECKED)
    value = _read(reading, text, 12)
    if value is None:
        return reading
    for field in ("oui", "local", "multicast"):  # a random address has no such parts
        del reading.fields[field]
    kind = int(value[0], 16) >> 2
    reading.fields["addressType"] = _RANDOM_TYPES[kind]
    if kind != 3:
        return reading.fail("unstable-identifier", "an address that changes cannot be a key")
    return reading.identify("instance", f"eui48:{value}")


def build(digits: str, separator: str = ":") -> str:
    """Return an address as octets with separators."""
    return separator.join(digits[n : n + 2].upper() for n in range(0, len(digits), 2))
