"""Search parameters as they are written: names with modifiers and chains, values with escapes.

R4 search.html: #modifiers, #chaining, #has, #escaping, #combining.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import Invalid

_SPLIT = {
    mark: re.compile(rf"((?:[^\\{re.escape(mark)}]|\\.|\\$)*)({re.escape(mark)}|$)", re.S)
    for mark in ",|$"
}
_ESCAPED = re.compile(r"\\([,|$\\])")
_HAS = re.compile(r"_has:([A-Za-z]+):([A-Za-z0-9_-]+):(.+)", re.S)


@dataclass(frozen=True, slots=True)
class Name:
    """One parameter's name: `subject:Patient.family` is code, modifier and rest.

    has: (type, reference parameter) of `_has`, whose `rest` is the parameter asked of that type.
    """

    code: str
    modifier: str | None = None
    rest: str | None = None
    has: tuple[str, str] | None = None


def parse_name(text: str) -> Name:
    """Return the parts of a parameter name. Raises Invalid for a broken `_has`."""
    if text.startswith("_has"):
        match = _HAS.fullmatch(text)
        if match is None:
            raise Invalid("_has needs Type:reference:parameter", at="http._has")
        return Name("_has", rest=match[3], has=(match[1], match[2]))
    head, dot, rest = text.partition(".")
    code, colon, modifier = head.partition(":")
    return Name(code, modifier if colon else None, rest if dot else None)


def split(text: str, mark: str) -> list[str]:
    """Split at `mark` where it is not escaped; the escapes stay."""
    if mark not in text:
        return [text]
    if "\\" not in text:
        return text.split(mark)
    parts: list[str] = []
    at = 0
    while True:
        match = _SPLIT[mark].match(text, at)
        if match is None:
            return [*parts, text[at:]]
        parts.append(match[1])
        if not match[2]:
            return parts
        at = match.end()


def unescape(text: str) -> str:
    """Undo `\\,` `\\|` `\\$` and `\\\\`."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def alternatives(text: str) -> list[str]:
    """Return the values of one parameter that are joined by OR, without the empty ones."""
    if "," not in text:
        return [text] if text else []
    return [part for part in split(text, ",") if part]


def token_parts(text: str) -> tuple[str | None, str | None]:
    """Return (system, code) of `s|c`; without a bar system is None, of `s|` code is None."""
    if "\\" not in text:
        before, bar, after = text.partition("|")
        return (before, after or None) if bar else (None, text)
    parts = split(text, "|")
    if len(parts) == 1:
        return None, unescape(parts[0])
    system, code = unescape(parts[0]), unescape("|".join(parts[1:]))
    return system, code or None
