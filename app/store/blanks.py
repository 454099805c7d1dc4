"""Members that differ from known ones in a value: who is meant, how much, when, from where.

Most members that were never met differ from others in one place only, a *blank*: the value of an
identifier or a quantity, the source of a message, a time. What all else comes to is found once, and
how its index rows follow from the blank: search values are asked for with a text in its place that
nobody can look into, or with two numbers or times. So nothing here knows a resource type; rows come
from what makes them else (`entries.py`), and a blank has to keep the rule of its own type.

What is not understood this way is looked at as a whole (`members.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import orjson

from app.errors import Invalid
from app.fhir import definitions, primitives, rules
from app.fhir.dates import bounds
from app.fhir.definitions import Member
from app.fhir.extract_members import FindsValues
from app.fhir.validators import Check, met_internal
from app.store.entries import (
    QTYS,
    UNITS,
    Collector,
    IdentifierKeys,
    Made,
    Make,
    Rows,
    dated,
    identified,
    located,
    measured,
    referred,
)

# What data types call that which differs from one to the next.
_NAMES = b'"value":', b'"source":'
_QUOTE = 34
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*").match
_INFINITE = float("inf")
_MOST_DATES = 64  # a message says one time again and again

Constants = tuple[bytes, ...]
Reads = Callable[[bytes, tzinfo], Any]
Own = tuple[int | None, list[tuple[int, Any]]]  # `Entries.d`, and rows
Fill = Callable[[bytes], Own | None]  # None: the blank is not right


class NotUnderstood(Exception):
    """A member cannot be told by its blanks."""


def cut(text: bytes, start: int) -> tuple[Constants, Sequence[bytes]] | None:
    """Return the text of a member but for its blanks, and these; None: it has none.

    start: of the value, which may be a blank itself. Blanks are JSON without escapes.
    """
    if b"\\" in text:
        return None
    if text[start] == _QUOTE:
        return (), (text[start:],)
    for name in _NAMES:
        at = text.find(name)
        if at >= 0:
            return _cut(text, name, at)
    return None


def _cut(text: bytes, name: bytes, at: int) -> tuple[Constants, Sequence[bytes]] | None:
    """Return a text without what stands behind a name, which stands at a place and may again."""
    constants, blanks = [], []
    end = 0
    while at >= 0:
        start = at + len(name)
        constants.append(text[end:start])
        if text[start] == _QUOTE:
            end = text.index(b'"', start + 1) + 1
        elif number := _NUMBER(text, start):
            end = number.end()
        else:  # an object or a list
            return None
        blanks.append(text[start:end])
        at = text.find(name, end)
    constants.append(text[end:])
    return tuple(constants), blanks


def _joined(constants: Constants, blanks: Sequence[bytes]) -> bytes:
    """Return what was cut."""
    return b"".join(chain(*zip(constants, blanks, strict=False), constants[-1:]))


class Pattern(NamedTuple):
    """What members come to that differ in their blanks alone.

    present, parts, d: as in `members.Piece`. rows, words: that all of them give. makes: number of a
    list of `Entries`, what gives a row for it, and the place of its blank. dates: parameters, and
    the place of their blank. reads: of each blank, gives its value, or None when it is not right.
    keyed: whether codes that are scanned may stand in it.
    """

    present: int
    parts: int
    d: int | None
    rows: Rows
    words: Rows
    makes: Sequence[tuple[int, Make, int]]
    dates: Sequence[tuple[int, int]]
    reads: Sequence[Reads]
    keyed: bool

    def filled(self, blanks: Sequence[bytes], type_name: str, tenant: int, zone: tzinfo) -> Own:
        """Return what a member has for itself. Raises NotUnderstood."""
        values = []
        for read, blank in zip(self.reads, blanks, strict=True):
            value = read(blank, zone)
            if value is None:
                raise NotUnderstood
            values.append(value)
        rows = [(number, make(values[at])) for number, make, at in self.makes]
        if not self.dates:
            return None, rows
        d, more = dated(type_name, tenant, [(p, *values[at]) for p, at in self.dates])
        return d, [*rows, *more]

    def fill(self, type_name: str, tenant: int, zone: tzinfo) -> Fill | None:
        """Return what does as `filled`, of patterns with one blank; None for others."""
        if len(self.reads) != 1 or self.keyed or not (self.makes or self.dates):
            return None
        (read,) = self.reads
        makes = [(number, make) for number, make, _ in self.makes]
        dates = [p for p, _ in self.dates]

        def fill(blank: bytes) -> Own | None:
            value = read(blank, zone)
            if value is None:
                return None
            return None, [(number, make(value)) for number, make in makes]

        def fill_dated(blank: bytes) -> Own | None:
            value = read(blank, zone)
            if value is None:
                return None
            d, rows = dated(type_name, tenant, [(p, *value) for p in dates])
            return d, [*rows, *[(number, make(value)) for number, make in makes]]

        return fill_dated if dates else fill


# --- the types of blanks -------------------------------------------------------------------------


class _Type(NamedTuple):
    """A type that blanks may have: how one is read, and two right ones (`%d`: the place).

    opaque: nobody looks into it; else search values are made of what is read.
    """

    read: Reads
    right: tuple[bytes, bytes]
    opaque: bool = False


def _text(code: str) -> Reads:
    rule = primitives.RULES[code]

    def read(blank: bytes, zone: tzinfo) -> str | None:
        text = blank[1:-1].decode()
        if blank[0] != _QUOTE or '"' in text or "\\" in text:
            return None
        return text if rule(text) else None

    return read


def _date(code: str) -> Reads:
    text_of = _text(code)

    @lru_cache(maxsize=_MOST_DATES)
    def read(blank: bytes, zone: tzinfo) -> tuple[int, int] | None:
        text = text_of(blank, zone)
        try:
            return None if text is None else bounds(text, zone)
        except Invalid:
            return None

    return read


def _number(blank: bytes, zone: tzinfo) -> float | None:
    try:
        number = float(blank)
    except ValueError:
        return None
    return number if -_INFINITE < number < _INFINITE else None


_DAYS = b'"2001-02-03"', b'"2004-05-06"'
_TIMES = b'"2001-02-03T04:05:06Z"', b'"2004-05-06T07:08:09Z"'
_TYPES: Mapping[str, _Type] = {
    "string": _Type(_text("string"), (b'"a"', b'"b"'), opaque=True),
    "uri": _Type(_text("uri"), (b'"urn:a"', b'"urn:b"'), opaque=True),
    "decimal": _Type(_number, (b"%d.5", b"%d.25")),
    "date": _Type(_date("date"), _DAYS),
    "dateTime": _Type(_date("dateTime"), _TIMES),
    "instant": _Type(_date("instant"), _TIMES),
}


class _Unseen:
    """Stands for a text that is handed over, and that nobody can look into (nor hash)."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __eq__(self, other: object) -> bool:
        raise NotUnderstood

    def __bool__(self) -> bool:
        raise NotUnderstood


class _UnseenString(str):
    """The same for who takes nothing but strings."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        raise NotUnderstood


# --- learning ------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What is asked about the members of one name of a resource type."""

    type: str
    name: str
    check: Check
    extract: FindsValues
    tenant: int
    zone: tzinfo
    bases: tuple[str, ...]
    identifier_keys: IdentifierKeys | None


def learnt(asked: Asked, constants: Constants, count: int, start: int) -> Pattern:
    """Return the pattern of members that are cut into these constants and so many blanks.

    start: of the value in their text. Raises NotUnderstood, YilianError.
    """
    marks = [b'"\\u0000%d"' % place for place in range(count)]
    marked = orjson.loads(_joined(constants, marks)[start:] if constants else marks[0])
    member = definitions.structure(asked.type).shape.members[asked.name]
    types: dict[int, _Type] = {}

    def note(leaf: Member, place: int) -> None:
        if rules.required_codes(leaf) is not None or leaf.type.code not in _TYPES:
            raise NotUnderstood
        types[place] = _TYPES[leaf.type.code]

    _filled(member, marked, note)
    if len(types) != count:
        raise NotUnderstood
    try:
        return _Learner(asked, member, marked, types).pattern()
    except (AttributeError, KeyError, TypeError) as exc:  # somebody looked into a text
        raise NotUnderstood from exc


def _filled(member: Member, value: Any, give: Callable[[Member, int], Any]) -> Any:
    """Return a value of a member whose marks are replaced by what is given."""
    if type(value) is str:
        return give(member, int(value[1:])) if value[:1] == "\0" else value
    if type(value) is list:
        return [_filled(member, one, give) for one in value]
    if type(value) is not dict or member.shape is None:
        return value
    members = member.shape.members
    return {
        name: _filled(members[name], one, give) if name in members else one
        for name, one in value.items()
    }


class _Calls:
    """Takes search values as `entries.Collector` does, and keeps them as they are."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        return lambda value: self.all.append((name, value))


class _Learner:
    """Finds what members come to, by two right values of each blank."""

    def __init__(
        self, asked: Asked, member: Member, marked: Any, types: Mapping[int, _Type]
    ) -> None:
        self._asked = asked
        self._member = member
        self._marked = marked
        self._types = types
        self._unseen = {place: _Unseen(place) for place in types}
        # What is read of both values of a blank that is looked into -> its place.
        self._places: dict[tuple[Any, Any], int] = {}
        for place, one in types.items():
            first, second = (one.read(self._right(place, n), asked.zone) for n in (0, 1))
            if type(first) is tuple:
                self._places.update(dict.fromkeys(zip(first, second, strict=True), place))
            elif not one.opaque:
                self._places[first, second] = place

    def pattern(self) -> Pattern:
        asked = self._asked
        found = [self._found(number) for number in (0, 1)]
        if not all(map(self._is_right, (0, 1))) or found[0][0] != found[1][0]:
            raise NotUnderstood
        collector = Collector(asked.type, asked.tenant, asked.bases)
        makes: list[tuple[int, Make, int]] = []
        dates: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for (name, value), other in zip(*[calls for _, calls in found], strict=True):
            blanks = self._compared(name, value, other)
            place = next(iter(blanks.values()), 0)
            if name == "dates":
                dates[bool(blanks)].append((value[0], place))
            if not blanks:
                getattr(collector, name)(value)
            elif name != "dates":
                made = _PARTS[name, tuple(blanks)](asked, value)
                makes += [(number, make, place) for number, make in made.makes]
                collector.rows += made.rows
                collector.words += made.words
        if all(dates.values()):  # one decides what becomes of the other
            raise NotUnderstood
        d = collector.finish(self._resource(self._opaque), None)
        rows, words = collector.rows, collector.words
        reads = [self._types[place].read for place in sorted(self._types)]
        present, parts = found[0][0]
        return Pattern(present, parts, d, rows, words, makes, dates[True], reads, self._is_keyed())

    def _found(self, number: int) -> tuple[tuple[int, int], list[tuple[str, Any]]]:
        """Return presence and search values, with the first or second values of the blanks."""

        def give(leaf: Member, place: int) -> Any:
            if self._types[place].opaque:
                return self._unseen[place]
            return orjson.loads(self._right(place, number))

        calls = _Calls()
        present = self._asked.extract(self._resource(give), self._asked.zone, calls)
        return present, calls.all

    def _is_right(self, number: int) -> bool:
        resource = self._resource(lambda _, place: orjson.loads(self._right(place, number)))
        return self._asked.check(resource[self._asked.name]) and not met_internal()

    def _is_keyed(self) -> bool:
        """Say whether somebody looks into the member for identifiers that are scanned."""
        keys = self._asked.identifier_keys
        resource = self._resource(lambda leaf, place: _UnseenString())
        try:
            return keys is not None and any(True for _ in keys(self._asked.type, resource))
        except NotUnderstood:
            return True

    def _compared(self, name: str, value: Any, other: tuple[str, Any]) -> dict[int, int]:
        """Return the place of the blank that parts of a search value are, by their number."""
        if name != other[0] or type(value) is not tuple:
            if (name, value) != other:
                raise NotUnderstood
            return {}
        found = {}
        for at, (one, two) in enumerate(zip(value, other[1], strict=True)):
            if isinstance(one, _Unseen):
                found[at] = one.place
            elif one != two:
                found[at] = self._places[one, two]
        if len(set(found.values())) > 1:
            raise NotUnderstood
        return found

    def _right(self, place: int, number: int) -> bytes:
        return self._types[place].right[number].replace(b"%d", b"%d" % (place + 1))

    def _resource(self, give: Callable[[Member, int], Any]) -> dict[str, Any]:
        return {self._asked.name: _filled(self._member, self._marked, give)}

    def _opaque(self, leaf: Member, place: int) -> _Unseen:
        return self._unseen[place]


# --- what a search value gives but for its blank -------------------------------------------------


def _quantity(asked: Asked, value: tuple[Any, ...]) -> Made:
    """A comparator leaves one side open."""
    p, system, code, unit, low, high = value
    word = measured(asked.tenant, p, system, code, unit)
    p, number = word[:2]

    def make(x: float) -> tuple[int, int, float, float]:
        return p, number, low if low == -_INFINITE else x, high if high == _INFINITE else x

    return Made([(QTYS, make)], (), [(UNITS, word)])


# (search value, which parts of it are the blank) -> what gives it but for the blank.
_PARTS: Mapping[tuple[str, tuple[int, ...]], Callable[[Asked, Any], Made]] = {
    ("identifiers", (2,)): lambda to, v: identified(to.tenant, v[0], v[1], v[3], v[4]),
    ("reference_identifiers", (2,)): lambda to, v: referred(to.tenant, v[0], v[1]),
    ("uris", (1,)): lambda to, v: located(to.type, to.tenant, v[0]),
    **dict.fromkeys(
        [("quantities", (4, 5)), ("quantities", (4,)), ("quantities", (5,))], _quantity
    ),
}
