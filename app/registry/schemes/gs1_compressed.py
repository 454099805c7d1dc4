"""The compressed segment of a Digital Link (Digital Link Standard: Compression, release 1.2).

A base64url text is a string of bits: AIs as decimal digits of 4 bits, or one of the hexadecimal
codes below for AIs that often stand together; after each AI its components, digits packed as one
number, text after a 3-bit encoding and a length. Newer texts put EPC binaries in such links too:
those segments are not read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.registry import gs1
from app.registry.bits import BASE64URL, Bits, Ended, number_bits

# Two hexadecimal digits, one of them a letter -> the AIs that follow without their numbers.
_GROUPS: dict[str, tuple[str, ...]] = {
    "0A": ("01", "22"),
    "0B": ("01", "10"),
    "0C": ("01", "21"),
    "0D": ("01", "17"),
    "0E": ("01", "7003"),
    "0F": ("01", "30"),
    "1A": ("01", "10", "21", "17"),
    "1B": ("01", "15"),
    "1C": ("01", "11"),
    "1D": ("01", "16"),
    "1E": ("01", "91"),
    "1F": ("01", "10", "15"),
    **{f"2{hex_}": ("01", f"310{n}") for n, hex_ in enumerate("ABCDEF")},
    **{f"3{hex_}": ("01", f"320{n}") for n, hex_ in enumerate("ABCDEF")},
    "9A": ("8010", "8011"),
    "9B": ("8017", "8019"),
    "9C": ("8018", "8019"),
    "9D": ("414", "254"),
    **{f"A{n}": ("01", f"392{n}") for n in range(10)},
    **{f"C{n}": ("255", f"390{n}") for n in range(10)},
    **{f"C{hex_}": ("255", f"394{n}") for n, hex_ in enumerate("ABCD")},
}
# Where the compression table differs from the parts of the syntax dictionary: one run of digits
# is one number. (kind, fixed length or 0, greatest length)
_JOINED: dict[str, tuple[tuple[str, int, int], ...]] = {
    "423": (("N", 3, 3), ("N", 0, 12)),
    "425": (("N", 3, 3), ("N", 0, 12)),
    "8008": (("N", 8, 8), ("N", 0, 4)),
    "8007": (("X", 0, 24),),
    "8013": (("X", 0, 30),),
}
_LOWER_HEX, _UPPER_HEX = "0123456789abcdef", "0123456789ABCDEF"
_TEXT = {1: (4, _LOWER_HEX), 2: (4, _UPPER_HEX), 3: (6, BASE64URL), 4: (7, None)}


def _components(code: str) -> Sequence[tuple[str, int, int]]:
    """Return how the value of an AI is packed."""
    if code in _JOINED:
        return _JOINED[code]
    out: list[tuple[str, int, int]] = []
    for part in gs1.table()[code].parts:
        kind = "N" if part.kind == "N" else "X"
        fixed = part.high if part.low == part.high else 0
        if out and kind == "N" and fixed and out[-1][0] == "N" and out[-1][1]:
            out[-1] = ("N", out[-1][1] + fixed, out[-1][2] + fixed)
        elif out and kind == "X" and out[-1][0] == "X":
            out[-1] = ("X", 0, out[-1][2] + part.high)
        else:
            out.append((kind, fixed, part.high))
    return out


def unpack(segment: str) -> list[tuple[str, str]] | None:
    """Return the AIs and values of a compressed segment, None if it does not unpack cleanly."""
    bits = Bits.of_base64url(segment)
    out: list[tuple[str, str]] = []
    try:
        while bits.left > 8 or (bits.left and bits.rest()):
            codes = _next_codes(bits)
            if codes is None:
                return None
            out.extend((code, _value(bits, code)) for code in codes)
    except (Ended, KeyError):
        return None
    return out


def _next_codes(bits: Bits) -> tuple[str, ...] | None:
    first = f"{bits.take(8):02X}"
    if not first.isdigit():
        return _GROUPS[first] if first[0] != "F" else _skip_other(bits)
    size = gs1.code_lengths()[first]
    code = first + "".join(str(bits.take(4)) for _ in range(size - 2))
    return (code,) if code in gs1.table() else None


def _skip_other(bits: Bits) -> tuple[str, ...]:
    """Pass over a query parameter of the web site: name in base64url, encoding, length, value."""
    size = (bits.last & 15) << 3 | bits.take(3)
    bits.take(6 * size)
    encoding, length = bits.take(3), bits.take(7)
    _text(bits, encoding, length)
    return ()


def _value(bits: Bits, code: str) -> str:
    out = ""
    for kind, fixed, high in _components(code):
        if kind == "N":
            size = fixed or bits.take(high.bit_length())
            out += _digits(bits, size)
        else:
            encoding = bits.take(3)
            out += _text(bits, encoding, fixed or bits.take(high.bit_length()))
    return out


def _digits(bits: Bits, size: int) -> str:
    """Take `size` digits; zeros in front count, the toolkit's own reader loses them."""
    if not size:
        return ""
    text = str(bits.take(number_bits(size)))
    if len(text) > size:
        raise Ended
    return text.zfill(size)


def _text(bits: Bits, encoding: int, size: int) -> str:
    if encoding == 0:
        return _digits(bits, size)
    width, alphabet = _TEXT[encoding]
    values = [bits.take(width) for _ in range(size)]
    return "".join([chr(v) if alphabet is None else alphabet[v] for v in values])


# ---- the other direction ----


def pack(elements: Iterable[tuple[str, str]]) -> str:
    """Return the compressed segment of AIs and values, each AI by its own number."""
    bits = Bits()
    for code, value in elements:
        for digit in code:
            bits.put(int(digit), 4)
        at = 0
        for kind, fixed, high in _components(code):
            piece = value[at : at + high]
            at += len(piece)
            if kind == "N":
                if not fixed:
                    bits.put(len(piece), high.bit_length())
                if piece:
                    bits.put(int(piece), number_bits(len(piece)))
            else:
                _put_text(bits, piece, fixed, high)
    return bits.base64url()


def _put_text(bits: Bits, piece: str, fixed: int, high: int) -> None:
    if piece.isdigit():
        encoding = 0
    else:
        encoding = next(e for e, (_, a) in _TEXT.items() if a is None or set(piece) <= set(a))
    bits.put(encoding, 3)
    if not fixed:
        bits.put(len(piece), high.bit_length())
    if encoding == 0:
        bits.put(int(piece), number_bits(len(piece)))
        return
    width, alphabet = _TEXT[encoding]
    for c in piece:
        bits.put(ord(c) if alphabet is None else alphabet.index(c), width)
