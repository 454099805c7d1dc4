"""ISO 2022 code extension as HL7 v2 uses it (HL7 v2.5.1 chapter 2, MSH-18, MSH-20 and 2.7.4).

Bytes 0x21 to 0x7E mean what the last escape sequence designated as G0; bytes over 0xA0 what it
designated as G1. Both fall back to the message's default set at each segment end.

Deviation: JIS X 0201 Roman is read as ASCII, because its yen sign stands where HL7 puts `\\`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Decoder = Callable[[bytes], str]


def _high(codec: str, prefix: bytes = b"") -> Decoder:
    """Return a decoder of 7-bit pairs through the 8-bit form that Python knows as `codec`."""

    def decode(pairs: bytes) -> str:
        high = bytes(byte | 0x80 for byte in pairs)
        if prefix:
            high = b"".join(prefix + high[at : at + 2] for at in range(0, len(high), 2))
        return high.decode(codec)

    return decode


def _single(codec: str) -> Decoder:
    return lambda run: run.decode(codec)


_KANJI = _high("euc_jp")
_KATAKANA = _high("shift_jis")

G0: dict[bytes, Decoder | None] = {
    b"(B": None,  # ASCII, ISO IR 6
    b"(J": None,  # JIS X 0201 Roman, ISO IR 14
    b"(I": _KATAKANA,  # JIS X 0201 Katakana, ISO IR 13
    b"$@": _KANJI,  # JIS C 6226-1978
    b"$B": _KANJI,  # JIS X 0208, ISO IR 87
    b"$(B": _KANJI,
    b"$(D": _high("euc_jp", b"\x8f"),  # JIS X 0212, ISO IR 159
    b"$A": _high("gb2312"),  # GB 2312, ISO IR 58
    b"$(A": _high("gb2312"),
    b"$(C": _high("euc_kr"),  # KS X 1001, ISO IR 149
}
G1: dict[bytes, Decoder] = {
    b")I": _single("shift_jis"),
    b"$)A": _single("gb2312"),
    b"$)B": _single("euc_jp"),
    b"$)C": _single("euc_kr"),
    b"-A": _single("iso8859-1"),
    b"-B": _single("iso8859-2"),
    b"-C": _single("iso8859-3"),
    b"-D": _single("iso8859-4"),
    b"-L": _single("iso8859-5"),
    b"-G": _single("iso8859-6"),
    b"-F": _single("iso8859-7"),
    b"-H": _single("iso8859-8"),
    b"-M": _single("iso8859-9"),
    b"-T": _single("tis-620"),
}

_MARK = re.compile(rb"\x1b(\$[()]?[A-Z@]|[()-][A-Za-z])|[\r\n]")
_RUN = re.compile(rb"[\x21-\x7e]+|[\x80-\xff]+|[\x00-\x20\x7f]+")


class UnknownDesignation(ValueError):
    """An escape sequence that names a set not in the tables."""


def decode(raw: bytes, codec: str) -> str:
    """Return the text of `raw`, whose default set is the Python codec `codec`.

    Raises ValueError (UnicodeDecodeError among them) for bytes no designated set explains.
    """
    out: list[str] = []
    g0: Decoder | None = None
    g1: Decoder | None = None
    start = 0
    for mark in _MARK.finditer(raw):
        out.append(decode_run(raw[start : mark.start()], g0, g1, codec))
        start = mark.end()
        name = mark[1]
        if name is None:
            g0 = g1 = None
            start = mark.start()
        elif name in G0:
            g0 = G0[name]
        elif name in G1:
            g1 = G1[name]
        else:
            raise UnknownDesignation("an ISO 2022 escape sequence names an unknown set")
    out.append(decode_run(raw[start:], g0, g1, codec))
    return "".join(out)


def decode_run(run: bytes, g0: Decoder | None, g1: Decoder | None, codec: str) -> str:
    """Return the text of bytes between two escape sequences."""
    if b"\x1b" in run:
        raise UnknownDesignation("an escape byte starts no ISO 2022 sequence")
    if g0 is None and g1 is None:
        return run.decode(codec)
    out = []
    for part in _RUN.findall(run):
        decoder = g0 if 0x20 < part[0] < 0x7F else g1 if part[0] >= 0x80 else None
        out.append(decoder(part) if decoder else part.decode(codec))
    return "".join(out)
