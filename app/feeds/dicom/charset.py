"""Text of DICOM elements: Specific Character Set (0008,0005) to Unicode.

DICOM PS3.3 C.12.1.1.2 (defined terms), PS3.5 6.1 (code extensions, ISO/IEC 2022), annexes H to K.
The library's own decoding is not used: it leaves parts of the ISO 2022 IR 58 designators in the
text and knows no wrongly declared sets.

Deviation: PS3.5 6.1.2.5.3 resets the designated sets at every delimiter. Files exist that designate
GB 2312 once and not again after "^" or "=", so a set in G1 stays until another one is designated.
Deviation: bytes that cannot be what is declared are read as what they can only be (`decode`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ASCII: Final = "ascii"

# ISO-IR registration number -> codec of the single-byte set (PS3.3 table C.12-2 and C.12-3).
SINGLE_BYTE: Final = {
    6: ASCII,
    13: "shift_jis",
    100: "iso8859-1",
    101: "iso8859-2",
    109: "iso8859-3",
    110: "iso8859-4",
    126: "iso8859-7",
    127: "iso8859-6",
    138: "iso8859-8",
    144: "iso8859-5",
    148: "iso8859-9",
    166: "tis-620",
    192: "utf-8",
    203: "iso8859-15",
}

# Sets that hold a whole value and take no code extension (PS3.3 table C.12-5), and misspellings
# that mean them.
WHOLE: Final = {
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}

_TERM = re.compile(r"ISO[ _-]?(2022)?[ _-]*(?:IR)?[ _-]*(\d{1,3})", re.ASCII)
_HIGH = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Text:
    """A decoded value; `guessed` when the bytes were read as another set than the declared one."""

    value: str
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """What (0008,0005) of a data set or item stands for.

    codec: the one codec of all values, None where ISO/IEC 2022 designators switch sets.
    g1: codec of the bytes from 0x80 before any designator.
    doubtful: nothing, ASCII or Latin-1 was declared, which careless devices do for any set.
    """

    codec: str | None
    g1: str = "iso8859-1"
    doubtful: bool = False


def character_set(terms: Sequence[str]) -> CharacterSet:
    """Return the character set that the values of (0008,0005) declare; unknown terms are ASCII."""
    words = [term.strip().upper() for term in terms]
    for word in words:
        if word in WHOLE:
            return CharacterSet(WHOLE[word])
    found = [_TERM.fullmatch(word) for word in words]
    numbers = [int(match.group(2)) for match in found if match]
    if 192 in numbers:
        return CharacterSet("utf-8")
    extended = len(words) > 1 or any(match and match.group(1) for match in found)
    if extended:
        first = next((_G1_DEFAULT[number] for number in numbers if number in _G1_DEFAULT), None)
        return CharacterSet(None, g1=first or "iso8859-1")
    if numbers and numbers[0] in _MULTI_BYTE:  # a code extension declared without "ISO 2022"
        return CharacterSet(None, g1=_G1_DEFAULT.get(numbers[0], "iso8859-1"))
    codec = SINGLE_BYTE.get(numbers[0], ASCII) if numbers else ASCII
    return CharacterSet(codec, doubtful=codec in (ASCII, "iso8859-1"))


def decode(raw: bytes, charset: CharacterSet, *, name: bool = False) -> Text:
    """Return the text of `raw`; never fails, what no set explains becomes U+FFFD.

    Where the declared set is doubtful, bytes from 0x80 are read as UTF-8 if they are UTF-8, then as
    GB 18030 if every pair is a Han character in common use (`name`: by the stricter rule for person
    names), else as declared. Bytes that the declared set does not contain are tried the same way.
    """
    if charset.codec is None:
        return Text(_iso2022(raw, charset.g1))
    if _HIGH.search(raw) is None and charset.codec != "shift_jis":
        return Text(raw.decode(ASCII, "replace"))
    if charset.doubtful:
        text = _strict(raw, "utf-8") or _han(raw, name=name)
        if text is not None:
            return Text(text, guessed=True)
        return Text(raw.decode("iso8859-1"))
    text = _strict(raw, charset.codec)
    if text is not None:
        return Text(text)
    for codec in ("utf-8", "gb18030"):
        text = _strict(raw, codec)
        if text is not None:
            return Text(text, guessed=True)
    return Text(raw.decode(charset.codec, "replace"))


# ------------------------------------------------------------------ ISO/IEC 2022 code extensions


def _high_bits(raw: bytes) -> bytes:
    return bytes(byte | 0x80 for byte in raw)


def _pairs(prefix: bytes) -> Callable[[bytes], str]:
    """Return the decoder of a 94 x 94 set in G0 through EUC-JP (SS3 `prefix` for JIS X 0212)."""

    def decode_pairs(raw: bytes) -> str:
        high = _high_bits(raw)
        pairs = (prefix + high[at : at + 2] for at in range(0, len(high), 2))
        return b"".join(pairs).decode("euc_jp", "replace")

    return decode_pairs


def _by(codec: str) -> Callable[[bytes], str]:
    return lambda raw: raw.decode(codec, "replace")


# Designator -> decoder of the set it puts into G0 (bytes below 0x80).
_G0: Final[dict[bytes, Callable[[bytes], str]]] = {
    b"(B": _by(ASCII),
    b"(J": _by("shift_jis"),
    b"$B": _pairs(b""),
    b"$@": _pairs(b""),
    b"$(D": _pairs(b"\x8f"),
}

# Designator -> codec of the set it puts into G1 (bytes from 0x80).
_G1: Final = {
    b")I": "shift_jis",
    b"-A": "iso8859-1",
    b"-B": "iso8859-2",
    b"-C": "iso8859-3",
    b"-D": "iso8859-4",
    b"-F": "iso8859-7",
    b"-G": "iso8859-6",
    b"-H": "iso8859-8",
    b"-L": "iso8859-5",
    b"-M": "iso8859-9",
    b"-T": "tis-620",
    b"-b": "iso8859-15",
    b"$)A": "gb18030",
    b"$)C": "cp949",
}

_MULTI_BYTE: Final = frozenset({58, 87, 149, 159})
_G1_DEFAULT: Final = {
    **{number: codec for number, codec in SINGLE_BYTE.items() if number > 6},
    58: "gb18030",
    149: "cp949",
}

_DESIGNATOR = re.compile(rb"\x1b(\$\([A-Z]|\$\)[A-Z]|\$[@AB]|[(\-)][A-Za-z])")
_RUNS = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_CONTROL = re.compile(rb"[\x00-\x20]+")


def _iso2022(raw: bytes, g1: str) -> str:
    g0 = _G0[b"(B"]
    out: list[str] = []
    pieces = _DESIGNATOR.split(raw)
    for index, piece in enumerate(pieces):
        if index % 2:
            g0 = _G0.get(piece, g0)
            g1 = _G1.get(piece, g1)
            continue
        for run in _RUNS.findall(piece):
            out.append(run.decode(g1, "replace") if run[0] & 0x80 else _low(run, g0))
    return "".join(out)


def _low(run: bytes, g0: Callable[[bytes], str]) -> str:
    """Decode bytes below 0x80: controls and spaces are themselves also beside a two-byte set."""
    if g0 is _G0[b"(B"] or g0 is _G0[b"(J"]:
        return g0(run)
    out: list[str] = []
    at = 0
    for gap in _CONTROL.finditer(run):
        out += (g0(run[at : gap.start()]), gap.group().decode(ASCII))
        at = gap.end()
    out.append(g0(run[at:]))
    return "".join(out)


# ------------------------------------------------------------------ what the bytes can only be


def _strict(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


_COMPONENT = re.compile(r"[\^=\\\s.,]+")
_HAN_PUNCTUATION = re.compile("[\u3001-\u3017\uff01-\uff5e\u2014\u2018-\u201d\u2026\u00b7\u2103]")


def _han(raw: bytes, *, name: bool) -> str | None:
    """Return `raw` as GB 18030 if that is what it must be, else None.

    True Latin-1 text has single accented letters between ASCII letters ("Müller") and now and then
    two in a row ("Ibáñez"), which are rare or no Han characters. So a person name has to be Han in
    whole components with no letter beside them, and free text needs mostly characters of GB 2312
    level 1 (the 3,755 in common use).
    """
    text = _strict(raw, "gb18030")
    if text is None:
        return None
    signs = [sign for sign in text if ord(sign) > 0x7F]
    han = [sign for sign in signs if "\u4e00" <= sign <= "\u9fff"]
    if not han or any(sign not in han and not _HAN_PUNCTUATION.match(sign) for sign in signs):
        return None
    common = sum(_level(sign) == 1 for sign in han)
    if name:
        pure = all(
            all(ord(sign) > 0x7F for sign in part) or part.isascii()
            for part in _COMPONENT.split(text)
        )
        return text if pure and (common or all(map(_level, han))) else None
    return text if 2 * common >= len(han) else None


def _level(sign: str) -> int:
    """Return 1 or 2, the level of GB 2312 that holds a Han character, 0 when none does."""
    try:
        row = sign.encode("gb2312")[0]
    except UnicodeEncodeError:
        return 0
    return 1 if row <= 0xD7 else 2
