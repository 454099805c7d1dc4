"""EPC binary encodings of TDS 2, headers F0 to FB (EPC Tag Data Standard 2.0 section 14.5).

No company prefix and no partition: the AIs themselves, four bits a digit, and behind them possibly
more AIs. Knowingly left out: the `++` forms with a host name.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.registry import epc, gs1
from app.registry.bits import BASE64URL, Bits, Ended, number_bits
from app.registry.reading import Context, Reading

# Header -> its AIs, each as components (how, most characters).
_DIGITS, _TEXT, _COUNT, _DELIMITED = "digits", "text", "count", "delimited"
HEADERS: dict[int, tuple[tuple[str, tuple[tuple[str, int], ...]], ...]] = {
    0xF0: (("8010", ((_DELIMITED, 30),)), ("8011", ((_COUNT, 12),))),
    0xF1: (("8003", ((_DIGITS, 14), (_TEXT, 16))),),
    0xF2: (("414", ((_DIGITS, 13),)), ("254", ((_TEXT, 20),))),
    0xF3: (("8006", ((_DIGITS, 18),)), ("21", ((_TEXT, 20),))),
    0xF4: (("8018", ((_DIGITS, 18),)),),
    0xF5: (("8017", ((_DIGITS, 18),)),),
    0xF6: (("253", ((_DIGITS, 13), (_TEXT, 17))),),
    0xF7: (("01", ((_DIGITS, 14),)), ("21", ((_TEXT, 20),))),
    0xF8: (("255", ((_DIGITS, 13), (_COUNT, 12))),),
    0xF9: (("00", ((_DIGITS, 18),)),),
    0xFA: (("8004", ((_DELIMITED, 30),)),),
    0xFB: (("01", ((_DIGITS, 14),)), ("21", ((_TEXT, 20),))),
}
_DATED = 0xFB  # DSGTIN+: a date before the GTIN
_DATE_TYPES = ("11", "13", "15", "16", "17", "7006", "7007")
_DATE_AIS = frozenset({"11", "12", "13", "15", "16", "17"})
_HEX_UPPER, _HEX_LOWER = "0123456789ABCDEF", "0123456789abcdef"
_CODE_40 = "\0ABCDEFGHIJKLMNOPQRSTUVWXYZ-.:0123456789"


def fits(text: str, header: int) -> bool:
    """Tell whether a text unpacks as the encoding of its header, to the end."""
    if header not in HEADERS:
        return False
    try:
        bits = Bits.of_hex(text)
        bits.take(8)
        toggle = bits.take(1)
        bits.take(3)
        _elements(bits, header)
    except Ended:
        return False
    return bool(toggle) or (bits.left < 16 + 8 and bits.rest() == 0)


def read(reading: Reading, bits: Bits, header: int, context: Context) -> Reading:
    """Read what follows the header; raises Ended when the bits end too soon."""
    more = bits.take(1)
    reading.fields["filter"] = bits.take(3)
    found = _elements(bits, header)
    if more:
        found.extend(_more(reading, bits))
    elif bits.rest():
        reading.fail("length", "more bits than the encoding has")
    return epc.finish(reading, found, context)


def _elements(bits: Bits, header: int) -> list[gs1.Element]:
    out: list[gs1.Element] = []
    dated = _prioritised_date(bits) if header == _DATED else None
    for code, components in HEADERS[header]:
        value = "".join(_COMPONENTS[how](bits, most) for how, most in components)
        if code != "254" or value not in ("", "0"):
            out.append(gs1.Element(code, value))
    if dated:
        out.append(dated)
    return out


def _prioritised_date(bits: Bits) -> gs1.Element:
    kind = bits.take(4)
    if kind >= len(_DATE_TYPES):
        raise Ended
    return gs1.Element(_DATE_TYPES[kind], _date(bits))


def _date(bits: Bits) -> str:
    return f"{bits.take(7):02d}{bits.take(4):02d}{bits.take(5):02d}"


def _decimal(bits: Bits, count: int) -> str:
    values = [bits.take(4) for _ in range(count)]
    if any(v > 9 for v in values):
        raise Ended
    return "".join(map(str, values))


def _integer(bits: Bits, size: int) -> str:
    text = str(bits.take(number_bits(size))) if size else ""
    if len(text) > size:
        raise Ended
    return text.zfill(size)


def _text(bits: Bits, most: int) -> str:
    """Take text of variable length: encoding, length, characters (TDS 14.5.6)."""
    encoding, size = bits.take(3), bits.take(most.bit_length())
    if encoding == 0:
        return _integer(bits, size)
    if encoding == 5:
        return _code_40(bits, size)
    if encoding > 5:
        raise Ended
    width, alphabet = _ALPHABETS[encoding]
    values = [bits.take(width) for _ in range(size)]
    return "".join([chr(v) if alphabet is None else alphabet[v] for v in values])


_ALPHABETS = {1: (4, _HEX_UPPER), 2: (4, _HEX_LOWER), 3: (6, BASE64URL), 4: (7, None)}


def _code_40(bits: Bits, size: int) -> str:
    """Take URN Code 40: three characters in 16 bits, 1600 a + 40 b + c + 1."""
    out = ""
    for _ in range(-(-size // 3)):
        value = bits.take(16) - 1
        if not 0 <= value < 64000:
            raise Ended
        out += _CODE_40[value // 1600] + _CODE_40[value // 40 % 40] + _CODE_40[value % 40]
    return out.rstrip("\0")


def _count(bits: Bits, most: int) -> str:
    return _integer(bits, bits.take(most.bit_length()))


def _delimited(bits: Bits, most: int) -> str:
    """Take digits up to 1111 (the end) or 1110 (text follows) (TDS 14.5.5)."""
    out = ""
    while (value := bits.take(4)) < 10:
        out += str(value)
    if value == 15:
        return out
    if value == 14:
        return out + _text(bits, most)
    raise Ended


_COMPONENTS = {
    _DIGITS: _decimal,
    _TEXT: _text,
    _COUNT: _count,
    _DELIMITED: _delimited,
}


def _more(reading: Reading, bits: Bits) -> Sequence[gs1.Element]:
    """Read the AIs behind the EPC; at the first one of unknown layout the rest is left."""
    out: list[gs1.Element] = []
    ais, lengths = gs1.table(), gs1.code_lengths()
    while bits.rest():
        first = _decimal(bits, 2)
        code = first + _decimal(bits, lengths.get(first, 2) - 2)
        ai = ais.get(code)
        if code in _DATE_AIS:
            out.append(gs1.Element(code, _date(bits)))
        elif ai and len(ai.parts) == 1 and ai.parts[0].kind == "X":
            out.append(gs1.Element(code, _text(bits, ai.high)))
        elif ai and len(ai.parts) == 1 and "csum" in ai.parts[0].rules:
            out.append(gs1.Element(code, _decimal(bits, ai.high)))
        else:
            reading.warn("unverified-check")
            break
    return out


# ---- the other direction ----


def build(header: int, filter_value: int, values: Sequence[str]) -> str:
    """Return the hexadecimal text of a `+` scheme, one value for each of its AIs."""
    bits = Bits()
    bits.put(header, 8)
    bits.put(filter_value, 4)
    for (_code, components), value in zip(HEADERS[header], values, strict=True):
        at = 0
        for how, most in components:
            piece = value[at : at + most]
            at += len(piece)
            _PUTTERS[how](bits, piece, most)
    return bits.hex()


def _put_digits(bits: Bits, piece: str, _most: int) -> None:
    for c in piece:
        bits.put(int(c), 4)


def _put_text(bits: Bits, piece: str, most: int) -> None:
    if piece.isdigit():
        encoding = 0
    else:
        encoding = next(e for e, (_, a) in _ALPHABETS.items() if a is None or set(piece) <= set(a))
    bits.put(encoding, 3)
    bits.put(len(piece), most.bit_length())
    if encoding == 0:
        bits.put(int(piece), number_bits(len(piece)))
        return
    width, alphabet = _ALPHABETS[encoding]
    for c in piece:
        bits.put(ord(c) if alphabet is None else alphabet.index(c), width)


def _put_count(bits: Bits, piece: str, most: int) -> None:
    bits.put(len(piece), most.bit_length())
    if piece:
        bits.put(int(piece), number_bits(len(piece)))


def _put_delimited(bits: Bits, piece: str, most: int) -> None:
    digits = len(piece) - len(piece.lstrip("0123456789"))
    _put_digits(bits, piece[:digits], most)
    if digits == len(piece):
        bits.put(15, 4)
    else:
        bits.put(14, 4)
        _put_text(bits, piece[digits:], most)


_PUTTERS = {
    _DIGITS: _put_digits,
    _TEXT: _put_text,
    _COUNT: _put_count,
    _DELIMITED: _put_delimited,
}
