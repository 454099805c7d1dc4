"""Which character set the bytes of an HL7 v2 message are in (MSH-18; HL7 table 0211).

HL7 v2.5.1 section 2.15.9.18, decided on bytes before anything is split: GBK, GB18030, Big5 and
Shift JIS have second bytes that equal `|`, `\\`, `^` and `~`. Labels are compared without case,
blanks and punctuation, so that "GB 18030-2000", "gb18030" and "GB18030-2000" are one.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

import msgspec

from app.errors import Invalid, Issue
from app.feeds.hl7v2 import iso2022

_LF, _ESC = b"\n\x1b"  # numbers: they are found faster than bytes of one

# Sets that ISO 2022 escape sequences reach over a base of one byte a character.
_ISO_2022 = {
    "ISOIR13": "cp932",  # JIS X 0201 Katakana: the one-byte half of Shift JIS
    "ISOIR14": "cp932",
    "ISOIR58": "ascii",
    "ISOIR87": "ascii",
    "ISOIR159": "ascii",
    "ISO2022JP": "ascii",
}

# Of those, the ones whose senders write Shift JIS when they do not write escapes.
_JAPANESE = frozenset(("ISOIR87", "ISOIR159", "ISO2022JP"))

CODECS: dict[str, str] = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    **{f"8859{n}": f"iso8859-{n}" for n in range(1, 17) if n != 12},
    **{f"ISO8859{n}": f"iso8859-{n}" for n in range(1, 17) if n != 12},
    "ISOIR100": "iso8859-1",
    "LATIN1": "iso8859-1",
    "WINDOWS1252": "cp1252",
    "CP1252": "cp1252",
    "UNICODE": "utf-8",  # a byte order mark or NUL bytes decide for UTF-16 before the label counts
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "ISOIR192": "utf-8",
    "GB180302000": "gb18030",
    "GB180302005": "gb18030",
    "GB180302022": "gb18030",
    "GB18030": "gb18030",
    "GB2312": "gb18030",
    "GB231280": "gb18030",
    "GBK": "gb18030",
    "CP936": "gb18030",
    "MS936": "gb18030",
    "WINDOWS936": "gb18030",
    "BIG5": "big5hkscs",
    "BIG5HKSCS": "big5hkscs",
    "CP950": "big5hkscs",
    "KSX1001": "cp949",  # EUC-KR with the characters of its Windows superset
    "KSC5601": "cp949",
    "EUCKR": "cp949",
    "CP949": "cp949",
    "ISOIR149": "cp949",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "CP932": "cp932",
    "WINDOWS31J": "cp932",
    "EUCJP": "euc_jp",
    **_ISO_2022,
}
_WIDE = {
    "UNICODEUTF16": "utf-16-be",
    "UTF16": "utf-16-be",
    "UTF16LE": "utf-16-le",
    "UTF16BE": "utf-16-be",
    "UNICODEUTF32": "utf-32-be",
    "UTF32": "utf-32-be",
}

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_NUL_PATTERNS = (
    (b"M\0\0\0", "utf-32-le"),
    (b"\0\0\0M", "utf-32-be"),
    (b"M\0S\0", "utf-16-le"),
    (b"\0M\0S", "utf-16-be"),
)
# Sets whose second bytes can hide the separators before MSH-18: tried when the plain count fails.
_HIDING = ("gb18030", "big5hkscs", "cp932")

# Labels as most senders spell them, for which no more than this look-up is needed.
_USUAL = {b"UNICODE UTF-8": "utf-8", b"UTF-8": "utf-8", b"GB18030": "gb18030"}

_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32)])
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd-\uffff]")
_LABEL_NOISE = re.compile(r"[^A-Z0-9]")


class Decoded(msgspec.Struct, frozen=True):
    """The text of a message, the Python codec that gave it, and what was doubtful."""

    text: str
    codec: str
    issues: tuple[Issue, ...] = ()


def decode(
    raw: bytes,
    *,
    default_charset: str | None = None,
    fallback: str | None = "GB18030",
    mislabelled: str | None = None,
) -> Decoded:
    """Return the text of one message that begins with MSH or a byte order mark.

    default_charset: what an empty MSH-18 means; None: UTF-8 if valid, else `fallback`.
    fallback: for an empty MSH-18 whose bytes are not UTF-8; None refuses.
    mislabelled: tried, with a warning, when bytes do not fit the declared set; None refuses.

    Control characters and U+FFFD to U+FFFF, which FHIR strings must not hold, are dropped with a
    warning. Raises Invalid (details "charset") for bytes that fit no set allowed here.
    """
    wide = wide_codec(raw)
    if wide is None:
        decoded = _narrow(raw, default_charset, fallback, mislabelled)
        clean = len(raw.translate(None, _CONTROLS)) == len(raw)
        text = decoded.text
        if clean and (text.isascii() or not any(map(text.__contains__, "\ufffd\ufffe\uffff"))):
            return decoded
    else:
        start, codec = wide
        decoded = Decoded(_strictly(raw[start:], codec), codec)
    return _safe(decoded)


def wide_codec(raw: bytes) -> tuple[int, str] | None:
    """Return (bytes to skip, codec) when a byte order mark or NUL bytes tell it, else None."""
    if raw.startswith(b"MSH"):
        return None
    for mark, codec in _MARKS:
        if raw.startswith(mark):
            return (len(mark), codec) if codec != "utf-8" else None
    return next(((0, codec) for nuls, codec in _NUL_PATTERNS if raw.startswith(nuls)), None)


@lru_cache(maxsize=256)
def codec_of(label: str) -> str | None:
    """Return the Python codec of a MSH-18 label, None when the label is not known."""
    key = _key(label)
    return CODECS.get(key) or _WIDE.get(key)


def _key(label: str) -> str:
    return _LABEL_NOISE.sub("", label.upper())


def _narrow(
    raw: bytes, default_charset: str | None, fallback: str | None, mislabelled: str | None
) -> Decoded:
    if raw.startswith(codecs.BOM_UTF8):
        raw = raw.removeprefix(codecs.BOM_UTF8)
        marked = _marked(raw)
        if marked is not None:
            return marked
    end = raw.find(b"\r")
    line, separator = raw[:end], raw[3:4] or b"|"
    label = line.split(separator, 18)[17] if line.count(separator) > 16 else b""
    if label in _USUAL:
        return _declared(raw, _USUAL[label], mislabelled)
    if not label and end > 0 and _LF not in raw and _ESC not in raw and raw.isascii():
        return _undeclared(raw, default_charset, fallback)
    labels = _labels(_msh_line(raw))
    first = labels[0] if labels else ""
    if b"\x1b" in raw and (len(labels) > 1 or _key(first) in _ISO_2022):
        return _code_extension(raw, first)
    if not first:
        return _undeclared(raw, default_charset, fallback)
    codec = codec_of(first)
    if codec is None:
        unknown = _warning("MSH-18 names an unknown character set", "unknown-charset")
        return _undeclared(raw, None, None, unknown)
    if codec in _WIDE.values():
        wrong = _warning("MSH-18 names a wide form of Unicode, the bytes are not", "charset")
        return _undeclared(raw, None, None, wrong)
    if codec == "ascii" and not raw.isascii():
        more = _warning("MSH-18 names a set of seven bits, but there are more", "charset")
        if _key(first) in _JAPANESE:
            return _undeclared(raw, None, "SHIFT-JIS", more)
        return _undeclared(raw, default_charset, fallback, more)
    return _declared(raw, codec, mislabelled)


def _marked(raw: bytes) -> Decoded | None:
    """Return the text behind a mark of UTF-8: like those of UTF-16 it tells more than MSH-18."""
    if b"\x1b" in raw:
        return None
    try:
        return Decoded(raw.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return None


def _declared(raw: bytes, codec: str, mislabelled: str | None) -> Decoded:
    try:
        return Decoded(raw.decode(codec), codec)
    except UnicodeDecodeError as exc:
        other = codec_of(mislabelled) if mislabelled else None
        if other is None:
            raise _refusal(exc, codec) from exc
        wrong = _warning("bytes do not fit MSH-18; read in the sender's fallback set", "charset")
        return Decoded(_strictly(raw, other), other, (wrong,))


def _undeclared(
    raw: bytes, default_charset: str | None, fallback: str | None, *issues: Issue
) -> Decoded:
    default = codec_of(default_charset) if default_charset else None
    if default is not None:
        return Decoded(_strictly(raw, default), default, issues)
    try:
        return Decoded(raw.decode("utf-8"), "utf-8", issues)
    except UnicodeDecodeError as exc:
        other = codec_of(fallback) if fallback else None
        if other is None:
            raise _refusal(exc, "utf-8") from exc
        guess = _warning("no character set is named and the bytes are not UTF-8", "charset")
        return Decoded(_strictly(raw, other), other, (*issues, guess))


def _code_extension(raw: bytes, first: str) -> Decoded:
    codec = (codec_of(first) if first else "ascii") or "ascii"
    try:
        return Decoded(iso2022.decode(raw, codec), codec)
    except UnicodeDecodeError as exc:
        raise _refusal(exc, codec) from exc
    except ValueError as exc:
        raise Invalid(str(exc), at="MSH-18", details="charset") from exc


def _strictly(raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as exc:
        raise _refusal(exc, codec) from exc


def _safe(decoded: Decoded) -> Decoded:
    text, count = _UNSAFE.subn("", decoded.text)
    if not count:
        return decoded
    dropped = _warning(f"{count} control or replacement characters were dropped", "controls", None)
    return Decoded(text, decoded.codec, (*decoded.issues, dropped))


def _msh_line(raw: bytes) -> bytes:
    end = raw.find(b"\r")
    line = raw if end < 0 else raw[:end]
    end = line.find(b"\n")
    return line if end < 0 else line[:end]


def _labels(line: bytes) -> tuple[str, ...]:
    """Return MSH-18's repetitions, counting the separators in the set the line itself names."""
    if len(line) < 6:
        return ()
    fields = line.split(line[3:4], 18)
    label = fields[17] if len(fields) > 17 else b""
    if line.isascii():
        return _repetitions(label, line)
    if label.isascii() and codec_of(label.split(line[5:6])[0].decode("ascii")):
        return _repetitions(label, line)
    for codec in _HIDING:
        try:
            parts = line.decode(codec).split(chr(line[3]), 18)
        except UnicodeDecodeError:
            continue
        if len(parts) > 17 and codec_of(parts[17]) == codec:
            return (parts[17].strip(),)
    return _repetitions(label, line) if label.isascii() else ()


def _repetitions(label: bytes, line: bytes) -> tuple[str, ...]:
    if not label:
        return ()
    return tuple(part.strip() for part in label.decode("ascii").split(chr(line[5])))


def _refusal(exc: UnicodeDecodeError, codec: str) -> Invalid:
    text = f"{exc.end - exc.start} bytes at offset {exc.start} are not valid {codec}"
    return Invalid(text, at="MSH-18", details="charset")


def _warning(text: str, details: str, at: str | None = "MSH-18") -> Issue:
    return Issue("warning", "value", text, at, details)
