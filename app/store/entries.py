"""Index entries of one resource: what the write path stores beside the body.

`entries_of` needs no database: everything that can be hashed is hashed here (in an HTTP worker),
so that the one writer only resolves references. Layout: `tables.py`, `keys.py`. Composite
parameters have no rows: their components' rows find the candidates and the body decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

from app.fhir import definitions, searchparams
from app.fhir.extract import Extractor, Values, extractor
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

IdentifierKeys = Callable[[str, Mapping[str, Any]], Iterable[str]]
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

    def states(self, type_name: str) -> bool:
        """Say whether resources of a type state any link at all."""
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
def owner_params(type_name: str) -> frozenset[int]:
    """Return the reference parameters whose Patient target is the `s` of a type's resources."""
    table = searchparams.params(type_name)
    found = set()
    for code in definitions.compartment("Patient").get(type_name, ()):
        param = table.get(code)
        while param is not None and param.narrows is not None:
            param = param.narrows[0]
        if param is not None and param.type == "reference":
            found.add(param.number)
    return frozenset(found)


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
    values = (extract or extractor(type_name))(resource, zone)
    entries = entries_of_values(
        type_name, values, resource, tenant=tenant, bases=bases, identifier_keys=identifier_keys
    )
    entries.keys.append(keys.of_type(tenant, definitions.type_number(type_name)))
    if link_rules is not None and link_rules.states(type_name):
        entries.links = links(type_name, resource, link_rules, zone=zone, bases=bases)
    return entries


def entries_of_values(
    type_name: str,
    values: Values,
    resource: Mapping[str, Any],
    *,
    tenant: int,
    bases: tuple[str, ...],
    identifier_keys: IdentifierKeys | None,
) -> Entries:
    """Return the index entries of search values, without the resource's own row and its links.

    resource: what they were found in, which may be some members of a resource.
    """
    primary = searchparams.primary_date(type_name)
    entries = Entries(
        _primary(values, primary.number) if primary is not None else 0, values.present
    )
    # Most of a resource's members give one kind of value or none: what is not there costs nothing.
    if values.tokens or values.identifiers or values.texts:
        _tokens(entries, values, tenant, type_name)
    if values.references or values.canonicals or values.reference_identifiers:
        _references(entries, values, tenant, bases)
    if values.dates or values.numbers or values.quantities:
        _ranges(entries, values, tenant, primary.number if primary else 0)
    scope = tenant << 32
    if values.strings:
        for p, text in values.strings:
            entries.strs.append((scope | p, string_value(text)))
            if len(text) > _LONG_BEFORE_FOLDING:
                entries.strs.extend((scope | p | CHUNK, part) for part in chunks(fold(text)))
        _spell(entries, values, scope, type_name, resource)
    for p, value in values.uris:
        entries.keys.append(keys.uri(tenant, p, value))
        if p not in _unordered(type_name):
            entries.strs.append((scope | p, value[: 2 * STRING_MAX]))
    for p in values.posted:
        entries.keys.append(keys.present(tenant, p))
    for p, lat, long in values.positions:
        entries.qtys.append((scope | p, POSITION, lat, long))
    if identifier_keys is not None:
        for key in identifier_keys(type_name, resource):
            entries.idents.append(keys.canonical(tenant, key))
    return entries


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


def _spell(
    entries: Entries, values: Values, scope: int, type_name: str, resource: Mapping[str, Any]
) -> None:
    """Add the pinyin of names with Han characters, so that Latin letters find them too.

    Rows of their own number: `:exact`, `:contains` and the order stay those of the name itself.
    """
    spelled = spelled_params(type_name)
    foreign = spelled and [(p, text) for p, text in values.strings if not text.isascii()]
    if not foreign:
        return
    found = {(p, form) for p, text in foreign if p in spelled for form in _forms(text)}
    if not found:
        return
    for p, element in spelled.items():
        for name in resource.get(element, ()) if element else ():
            whole = "".join([name.get("family", ""), *filter(None, name.get("given", ()))])
            found.update((p, form) for form in _forms(whole))
    entries.strs.extend((scope | p | PINYIN, form) for p, form in sorted(found))


def _forms(text: str) -> Iterable[str]:
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


def _primary(values: Values, p: int) -> int:
    low = high = None
    count = 0
    for number, lo, hi in values.dates:
        if number == p:
            count += 1
            if low is None or lo < low:
                low, high = lo, hi
    if low is None or high is None:
        return D_MISSING
    return 2 * low + (count > 1 or high - low != default_length(low))


def _tokens(entries: Entries, values: Values, tenant: int, type_name: str) -> None:
    scope = tenant << 32
    _, pair_token = pair_params(type_name)
    for p, system, code in values.tokens:
        row = _coded(tenant, p, system, code)
        entries.keys.append(row[3])
        entries.codes.append(row)
        if p == pair_token:
            entries.pair.append(row[3])
    for p, system, value, type_system, type_code in values.identifiers:
        key = keys.identifier(tenant, p, system, value)
        entries.keys.append(key)
        if system:
            entries.keys.append(keys.identifier_system(tenant, p, system))
        entries.codes.append((scope | p, "", system or "", 0))
        if type_code:
            entries.keys.append(keys.identifier_type(tenant, p, type_system, type_code, value))
    for p, text in values.texts:
        _text(entries, tenant, p, text)


@lru_cache(maxsize=65536)
def _coded(tenant: int, p: int, system: str | None, code: str) -> tuple[int, str, str, int]:
    """Return the dictionary row of a coded value; its last member is the value's key."""
    key = keys.token(tenant, p, system, code)
    return tenant << 32 | p, code.casefold(), system or "", key


@lru_cache(maxsize=8192)
def _display(text: str) -> str:
    """Return a display text as `txt.v` holds it: displays repeat as their codes do."""
    return fold(text)[:STRING_MAX]


def _text(entries: Entries, tenant: int, p: int, text: str) -> None:
    """Note under which keys of this resource a display text can be found (`:text`)."""
    folded, number = _display(text), tenant << 32 | p
    found = [row[3] for row in entries.codes if row[0] == number and row[3]]
    if not found:  # text alone, without any coding
        found = [keys.text(tenant, p, folded)]
        entries.keys += found
    for key in found:
        row = number, folded, key
        if row not in entries.texts:  # most texts are the display of their coding
            entries.texts.append(row)


def _references(entries: Entries, values: Values, tenant: int, bases: tuple[str, ...]) -> None:
    for p, text, _ in values.references:
        local = local_reference(text, bases)
        if local is None:
            entries.urls.append((p, text))
        else:
            entries.refs.append((p, *local))
    for p, url in values.canonicals:
        entries.keys.append(keys.uri(tenant, p, url))
        bare, bar, _ = url.partition("|")
        if bar:
            entries.keys.append(keys.uri(tenant, p, bare))
    for p, system, value in values.reference_identifiers:
        entries.keys.append(keys.reference_identifier(tenant, p, system, value))
        entries.codes.append((tenant << 32 | p, "", system or "", 0))


def _ranges(entries: Entries, values: Values, tenant: int, primary: int) -> None:
    scope = tenant << 32
    fine = entries.d & 1 == 0
    for p, lo, hi in values.dates:
        if p == primary:
            if fine:
                continue
            # `d` holds the earliest of several dates: a late one is as far away as a long one
            long = hi - entries.d // 2 > LONG_US
        else:
            long = hi - lo > LONG_US
        entries.dts.append((scope | p | (LONG if long else 0), lo, hi))
    entries.qtys.extend((scope | p, 0, low, high) for p, low, high in values.numbers)
    for p, system, code, unit, low, high in values.quantities:
        number = keys.unit(tenant, system, code, unit)
        entries.qtys.append((scope | p, number, low, high))
        entries.units.append((scope | p, number, system or "", code or "", unit or ""))
