"""Electronic Product Codes and the GS1 keys they stand for (EPC Tag Data Standard, section 7).

An EPC splits a key into company prefix, reference and serial; the indicator or extension digit
moves behind the prefix and the check digit goes. `elements` puts the key together again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.registry import checks, gs1
from app.registry.reading import Context, Reading


class Kind(NamedTuple):
    """One EPC scheme of the GS1 system.

    digits: of prefix and reference together; 0 where the reference is text.
    moved: the first digit of the reference stands before the prefix in the key.
    serial: the AI of the serial; "" where it is written behind the key itself; None: no serial.
    pieces: fields between reference and serial (ITIP: piece and total).
    """

    ai: str
    digits: int
    moved: bool = False
    checked: bool = True
    lead: str = ""
    serial: str | None = None
    pieces: int = 0

    text: bool = False  # the last field is text

    @property
    def fields(self) -> int:
        return 2 + self.pieces + (self.serial is not None)


KINDS = {
    "sgtin": Kind("01", 13, moved=True, serial="21", text=True),
    "sscc": Kind("00", 17, moved=True),
    "sgln": Kind("414", 12, serial="254", text=True),
    "grai": Kind("8003", 12, lead="0", serial="", text=True),
    "giai": Kind("8004", 0, checked=False, text=True),
    "gsrn": Kind("8018", 17),
    "gsrnp": Kind("8017", 17),
    "gdti": Kind("253", 12, serial="", text=True),
    "cpi": Kind("8010", 0, checked=False, serial="8011"),
    "sgcn": Kind("255", 12, serial=""),
    "ginc": Kind("401", 0, checked=False, text=True),
    "gsin": Kind("402", 16),
    "itip": Kind("8006", 13, moved=True, serial="21", pieces=2, text=True),
    "upui": Kind("01", 13, moved=True, serial="235", text=True),
    "pgln": Kind("417", 12),
    "lgtin": Kind("01", 13, moved=True, serial="10", text=True),
}
# Schemes outside the GS1 system: field count and whether each field is a number.
OTHERS: dict[str, tuple[bool, ...]] = {
    "gid": (True, True, True),
    "usdod": (False, True),
    "adi": (False, False, False),
    "bic": (False,),
    "imovn": (True,),
}
_OTHER_TEXT = frozenset(checks.CSET39)
_MAY_BE_EMPTY = ("adi", 1)  # the part number of an aircraft part (TDS 6.3.15)
SHORTEST_PREFIX, LONGEST_PREFIX = 6, 12


def _digits(reading: Reading, text: str, field: str) -> bool:
    if text.isascii() and text.isdigit():
        return True
    if text:
        reading.fail("illegal-character", "digits are expected", field)
    else:
        reading.fail("length", "the field is empty", field)
    return False


def read_prefix(reading: Reading, prefix: str) -> bool:
    """Check a company prefix and put it into the fields."""
    if not _digits(reading, prefix, "companyPrefix"):
        return False
    if not SHORTEST_PREFIX <= len(prefix) <= LONGEST_PREFIX:
        reading.fail("length", "a company prefix has 6 to 12 digits", "companyPrefix")
        return False
    reading.fields["companyPrefix"] = prefix
    return True


def elements(reading: Reading, kind: Kind, parts: Sequence[str]) -> list[gs1.Element]:
    """Return the AIs of an EPC's fields; errors go into `reading`.

    A missing serial (a pattern) leaves the class; `parts` hold decoded text.
    """
    prefix, reference = parts[0], parts[1]
    if not read_prefix(reading, prefix):
        return []
    if kind.digits:
        if not (reference == "" and len(prefix) == kind.digits) and not _digits(
            reading, reference, "reference"
        ):
            return []
        if len(prefix) + len(reference) != kind.digits:
            reading.fail("length", f"prefix and reference have {kind.digits} digits together")
            return []
    cut = 1 if kind.moved else 0
    value = kind.lead + reference[:cut] + prefix + reference[cut:]
    if kind.checked:
        value += checks.gs1(value)
    for piece in parts[2 : 2 + kind.pieces]:
        if not _digits(reading, piece, "piece"):
            return []
        value += piece.zfill(2)
    serial = parts[2 + kind.pieces] if len(parts) > 2 + kind.pieces else None
    if kind.serial == "" and serial is not None:
        value += serial
    out = [gs1.Element(kind.ai, value)]
    # Extension 0 of a location says that there is none (TDS 7.3.4).
    if kind.serial and serial is not None and not (kind.serial == "254" and serial == "0"):
        out.append(gs1.Element(kind.serial, serial))
    return out


def finish(reading: Reading, found: Sequence[gs1.Element], context: Context) -> Reading:
    """Check the AIs like those of any carrier and set the keys."""
    if reading.errors or not found:
        return reading
    for code, value, _ in found:
        ai = gs1.table()[code]
        if len(value) > ai.high:
            reading.fail("length", "longer than its application identifier allows")
    if not reading.errors:
        gs1.read(reading, found, context, primary=found[0].code)
    return reading


def read_other(reading: Reading, name: str, parts: Sequence[str]) -> Reading:
    """Read the fields of a scheme outside the GS1 system; its key is the EPC itself."""
    for n, (part, number) in enumerate(zip(parts, OTHERS[name], strict=True)):
        if number:
            _digits(reading, part, name)
        elif (not part and (name, n) != _MAY_BE_EMPTY) or not _OTHER_TEXT.issuperset(part):
            reading.fail("illegal-character", "upper-case letters and digits are expected", name)
    if not reading.errors:
        reading.identify("instance", f"epc:{name}:{'.'.join(parts)}")
    return reading


_ESCAPED = frozenset('"%&/<>?')  # TDS table A-1: also `#`, which only component parts may hold


def escape(text: str) -> str:
    """Return the text of a field as an EPC URI writes it."""
    if text.isalnum():
        return text
    return "".join(f"%{ord(c):02X}" if c in _ESCAPED or c == "#" else c for c in text)


def uri(name: str, parts: Sequence[str]) -> str:
    """Return the pure identity URI of an EPC."""
    return f"urn:epc:id:{name}:{'.'.join(map(escape, parts))}"
