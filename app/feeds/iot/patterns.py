"""Messages of a known shape, told by their bytes: nothing is parsed.

A device writes its messages in one way: between the blanks stands the same text every time. That
text is taken from a message whose form is known, as a regular expression with a group for each
blank. What stands in a group can neither end a string nor be escaped, so a message that matches
is the same JSON but for its blanks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from app.errors import YilianError
from app.feeds.iot import messages
from app.feeds.iot.messages import Message
from app.feeds.iot.shapes import (
    DAY_US,
    DIGITS,
    NUMBER,
    PLAIN,
    TEXT,
    TIME,
    Blanks,
    Shape,
    Stamp,
    stamp,
)

_SCALAR: Final = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?|[^\s\[\]{},:"]+', re.DOTALL)
_CLOCK_TEXT: Final = r'"([0-9][0-9T:.,+Z /-]{9,39})"'
_CLOCK_NUMBER: Final = r"([1-9][0-9]{9,12})"
_GROUPS: Final = {
    id(TEXT): f'"({PLAIN})"',
    id(NUMBER): r"(-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?)",
    id(DIGITS): r'("-?[0-9]{1,16}(?:\.[0-9]{1,15})?)"',
}

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """The text of the messages of one shape as one sender writes them.

    texts, times, numbers: the groups of each, in the order of the shape's blanks; of times, those
    that count seconds or milliseconds are in `counted`.
    """

    match: Callable[[str], re.Match[str] | None]
    zone: tzinfo
    texts: tuple[int, ...]
    times: tuple[int, ...]
    counted: frozenset[int]
    numbers: tuple[int, ...]

    def blanks(self, text: str, received_us: int) -> Blanks | None:
        """Return the blanks of a message, None when it has another shape.

        text: the message as Latin-1. Raises Strange when a time is none that is stored as told.
        """
        found = self.match(text)
        if found is None:
            return None
        groups = found.groups()
        stamps: list[Stamp] = []
        for n in self.times:
            known = stamp(int(groups[n]) if n in self.counted else groups[n], self.zone)
            if known is None or known.us > received_us + DAY_US:
                raise Strange
            stamps.append(known)
        return Blanks([groups[n] for n in self.texts], stamps, [groups[n] for n in self.numbers])


class Strange(Exception):
    """A message of a known shape that is left to its mapping."""


def pattern_of(message: Message, shape: Shape, zone: tzinfo) -> Pattern | None:
    """Return the pattern of a message whose blanks are cut out; None for JSON that has none.

    That is: a member twice, a blank that stands outside the message, numbers with exponents.
    """
    text = message.raw.decode("latin-1")
    try:
        value = messages.decode(message.raw)
    except YilianError:
        return None
    spans = [one.span() for one in _SCALAR.finditer(text) if not one[1]]
    paths = list(_scalars(value))
    if len(paths) != len(spans):
        return None
    places = dict(zip(paths, spans, strict=True))
    blanks = list(_blanks(message, shape, enveloped=value.get("envelope") is not None))
    if any(path not in places for path, _ in blanks):
        return None
    pieces: list[str] = []
    orders: dict[str, list[int]] = {"text": [], "time": [], "number": []}
    counted = set()
    end = 0
    order = sorted(range(len(blanks)), key=lambda n: places[blanks[n][0]])
    groups = {n: group for group, n in enumerate(order)}
    for n in order:
        path, mark = blanks[n]
        begin, stop = places[path]
        group = _group(text[begin:stop], path, mark)
        if group is None or not re.fullmatch(group, text[begin:stop]):
            return None
        if group == _CLOCK_NUMBER:
            counted.add(groups[n])
        pieces += re.escape(text[end:begin]), group
        end = stop
    pieces.append(re.escape(text[end:]))
    for n, (_, mark) in enumerate(blanks):
        orders[_KINDS[id(mark)]].append(groups[n])
    match = re.compile("".join(pieces), re.ASCII).fullmatch
    return Pattern(
        match,
        zone,
        tuple(orders["text"]),
        tuple(orders["time"]),
        frozenset(counted),
        tuple(orders["number"]),
    )


_KINDS: Final = {id(TEXT): "text", id(TIME): "time", id(NUMBER): "number", id(DIGITS): "number"}


def _group(text: str, path: _Path, mark: Any) -> str | None:
    """Return what matches a blank like this one."""
    if mark is TIME:
        return _CLOCK_TEXT if text.startswith('"') else _CLOCK_NUMBER
    if path == ("topic",):
        head = text.rpartition("/")[0]
        return f'{re.escape(head)}/({PLAIN})"'
    return _GROUPS[id(mark)]


def _scalars(value: Any, path: _Path = ()) -> Iterator[_Path]:
    """Yield the paths of all that is no object or array, in the order of the text."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _scalars(member, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _scalars(item, (*path, index))
    else:
        yield path


def _blanks(message: Message, shape: Shape, *, enveloped: bool) -> Iterator[tuple[_Path, Any]]:
    """Yield path and mark of each blank, in the order in which the shape has them."""
    if shape.key[2] is None and message.topic is not None:
        yield ("topic",), TEXT
    where = {
        (id(container), key): path
        for container, key, path in _members(message.payload, ("payload",) if enveloped else ())
    }
    for container, key in shape.places:
        yield where[id(container), key], container[key]


def _members(value: Any, path: _Path) -> Iterator[tuple[Any, Any, _Path]]:
    """Yield container, key and path of everything inside a value."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return
    for key, member in items:
        yield value, key, (*path, key)
        yield from _members(member, (*path, key))
