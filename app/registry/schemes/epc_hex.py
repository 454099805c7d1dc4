"""EPC binary encodings as hexadecimal text (EPC Tag Data Standard section 14).

Header 2C-41: filter, partition, company prefix, reference, serial. Headers F0-FB are `epc_plus`.
Knowingly left out: the 64-bit encodings that were withdrawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from app.registry import epc, epc_plus
from app.registry.bits import Bits, Ended
from app.registry.reading import Context, Reading

_HEX = re.compile("[0-9A-Fa-f]+")
_PREFIX_BITS = (40, 37, 34, 30, 27, 24, 20)  # by partition value: prefixes of 12 to 6 digits


class Layout(NamedTuple):
    """One encoding with a partition table.

    item_bits: of company prefix and reference together.
    reference: digits (of a fixed number), number (no leading zeros) or text (7 bits).
    serial: none, number, marked (digits behind a 1) or text (7 bits).
    """

    name: str
    kind: str
    bits: int
    item_bits: int = 0
    reference: str = "digits"
    serial: str = "none"
    serial_bits: int = 0


_SIX_BIT = "six"  # six-bit text that ends with 000000
LAYOUTS = {
    0x2C: Layout("gdti-96", "gdti", 96, 41, serial="number", serial_bits=41),
    0x2D: Layout("gsrn-96", "gsrn", 96, 58),
    0x2E: Layout("gsrnp-96", "gsrnp", 96, 58),
    0x2F: Layout("usdod-96", "usdod", 96, serial="number", serial_bits=36),
    0x30: Layout("sgtin-96", "sgtin", 96, 44, serial="number", serial_bits=38),
    0x31: Layout("sscc-96", "sscc", 96, 58),
    0x32: Layout("sgln-96", "sgln", 96, 41, serial="number", serial_bits=41),
    0x33: Layout("grai-96", "grai", 96, 44, serial="number", serial_bits=38),
    0x34: Layout("giai-96", "giai", 96, 82, reference="number"),
    0x35: Layout("gid-96", "gid", 96),
    0x36: Layout("sgtin-198", "sgtin", 198, 44, serial="text", serial_bits=140),
    0x37: Layout("grai-170", "grai", 170, 44, serial="text", serial_bits=112),
    0x38: Layout("giai-202", "giai", 202, 188, reference="text"),
    0x39: Layout("sgln-195", "sgln", 195, 41, serial="text", serial_bits=140),
    0x3A: Layout("gdti-113", "gdti", 113, 41, serial="marked", serial_bits=58),
    0x3B: Layout("adi-var", "adi", 0),
    0x3C: Layout("cpi-96", "cpi", 96, 51, "number", serial="number", serial_bits=31),
    0x3D: Layout("cpi-var", "cpi", 0, 0, _SIX_BIT, serial="number", serial_bits=40),
    0x3E: Layout("gdti-174", "gdti", 174, 41, serial="text", serial_bits=119),
    0x3F: Layout("sgcn-96", "sgcn", 96, 41, serial="marked", serial_bits=41),
    0x40: Layout("itip-110", "itip", 110, 44, serial="number", serial_bits=38),
    0x41: Layout("itip-212", "itip", 212, 44, serial="text", serial_bits=140),
}
LAYOUTS_BY_NAME = {layout.name: layout for layout in LAYOUTS.values()}


def _hex_digits(bits: int) -> int:
    """Return the digits of an encoding of so many bits, filled to whole 16-bit words."""
    return -(-bits // 16) * 4


def unmarked(text: str, context: Context) -> Reading:
    """Read a text that nobody said is an EPC, if it has the form of one."""
    if not _fits(text):
        return Reading("unknown").fail("unknown-scheme", "not the form of an EPC")
    return read(text, context)


def _fits(text: str) -> bool:
    """Tell whether a text has the form of an EPC: known header and the length that goes with it."""
    if len(text) % 4 or not 16 <= len(text) <= 256 or not _HEX.fullmatch(text):
        return False
    header = int(text[:2], 16)
    layout = LAYOUTS.get(header)
    if layout and layout.bits:
        return len(text) == _hex_digits(layout.bits)
    if layout:
        return len(text) >= 24
    return epc_plus.fits(text, header)


def read(text: str, context: Context) -> Reading:
    """Read an EPC in hexadecimal digits."""
    reading = Reading("epc-hex")
    text = text[2:] if text[:2] in ("0x", "0X") else text
    if not _HEX.fullmatch(text):
        return reading.fail("illegal-character", "hexadecimal digits are expected")
    header = int(text[:2], 16) if len(text) > 1 else -1
    if header not in LAYOUTS and header not in epc_plus.HEADERS:
        return reading.fail("bad-header", "no encoding has this header")
    if len(text) % 2:
        return reading.fail("length", "an odd number of hexadecimal digits")
    bits = Bits.of_hex(text)
    bits.take(8)
    try:
        if header in epc_plus.HEADERS:
            return epc_plus.read(reading, bits, header, context)
        return _read_layout(reading, bits, LAYOUTS[header], context)
    except Ended:
        return reading.fail("length", "shorter than its header says")


# ---- encodings with a partition ----


def _read_layout(reading: Reading, bits: Bits, layout: Layout, context: Context) -> Reading:
    if layout.kind not in epc.KINDS:
        parts = _OTHER[layout.kind](reading, bits)
        _end(reading, bits)
        if not reading.errors:
            epc.read_other(reading, layout.kind, parts)
            reading.fields["epcUri"] = epc.uri(layout.kind, parts)
        return reading
    reading.fields["filter"] = bits.take(3)
    partition = bits.take(3)
    if partition == 7:
        if layout.bits and bits.left < layout.bits - 14:
            raise Ended
        return reading.fail("bad-partition", "partition 7 is not defined", "companyPrefix")
    kind = epc.KINDS[layout.kind]
    prefix_bits, prefix_digits = _PREFIX_BITS[partition], 12 - partition
    parts = [_number(reading, bits.take(prefix_bits), prefix_digits, "companyPrefix")]
    parts.append(_reference(reading, bits, layout, kind, partition))
    parts.extend(_number(reading, bits.take(7), 2, "piece") for _ in range(kind.pieces))
    if layout.serial != "none":
        parts.append(_serial(reading, bits, layout))
    _end(reading, bits)
    if reading.errors:
        return reading
    reading.fields["epcUri"] = epc.uri(layout.kind, parts)
    return epc.finish(reading, epc.elements(reading, kind, parts), context)


def _number(reading: Reading, value: int, digits: int, field: str) -> str:
    """Return a number with leading zeros; it may not have more digits than it should."""
    if value >= 10**digits:
        reading.fail("out-of-range", "the field holds more than its digits allow", field)
    return f"{value:0{digits}d}" if digits else ""


def _reference(reading: Reading, bits: Bits, layout: Layout, kind: epc.Kind, partition: int) -> str:
    width = layout.item_bits - _PREFIX_BITS[partition]
    if layout.reference == "digits":
        return _number(reading, bits.take(width), kind.digits - 12 + partition, "reference")
    if layout.reference == "number":
        return str(bits.take(width))
    return _seven_bit(reading, bits, width) if layout.reference == "text" else _six_bit(bits)


def _serial(reading: Reading, bits: Bits, layout: Layout) -> str:
    if layout.serial == "text":
        return _seven_bit(reading, bits, layout.serial_bits)
    number = str(bits.take(layout.serial_bits))
    if layout.serial == "number":
        return number
    if number[0] != "1":  # TDS 14.3.5: a 1 is written before digits that may begin with 0
        reading.fail("format", "digits without the 1 in front of them", "serial")
    return number[1:]


def _seven_bit(reading: Reading, bits: Bits, width: int) -> str:
    values = [bits.take(7) for _ in range(width // 7)]
    bits.take(width % 7)
    text = "".join(map(chr, values)).rstrip("\0")
    if "\0" in text:
        reading.fail("format", "text behind its end", "serial")
    return text


def _six_bit(bits: Bits) -> str:
    out = ""
    while value := bits.take(6):
        out += chr(value if value > 31 else value + 64)
    return out


def _end(reading: Reading, bits: Bits) -> None:
    if bits.rest():
        reading.fail("length", "more bits than the encoding has")


def _gid(_reading: Reading, bits: Bits) -> list[str]:
    return [str(bits.take(28)), str(bits.take(24)), str(bits.take(36))]


def _usdod(reading: Reading, bits: Bits) -> list[str]:
    reading.fields["filter"] = bits.take(4)
    cage = "".join(chr(bits.take(8)) for _ in range(6)).strip()
    return [cage, str(bits.take(36))]


def _adi(reading: Reading, bits: Bits) -> list[str]:
    reading.fields["filter"] = bits.take(6)
    cage = [bits.take(6) for _ in range(6)]
    text = "".join(chr(v if v > 31 else v + 64) for v in cage).strip()
    return [text, _six_bit(bits), _six_bit(bits)]


_OTHER = {"gid": _gid, "usdod": _usdod, "adi": _adi}


def read_filter(reading: Reading, text: str, layout: Layout) -> None:
    """Read the filter value of a tag URI."""
    limit = {"usdod": 15, "adi": 63}.get(layout.kind, 7)
    if not (text.isascii() and text.isdigit()) or len(text) > 2 or int(text) > limit:
        reading.fail("out-of-range", f"a filter value is 0 to {limit}", "filter")
    else:
        reading.fields["filter"] = int(text)


def check_serial(reading: Reading, layout: Layout, serial: str) -> None:
    """Check that the serial of a tag URI can be written in its bits."""
    if layout.serial == "number" or layout.reference == "number":
        bits = layout.serial_bits or 62
        if not (serial.isascii() and serial.isdigit()):
            reading.fail("illegal-character", "the serial has to be a number", "serial")
        elif len(serial) > 1 and serial[0] == "0":
            reading.fail("leading-zero", "this encoding cannot keep leading zeros", "serial")
        elif len(serial) > 19 or int(serial) >> bits:
            reading.fail("out-of-range", f"the serial is over {bits} bits", "serial")
    elif layout.serial == "text" and len(serial) > layout.serial_bits // 7:
        reading.fail("length", "the serial is longer than its bits", "serial")


# ---- the other direction ----


def build(name: str, filter_value: int, parts: Sequence[str]) -> str:
    """Return the hexadecimal text of a scheme with a partition, from the fields of its EPC."""
    layout = LAYOUTS_BY_NAME[name]
    header = next(h for h, row in LAYOUTS.items() if row is layout)
    kind, bits = epc.KINDS[layout.kind], Bits()
    prefix, partition = parts[0], 12 - len(parts[0])
    bits.put(header, 8)
    bits.put(filter_value, 3)
    bits.put(partition, 3)
    bits.put(int(prefix), _PREFIX_BITS[partition])
    width = layout.item_bits - _PREFIX_BITS[partition]
    if layout.reference == "text":
        _put_seven(bits, parts[1], width)
    else:
        bits.put(int(parts[1] or "0"), width)
    for piece in parts[2 : 2 + kind.pieces]:
        bits.put(int(piece), 7)
    if layout.serial == "text":
        _put_seven(bits, parts[-1], layout.serial_bits)
    elif layout.serial != "none":
        mark = "1" if layout.serial == "marked" else ""
        bits.put(int(mark + parts[-1]), layout.serial_bits)
    return bits.hex().ljust(_hex_digits(layout.bits), "0")


def _put_seven(bits: Bits, text: str, width: int) -> None:
    for c in text:
        bits.put(ord(c), 7)
    bits.put(0, width - 7 * len(text))
