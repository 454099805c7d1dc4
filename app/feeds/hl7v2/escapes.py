"""Escape sequences of ER7 text (HL7 v2.5.1 section 2.7, formatted text 2.7.6; 2.7 for `\\P\\`).

Undone once, on the leaf, after splitting. What starts no known sequence stays as it is: losing
the text behind a stray backslash is worse than keeping the backslash. Layout commands become
newlines and blanks; `\\H\\` and `\\N\\` (highlighting) leave nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from app.feeds.hl7v2 import iso2022

Warn = Callable[[str, str], None]  # (text safe to show, stable code)

_LONGEST_SKIP = 100  # blank lines or blanks one layout command may ask for
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd-\uffff]")
_LINE_END = re.compile("\r\n?")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2 of one message."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str | None = None  # from version 2.7

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it was received."""
        return (
            self.component
            + self.repetition
            + self.escape
            + self.subcomponent
            + (self.truncation or "")
        )


def unescape(text: str, delimiters: Delimiters, codec: str, warn: Warn) -> str:
    """Return `text`, one leaf of a message, with its escape sequences undone.

    codec: the Python codec of the message, in which `\\Xhh..\\` gives bytes.
    """
    pattern, letters = _grammar(delimiters)
    out: list[str] = []
    shift: iso2022.Decoder | None = None
    start = 0
    for found in pattern.finditer(text):
        out.append(_plain(text[start : found.start()], delimiters.escape, shift, warn))
        start = found.end()
        kind = found.lastgroup or ""
        body = found[kind]
        if kind == "letter":
            out.append(letters[body])
        elif kind == "hex":
            out.append(_from_hex(found[0], delimiters.escape, codec, warn))
        elif kind == "layout":
            out.append(_layout(body.lower()))
        elif kind == "switch":
            shift = _designation(body, shift, warn)
        else:
            warn("a local escape sequence is kept as it is", "local-escape")
            out.append(found[0])
    out.append(_plain(text[start:], delimiters.escape, shift, warn))
    return "".join(out)


def escape(text: str, delimiters: Delimiters) -> str:
    """Return `text` so that it may stand in a leaf: the inverse of `unescape`."""
    table = {
        delimiters.field: "F",
        delimiters.component: "S",
        delimiters.subcomponent: "T",
        delimiters.repetition: "R",
        delimiters.escape: "E",
        "\n": "X0A",
        "\r": "X0D",
    }
    mark = delimiters.escape
    return text.translate(
        {ord(char): f"{mark}{name}{mark}" for char, name in table.items() if char}
    )


@lru_cache(maxsize=64)
def _grammar(delimiters: Delimiters) -> tuple[re.Pattern[str], dict[str, str]]:
    mark = re.escape(delimiters.escape)
    letters = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "H": "",
        "N": "",
    }
    if delimiters.truncation:
        letters["P"] = delimiters.truncation
    pattern = re.compile(
        rf"{mark}(?P<letter>[{''.join(letters)}]){mark}"
        rf"|(?P<hex>(?:{mark}[Xx](?:[0-9A-Fa-f]{{2}})+{mark})+)"
        rf"|{mark}\.(?P<layout>[Bb][Rr]|[Ff][Ii]|[Nn][Ff]|[Cc][Ee]"
        rf"|(?:[Ss][Pp]|[Ii][Nn]|[Tt][Ii]|[Ss][Kk]) ?[+-]?[0-9]{{0,5}}){mark}"
        rf"|{mark}(?P<switch>C[0-9A-Fa-f]{{4}}|M(?:[0-9A-Fa-f]{{2}}){{2,4}}){mark}"
        rf"|{mark}(?P<local>Z[^{mark}\r\n]*){mark}"
    )
    return pattern, letters


def _layout(command: str) -> str:
    name, number = command[:2], command[2:].strip()
    count = min(abs(int(number)), _LONGEST_SKIP) if number.strip("+-") else 1
    if name == "sp":
        return "\n" * max(count, 1)
    return {"br": "\n", "ce": "\n", "sk": " " * max(count, 1)}.get(name, " ")


def _from_hex(sequences: str, mark: str, codec: str, warn: Warn) -> str:
    """Return the text of one or more `\\Xhh..\\` in a row: a character may span several."""
    digits = "".join(part[1:] for part in sequences.split(mark) if part)
    try:
        text = bytes.fromhex(digits).decode(codec)
    except UnicodeDecodeError:
        warn("bytes of a hexadecimal escape do not fit the character set", "hex-escape")
        return sequences
    return _UNSAFE.sub("", _LINE_END.sub("\n", text))


def _designation(body: str, shift: iso2022.Decoder | None, warn: Warn) -> iso2022.Decoder | None:
    """Return the set that `\\Cxxyy\\` or `\\Mxxyyzz\\` switches to; the old one if not known."""
    name = bytes.fromhex(body[1:]).rstrip(b"\0")
    if name in iso2022.G0:
        return iso2022.G0[name]
    warn("an escape sequence switches to an unknown character set", "charset-switch")
    return shift


def _plain(text: str, mark: str, shift: iso2022.Decoder | None, warn: Warn) -> str:
    if mark in text:
        warn("an escape character starts no known sequence", "stray-escape")
    if shift is None or not text:
        return text
    try:
        return iso2022.decode_run(text.encode("ascii"), shift, None, "ascii")
    except ValueError:
        warn("text does not fit the character set it was switched to", "charset-switch")
        return text
