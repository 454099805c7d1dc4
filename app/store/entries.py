"""Index entries of one resource: what the write path stores beside the body.

`entries_of` needs no database: everything that can be hashed is hashed here (in an HTTP worker),
so that the one writer only resolves references. Layout: `tables.py`, `keys.py`. Composite
parameters have no rows: their components' rows find the candidates and the body decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache, partial
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import msgspec

from app.fhir import definitions, searchparams
from app.fhir.extract import Extractor, Values, handing_over
from app.fhir.searchpaths import Get, Step
from app.fhir.strings import fold, pinyin
from app.store import keys

D_MISSING = -(1 << 63) + 1  # no primary date: sorts before every date, after all in descending
LONG_US = 366 * 86_400 * 1_000_000
LONG = 1 << 30  # added to `dt.p` of an interval longer than a year
POSITION = 1  # `qty.u` of a geographic position: lo is the latitude, hi the longitude
PINYIN = 1 << 29  # added to `str.p` of a Chinese name's pinyin
_NAME_MAX = 50  # characters of a name that are spelled
CHUNK = 1 << 28  # added to `str.p` of the parts of a long string
EXACT = "\x01"
CUT = "\x02"
STRING_MAX = 200  # characters of a string in one index row; PostgreSQL limits their size
_LONG_BEFORE_FOLDING = STRING_MAX // 18  # NFKD makes up to 18 characters of one
# The digits of a digest, which no folded text contains.
_CONTROLS = "".join(map(chr, (*range(3, 9), *range(14, 24))))
_DIGITS = str.maketrans("0123456789abcdef", _CONTROLS)

# One row more for the commonest clinical query: (reference parameter, token parameter).
PAIRS: Mapping[str, tuple[str, str]] = {"Observation": ("patient", "code")}

# meta.source is unique per message and never searched by prefix: no ordered row for it.
UNORDERED = frozenset({"_source"})

_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?")

_first = itemgetter(0)

IdentifierKeys = Callable[[str, Mapping[str, Any]], Iterable[str]]
Rows = Sequence[tuple[int, Any]]  # number of a list of `Entries`, and a row for it
Make = Callable[[Any], Any]
SELF = ""


class Link(NamedTuple):
    """A link that a resource states.

    kind: its number; source, target: `SELF`, the text of a reference, or a canonical key;
    low, high: when it holds, microseconds since 1970, half open.
    """

    kind: int
    source: str
    target: str
    low: int
    high: int


class LinkRules(Protocol):
    """Knows what resources state of each other."""

    def states(self, type_name: str, names: Collection[str] | None = None) -> bool:
        """Say whether resources of a type state any link at all; names: such with these members."""
        ...

    def links_of(self, type_name: str, resource: Mapping[str, Any], zone: tzinfo) -> Iterable[Link]:
        """Return the links that a resource states."""
        ...


class Entries(msgspec.Struct, array_like=True, gc=False):
    """Everything the write path puts into the index for one version of one resource.

    Without names on the wire: most of what passes between the processes of a hub are these.

    d: place in the order of the type; have: presence bits; keys: finished `ix.k`;
    refs: (p, type, id) of local targets; urls: (p, url) of all other references;
    pair: token keys that are combined with the patient (`PAIRS`);
    strs: (p, v); qtys: (p, unit number, low, high); dts: (p, low, high);
    codes: (p, code, system, k); texts: (p, v, k); units: (p, number, system, code, unit);
    idents: canonical identifier keys; links: what it links, local references as Type/id.
    """

    d: int
    have: int
    keys: list[int] = []
    refs: list[tuple[int, str, str]] = []
    urls: list[tuple[int, str]] = []
    pair: list[int] = []
    strs: list[tuple[int, str]] = []
    qtys: list[tuple[int, int, float, float]] = []
    dts: list[tuple[int, int, int]] = []
    codes: list[tuple[int, str, str, int]] = []
    texts: list[tuple[int, str, int]] = []
    units: list[tuple[int, int, str, str, str]] = []
    idents: list[int] = []
    links: list[Link] = []


def string_value(text: str) -> str:
    """Return `str.v`: folded, separator, as written.

    What is longer than an index row may hold is cut, with a digest of the whole in place of the
    rest: so `:exact` is exact. The rows of `chunks` say where else `:contains` has to look.
    """
    return f"{cut(fold(text))}{EXACT}{cut(text)}"


def cut(text: str) -> str:
    """Return a text as an index row holds it."""
    if len(text) <= STRING_MAX:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[:STRING_MAX]}{CUT}{digest.translate(_DIGITS)}"


def chunks(folded: str) -> Iterator[str]:
    """Yield the parts of a long text, overlapping by half, so that each run of `STRING_MAX`
    characters stands whole in one of them; the last one ends with the separator.

    Rows rather than reading bodies: what a row decides also holds inside OR, NOT and chains, and
    only texts that are long pay for them, twice their size.
    """
    size = len(folded)
    if size > STRING_MAX:
        for start in range(0, size - STRING_MAX, STRING_MAX):
            end = start + 2 * STRING_MAX
            yield folded[start:end] + (EXACT if end >= size else "")


def default_length(low: int) -> int:
    """Return the length in microseconds that `d` alone stands for: no `dt` row is needed then."""
    return 1_000_000 if low % 1_000_000 == 0 else 1_000


@lru_cache(maxsize=8192)
def local_reference(text: str, bases: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """Return (type, id) when a Reference.reference names a resource of this server.

    The resources of one change set name each other again and again, hence the cache.
    """
    for base in bases:
        if text.startswith(base):
            text = text[len(base) :]
            break
    match = _LOCAL.fullmatch(text)
    return (match[1], match[2]) if match else None


@lru_cache(maxsize=256)
def owner_params(type_name: str) -> Mapping[int, int]:
    """Return the reference parameters whose Patient target is the `s` of a type's resources.

    Each with the place of its element in the definition: of several patients the first counts, in
    whatever order the references come.
    """
    table = searchparams.params(type_name)
    members = list(definitions.structure(type_name).shape.members)
    found = {}
    for code in definitions.compartment("Patient").get(type_name, ()):
        param = table.get(code)
        while param is not None and param.narrows is not None:
            param = param.narrows[0]
        if param is not None and param.type == "reference":
            steps = [location.steps[0] for location in param.locations]
            found[param.number] = min(
                (members.index(step.name) for step in steps if isinstance(step, Get)), default=-1
            )
    return found


@lru_cache(maxsize=256)
def _unordered(type_name: str) -> frozenset[int]:
    table = searchparams.params(type_name)
    return frozenset(table[code].number for code in UNORDERED if code in table)


@lru_cache(maxsize=256)
def pair_params(type_name: str) -> tuple[int, int]:
    """Return the parameter numbers (reference, token) of the type's combined key, or zeros."""
    if type_name not in PAIRS:
        return 0, 0
    table = searchparams.params(type_name)
    reference, token = (table[code] for code in PAIRS[type_name])
    while reference.narrows is not None:
        reference = reference.narrows[0]
    return reference.number, token.number


def entries_of(
    type_name: str,
    resource: Mapping[str, Any],
    *,
    tenant: int,
    zone: tzinfo,
    bases: tuple[str, ...] = (),
    identifier_keys: IdentifierKeys | None = None,
    link_rules: LinkRules | None = None,
    extract: Extractor | None = None,
) -> Entries:
    """Return the index entries of a valid resource; `extract` leaves out some parameters."""
    found = Collector(type_name, tenant, bases)
    if extract is None:
        present = handing_over(type_name)(resource, zone, found)
    else:
        values = extract(resource, zone)
        present = values.present
        for name in _KINDS:
            take = getattr(found, name)
            for value in getattr(values, name):
                take(value)
    d = found.finish(resource, identifier_keys)
    if d is None:
        d = undated(type_name)
    entries = Entries(d, present, *together([*found.rows, *found.words]))
    entries.keys.append(keys.of_type(tenant, definitions.type_number(type_name)))
    if link_rules is not None and link_rules.states(type_name):
        entries.links = links(type_name, resource, link_rules, zone=zone, bases=bases)
    return entries


def undated(type_name: str) -> int:
    """Return `Entries.d` of a resource without the date that orders its type."""
    return 0 if searchparams.primary_date(type_name) is None else D_MISSING


def together(rows: Iterable[tuple[int, Any]]) -> list[list[Any]]:
    """Return the lists of `Entries` that rows (number of the list, row) belong to."""
    lists = no_rows()
    for number, row in rows:
        lists[number].append(row)
    return lists


def no_rows() -> list[list[Any]]:
    """Return the lists of `Entries`, empty."""
    return [[] for _ in _LISTS]


# The lists of `Entries` that search values give rows for, by number.
_LISTS = tuple(name for name in Entries.__struct_fields__ if name not in ("d", "have", "links"))
_KEYS, _REFS, _URLS, _PAIR, _STRS, _QTYS, _DTS, _CODES, _TEXTS, _UNITS, _IDENTS = range(len(_LISTS))
KEYS, REFS, URLS, QTYS = _KEYS, _REFS, _URLS, _QTYS
CODES, UNITS, IDENTS = _CODES, _UNITS, _IDENTS
_KINDS = tuple(name for name in Values.__struct_fields__ if name != "present")


class Collector:
    """Makes index rows of search values as they are found.

    The methods have the names of the lists of `Values` and take their items, `finish` does what
    needs several of them. rows: number of a list of `Entries`, and a row for it; words: the same of
    dictionary rows.
    """

    _texts: list[tuple[int, str]] | None = None
    _dates: list[tuple[int, int, int]] | None = None
    _names: list[tuple[int, str]] | None = None

    def __init__(self, type_name: str, tenant: int, bases: tuple[str, ...]) -> None:
        self.rows: list[tuple[int, Any]] = []
        self.words: list[tuple[int, Any]] = []
        self._add = self.rows.append
        self._type = type_name
        self._tenant = tenant
        self._scope = tenant << 32
        self._bases = bases
        self._pair = pair_params(type_name)[1]

    def finish(
        self, resource: Mapping[str, Any], identifier_keys: IdentifierKeys | None
    ) -> int | None:
        """Add what follows from several values; return `Entries.d`, None without such a date.

        resource: what the values were found in, which may be some members of a resource.
        """
        if self._texts:
            self._join_texts(self._texts)
        if self._names:
            spelled = _spelled(self._scope, self._names, self._type, resource)
            self.rows += [(_STRS, row) for row in spelled]
        if identifier_keys is not None:
            for key in identifier_keys(self._type, resource):
                self._add((_IDENTS, keys.canonical(self._tenant, key)))
        if not self._dates:
            return None
        d, rows = dated(self._type, self._tenant, self._dates)
        self.rows += rows
        return d

    def tokens(self, value: tuple[int, str | None, str]) -> None:
        p, system, code = value
        row = _coded(self._tenant, p, system, code)
        key = row[3]
        self._add((_KEYS, key))
        self.words.append((_CODES, row))
        if p == self._pair:
            self._add((_PAIR, key))

    def identifiers(self, value: tuple[int, str | None, str, str | None, str | None]) -> None:
        p, system, number, type_system, type_code = value
        self._made(identified(self._tenant, p, system, type_system, type_code), number)

    def texts(self, value: tuple[int, str]) -> None:
        if self._texts is None:
            self._texts = []
        self._texts.append(value)

    def strings(self, value: tuple[int, str]) -> None:
        p, text = value
        p_scoped = self._scope | p
        self._add((_STRS, (p_scoped, string_value(text))))
        if len(text) > _LONG_BEFORE_FOLDING:
            self.rows += [(_STRS, (p_scoped | CHUNK, part)) for part in chunks(fold(text))]
        if not text.isascii():
            if self._names is None:
                self._names = []
            self._names.append(value)

    def references(self, value: tuple[int, str, str | None]) -> None:
        p, text, _ = value
        local = local_reference(text, self._bases)
        self._add((_URLS, (p, text)) if local is None else (_REFS, (p, *local)))

    def canonicals(self, value: tuple[int, str]) -> None:
        p, url = value
        self._add((_KEYS, keys.uri(self._tenant, p, url)))
        bare, bar, _ = url.partition("|")
        if bar:
            self._add((_KEYS, keys.uri(self._tenant, p, bare)))

    def reference_identifiers(self, value: tuple[int, str | None, str]) -> None:
        p, system, number = value
        self._made(referred(self._tenant, p, system), number)

    def uris(self, value: tuple[int, str]) -> None:
        p, uri = value
        self._made(located(self._type, self._tenant, p), uri)

    def dates(self, value: tuple[int, int, int]) -> None:
        if self._dates is None:
            self._dates = []
        self._dates.append(value)

    def numbers(self, value: tuple[int, float, float]) -> None:
        p, low, high = value
        self._add((_QTYS, (self._scope | p, 0, low, high)))

    def quantities(
        self, value: tuple[int, str | None, str | None, str | None, float, float]
    ) -> None:
        p, system, code, unit, low, high = value
        word = measured(self._tenant, p, system, code, unit)
        self._add((_QTYS, (*word[:2], low, high)))
        self.words.append((_UNITS, word))

    def positions(self, value: tuple[int, float, float]) -> None:
        p, lat, long = value
        self._add((_QTYS, (self._scope | p, POSITION, lat, long)))

    def posted(self, p: int) -> None:
        self._add((_KEYS, keys.present(self._tenant, p)))

    def composites(self, value: tuple[Any, ...]) -> None:
        """Composites have no rows."""

    def _made(self, made: Made, value: str) -> None:
        self.rows += made.rows
        self.rows += [(number, make(value)) for number, make in made.makes]
        self.words += made.words

    def _join_texts(self, texts: Iterable[tuple[int, str]]) -> None:
        """Note under which keys of this resource a display text can be found (`:text`)."""
        codes = [row for number, row in self.words if number == _CODES]
        known = set()
        for p, text in texts:
            folded, number = _display(text), self._scope | p
            found = [row[3] for row in codes if row[0] == number and row[3]]
            if not found:  # text alone, without any coding
                found = [keys.text(self._tenant, p, folded)]
                self._add((_KEYS, found[0]))
            known.update([(number, folded, key) for key in found])
        self.words += [(_TEXTS, row) for row in known]  # most texts are the display of their coding


def dated(
    type_name: str, tenant: int, values: Sequence[tuple[int, int, int]]
) -> tuple[int | None, Rows]:
    """Return `Entries.d` that dates give, None without the one that counts, and their rows."""
    primary = searchparams.primary_date(type_name)
    p_of_d = primary.number if primary is not None else 0
    own = [(low, high) for p, low, high in values if p == p_of_d]
    d = None
    if own:
        low, high = min(own, key=_first)
        d = 2 * low + (len(own) > 1 or high - low != default_length(low))
    rows = []
    for p, low, high in values:
        if p != p_of_d or d is None:
            long = high - low > LONG_US
        elif d & 1 == 0:
            continue
        else:
            # `d` holds the earliest of several dates: a late one is as far away as a long one
            long = high - d // 2 > LONG_US
        rows.append((_DTS, (tenant << 32 | p | (LONG if long else 0), low, high)))
    return d, rows


class Made(NamedTuple):
    """What a search value gives but for the one text of it that differs from the next.

    makes: number of a list of `Entries`, and what gives a row for it; rows, words: the others.
    """

    makes: Sequence[tuple[int, Make]]
    rows: Rows
    words: Rows


@lru_cache(maxsize=4096)
def identified(
    tenant: int, p: int, system: str | None, type_system: str | None, type_code: str | None
) -> Made:
    """Return what an Identifier gives but for its value."""
    makes = [(_KEYS, keys.identifiers(tenant, p, system))]
    if type_code:
        makes.append((_KEYS, keys.identifiers_of_type(tenant, p, type_system, type_code)))
    rows = [(_KEYS, keys.identifier_system(tenant, p, system))] if system else ()
    return Made(makes, rows, [(_CODES, (tenant << 32 | p, "", system or "", 0))])


@lru_cache(maxsize=4096)
def referred(tenant: int, p: int, system: str | None) -> Made:
    """Return what a Reference.identifier gives but for its value."""
    makes = [(_KEYS, keys.reference_identifiers(tenant, p, system))]
    return Made(makes, (), [(_CODES, (tenant << 32 | p, "", system or "", 0))])


@lru_cache(maxsize=4096)
def located(type_name: str, tenant: int, p: int) -> Made:
    """Return what a uri gives but for itself."""
    makes: list[tuple[int, Make]] = [(_KEYS, partial(keys.uri, tenant, p))]
    if p not in _unordered(type_name):
        makes.append((_STRS, lambda uri: (tenant << 32 | p, uri[: 2 * STRING_MAX])))
    return Made(makes, (), ())


@lru_cache(maxsize=4096)
def measured(
    tenant: int, p: int, system: str | None, code: str | None, unit: str | None
) -> tuple[int, int, str, str, str]:
    """Return the dictionary row of a quantity's unit, whose first two are those of its own row."""
    number = keys.unit(tenant, system, code, unit)
    return tenant << 32 | p, number, system or "", code or "", unit or ""


@lru_cache(maxsize=256)
def spelled_params(type_name: str) -> Mapping[int, str | None]:
    """Return the numbers of R4's string parameters over names of people or parts of them.

    With the element (of `HumanName`s) where whole names are meant.
    """
    table = searchparams.params(type_name).values()
    own = [p for p in table if p.type == "string" and p.bit is not None and not p.is_alias]
    whole: dict[tuple[Step, ...], str] = {
        where.steps: step.name
        for p in own
        for where in p.locations
        for step in where.steps
        if where.type == "HumanName" and len(where.steps) == 1 and isinstance(step, Get)
    }
    return {
        p.number: whole.get(where.steps)
        for p in own
        for where in p.locations
        if where.steps[:1] in whole
    }


def _spelled(
    scope: int,
    foreign: Iterable[tuple[int, str]],
    type_name: str,
    resource: Mapping[str, Any],
) -> Iterator[tuple[int, str]]:
    """Yield the pinyin of names with Han characters, so that Latin letters find them too.

    And the whole name where only its parts were sent: nobody writes a space into 欧阳娜娜.
    Rows of their own number: `:exact`, `:contains` and the order stay those of the name itself.
    """
    spelled = spelled_params(type_name)
    texts = [(p, text) for p, text in foreign if p in spelled]
    found = {(p, form) for p, text in texts for form in _forms(text)}
    if not found:
        return
    for p, element in spelled.items():
        for name in resource.get(element, ()) if element else ():
            whole = "".join([name.get("family", ""), *filter(None, name.get("given", ()))])
            forms = _forms(whole)
            found.update((p, form) for form in forms)
            if forms and not any(text.startswith(whole) for q, text in texts if q == p):
                found.add((p, fold(whole[:_NAME_MAX])))
    for p, form in sorted(found):
        yield scope | p | PINYIN, form


def _forms(text: str) -> Sequence[str]:
    """Return the pinyin of a name, without the forms that another one begins with."""
    forms = pinyin(text[:_NAME_MAX])
    return [f for f in forms if not any(o != f and o.startswith(f) for o in forms)]


def links(
    type_name: str,
    resource: Mapping[str, Any],
    rules: LinkRules,
    *,
    zone: tzinfo,
    bases: tuple[str, ...] = (),
) -> list[Link]:
    """Return the links a resource states, with references to this server as `Type/id`."""
    return [
        link._replace(source=_end(link.source, bases), target=_end(link.target, bases))
        for link in rules.links_of(type_name, resource, zone)
    ]


def _end(text: str, bases: tuple[str, ...]) -> str:
    """Return the end of a link, a reference to a resource of this server as `Type/id`."""
    local = local_reference(text, bases)
    return "/".join(local) if local else text


@lru_cache(maxsize=65536)
def _coded(tenant: int, p: int, system: str | None, code: str) -> tuple[int, str, str, int]:
    """Return the dictionary row of a coded value; its last member is the value's key."""
    key = keys.token(tenant, p, system, code)
    return tenant << 32 | p, code.casefold(), system or "", key


@lru_cache(maxsize=8192)
def _display(text: str) -> str:
    """Return a display text as `txt.v` holds it: displays repeat as their codes do."""
    return fold(text)[:STRING_MAX]
