"""The 64-bit keys of `ix` and `ident`: an on-disk format that never changes.

A key already contains its parameter, so one index serves every token, reference and uri:

    reference   0 | parameter number (23 bits) | pk of the target (40 bits)
    placed      1 | place (16 bits) | 47 bits of BLAKE2b over family, tenant, parameter and value
    all others  1 | 63 bits of BLAKE2b over family, tenant, parameter number and value

The top bit keeps references apart. A collision of two of 100 million hashed values has a
probability of about 5e-4 (performance.md section 2).

Identifiers, uris and pairs of patient and code are different in nearly every row. Hashed alone they
are strewn over the whole index, and a message of ten results writes to thirty pages of it. The
place holds together what is written together: the pairs of one patient, one identifier or
meta.source in all parameters, and values with the same end, as the results of one order have. Of 16
bits, because 100 million rows then still are few pages a place, while 47 bits tell apart what
shares one: of 100,000 values with the same end two collide with a probability of 4e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

PK_BITS = 40
PLACED_BITS = 47  # below the place
_TOP = -(1 << 63)
_LOW = (1 << PLACED_BITS) - 1
_PLACE = ~_LOW & ~_TOP  # the 16 bits
_UNPLACED = ~_PLACE
_END = 24  # characters of a value: more than a time in a longer value, or a number, has
_SEP = "\x1f"
_NONE = "\x1e"  # an absent system is not an empty one


def _hash(family: str, tenant: int, p: int, *parts: str | None) -> int:
    text = f"{family}{_SEP}{tenant}{_SEP}{p}"
    for part in parts:
        text += _SEP + (_NONE if part is None else part)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) | _TOP


def _seed(family: str, tenant: int, p: int, *parts: str | None) -> Any:
    """Return BLAKE2b over what comes before the last part."""
    text = f"{family}{_SEP}{tenant}{_SEP}{p}"
    for part in parts:
        text += _SEP + (_NONE if part is None else part)
    return blake2b((text + _SEP).encode("utf-8", "surrogatepass"), digest_size=8)


def _seeded(family: str, tenant: int, p: int, *parts: str | None) -> Callable[[str], int]:
    """Return `_hash` of one more part; the parts before it are hashed once."""
    seed = _seed(family, tenant, p, *parts)

    def key(value: str) -> int:
        found = seed.copy()
        found.update(value.encode("utf-8", "surrogatepass"))
        return int.from_bytes(found.digest(), "big", signed=True) | _TOP

    return key


def _placed(family: str, tenant: int, p: int, *parts: str | None) -> Callable[[str], int]:
    """Return the keys of one more part, placed by that part's end."""
    seed = _seed(family, tenant, p, *parts)

    def key(value: str) -> int:
        found = seed.copy()
        found.update(value.encode("utf-8", "surrogatepass"))
        hashed = int.from_bytes(found.digest(), "big", signed=True) | _TOP
        return hashed & _UNPLACED | _place(value[-_END:])

    return key


@lru_cache(maxsize=4096)  # the identifiers of a message are asked about in several parameters
def _place(end: str) -> int:
    digest = blake2b(end.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") & _PLACE


def reference(p: int, target_pk: int) -> int:
    """Key of a reference parameter that points to the resource `target_pk` of this store."""
    return (p << PK_BITS) | target_pk


@lru_cache(maxsize=65536)
def token(tenant: int, p: int, system: str | None, code: str) -> int:
    """Key of a coded value. Case is folded: R4 search.html#token asks so when in doubt."""
    return _hash("t", tenant, p, system or None, code.casefold())


def identifier(tenant: int, p: int, system: str | None, value: str) -> int:
    """Key of an Identifier's system and value, case as written: numbers of people and things."""
    return identifiers(tenant, p, system)(value)


@lru_cache(maxsize=1024)
def identifiers(tenant: int, p: int, system: str | None) -> Callable[[str], int]:
    """Return what gives `identifier` of the values of one system."""
    return _placed("t", tenant, p, system or None)


@lru_cache(maxsize=4096)
def identifier_system(tenant: int, p: int, system: str) -> int:
    """Key that every Identifier of `system` has, for `identifier=system|`."""
    return _hash("s", tenant, p, system)


def identifier_type(tenant: int, p: int, system: str | None, code: str, value: str) -> int:
    """Key of `:of-type`: Identifier.type coding and value."""
    return identifiers_of_type(tenant, p, system, code)(value)


@lru_cache(maxsize=1024)
def identifiers_of_type(tenant: int, p: int, system: str | None, code: str) -> Callable[[str], int]:
    """Return what gives `identifier_type` of the values of one type."""
    return _placed("o", tenant, p, system or None, code)


def reference_identifier(tenant: int, p: int, system: str | None, value: str) -> int:
    """Key of a Reference.identifier, for `:identifier`."""
    return reference_identifiers(tenant, p, system)(value)


@lru_cache(maxsize=1024)
def reference_identifiers(tenant: int, p: int, system: str | None) -> Callable[[str], int]:
    """Return what gives `reference_identifier` of the values of one system."""
    return _placed("i", tenant, p, system or None)


@lru_cache(maxsize=4096)
def uri(tenant: int, p: int, value: str) -> int:
    """Key of a uri, canonical or external reference, as written.

    All resources of a message have one meta.source, and canonical references repeat.
    """
    return uris(tenant, p)(value)


@lru_cache(maxsize=1024)
def uris(tenant: int, p: int) -> Callable[[str], int]:
    """Return what gives `uri` of one parameter."""
    return _placed("u", tenant, p)


def text(tenant: int, p: int, folded: str) -> int:
    """Key of a display text that stands without any code."""
    return _hash("d", tenant, p, folded)


@lru_cache(maxsize=1024)
def present(tenant: int, p: int) -> int:
    """Key of a posted search parameter's presence; R4's own have bits in `res.have`."""
    return _hash("p", tenant, p)


@lru_cache(maxsize=1024)
def of_type(tenant: int, type_number: int) -> int:
    """Key of the one row that every resource of a type has."""
    return _hash("y", tenant, 0, str(type_number))


@lru_cache(maxsize=65536)  # a patient is measured again and again
def pair(tenant: int, p: int, target_pk: int, token_key: int) -> int:
    """Key of a reference and a token of one resource taken together (patient and code)."""
    return _pairs(tenant, p, target_pk)(str(token_key))


@lru_cache(maxsize=1024)
def _pairs(tenant: int, p: int, target_pk: int) -> Callable[[str], int]:
    """Return what gives `pair` of the tokens of one patient: a message has many."""
    seeded, place = _seeded("c", tenant, p, str(target_pk)), _place(str(target_pk))
    return lambda value: seeded(value) & _UNPLACED | place


def canonical(tenant: int, key: str) -> int:
    """Key in `ident` of an identifier's canonical form."""
    return canonicals(tenant)(key)


@lru_cache(maxsize=64)
def canonicals(tenant: int) -> Callable[[str], int]:
    """Return what gives `canonical` of one tenant's identifiers."""
    return _seeded("n", tenant, 0)


@lru_cache(maxsize=4096)
def unit(tenant: int, system: str | None, code: str | None, text: str | None) -> int:
    """Number of a unit as it was written (system, code, unit text)."""
    return _hash("q", tenant, 0, system or None, code or None, text or None)


def scoped(tenant: int, p: int) -> int:
    """Parameter number with its tenant, as in `str.p`, `qty.p`, `dt.p`, `code.p`."""
    return (tenant << 32) | p
