"""Numbers and identifiers of IEEE 11073 medical devices.

IEEE 11073-20601 annex F.8 (FLOAT-Type, SFLOAT-Type): a decimal mantissa and a decimal exponent,
both two's complement, so the value is exact as Decimal. Special mantissas are not values: they say
why there is none, here as a code of http://terminology.hl7.org/CodeSystem/data-absent-reason.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

SFLOAT_SPECIAL: Final = {
    0x07FF: "not-a-number",
    0x0800: "unknown",  # NRes: not at this resolution
    0x07FE: "positive-infinity",
    0x0802: "negative-infinity",
    0x0801: "error",  # reserved
}
FLOAT_SPECIAL: Final = {
    0x007FFFFF: "not-a-number",
    0x00800000: "unknown",
    0x007FFFFE: "positive-infinity",
    0x00800002: "negative-infinity",
    0x00800001: "error",
}

EUI64_SYSTEM: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
BLUETOOTH_SYSTEM: Final = "http://hl7.org/fhir/sid/eui-48/bluetooth"

_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


def sfloat(raw: int) -> Decimal | str:
    """Return the value of a 16 bit SFLOAT, or the reason why it is none."""
    mantissa, exponent = raw & 0x0FFF, raw >> 12
    return SFLOAT_SPECIAL.get(mantissa) or _scaled(_signed(mantissa, 12), _signed(exponent, 4))


def float32(raw: int) -> Decimal | str:
    """Return the value of a 32 bit FLOAT, or the reason why it is none."""
    mantissa, exponent = raw & 0x00FFFFFF, raw >> 24
    return FLOAT_SPECIAL.get(mantissa) or _scaled(_signed(mantissa, 24), _signed(exponent, 8))


def eui64(text: str) -> str | None:
    """Return an EUI-64 as FHIR writes it (00-A0-37-00-00-AB-12-CD), None if it is none."""
    return _octets(text, 16)


def eui48(text: str) -> str | None:
    """Return a Bluetooth address as FHIR writes it (B0-49-5F-00-10-71), None if it is none."""
    return _octets(text, 12)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _scaled(mantissa: int, exponent: int) -> Decimal:
    value = Decimal(mantissa).scaleb(exponent)
    return Decimal(format(value, "f")) if exponent > 0 else value


def _octets(text: str, digits: int) -> str | None:
    plain = re.sub(r"[-:.\s]", "", text)
    if len(plain) != digits or not _HEX.fullmatch(plain):
        return None
    plain = plain.upper()
    return "-".join(plain[at : at + 2] for at in range(0, digits, 2))
