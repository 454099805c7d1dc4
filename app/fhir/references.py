"""References inside the bytes of a resource: which there are, and writing new targets in.

R4 http.html#trules: inside a transaction a fullUrl is replaced in Reference.reference, in
elements of type uri, url, oid, uuid and canonical, and in `href` and `src` of narratives. Strings
(Identifier.value above all) keep it. The bytes around a replaced value stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from app.fhir import definitions

_URI_TYPES = frozenset({"uri", "url", "oid", "uuid", "canonical"})
_TEXT_TYPES = frozenset({"string", "markdown", "xhtml"})
_CONDITIONAL = re.compile(rb'"reference":"([A-Z][A-Za-z]+\?[^"\\]+)"')
_UNRESOLVED = re.compile(rb'"reference":"(urn:(?:uuid|oid):[^"\\]*)"')
_KEY_BEFORE = re.compile(rb'"([A-Za-z]+)":(?:\[(?:"(?:[^"\\]|\\.)*"|null|,)*)?$')
_KEY_WINDOW = 4096
_FEW = 30  # targets: with more it is faster to look at what the body has
_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"')
_LINK = re.compile(r"(?:href|src)=(?:\\\"|')([^\"'\\]+)")


@cache
def _uri_members() -> frozenset[bytes]:
    """Return the member names that hold a uri somewhere and free text nowhere."""
    uri, text = set(), set()
    for name in definitions.structure_names():
        for element in definitions.structure(name).walk():
            for kind in element.types:
                suffix = kind.code[0].upper() + kind.code[1:] if element.choice else ""
                if kind.code in _URI_TYPES:
                    uri.add(element.name + suffix)
                elif kind.code in _TEXT_TYPES:
                    text.add(element.name + suffix)
    text.discard("url")  # a string in TestScript.operation only
    return frozenset(name.encode() for name in uri - text)


def conditional(body: bytes) -> list[str]:
    """Return the conditional references (`Patient?identifier=...`) of compact JSON."""
    if b"?" not in body:
        return []
    return [found.decode() for found in _CONDITIONAL.findall(body)]


def unresolved(body: bytes) -> str | None:
    """Return the first reference to a urn:uuid or urn:oid, which nothing outside a Bundle has.

    The resource may itself be a Bundle (a document): what its own entries are called is resolved.
    """
    if b'"urn:' not in body:
        return None
    for match in _UNRESOLVED.finditer(body):
        if b'"fullUrl":"%b"' % match[1] not in body:
            return match[1].decode()
    return None


def place_of(reference: str, value: Any, at: str) -> str | None:
    """Return where in `value`, which stands at `at`, something refers by this text."""
    if isinstance(value, dict):
        if value.get("reference") == reference:
            return f"{at}.reference"
        inner = ((f"{at}.{name}", each) for name, each in value.items())
    elif isinstance(value, list):
        inner = ((f"{at}[{index}]", each) for index, each in enumerate(value))
    else:
        return None
    places = (place_of(reference, each, place) for place, each in inner)
    return next((place for place in places if place is not None), None)


def rewrite(body: bytes, targets: Mapping[str, str]) -> bytes:
    """Return compact JSON in which references and uris equal to a key of `targets` are replaced."""
    present: Iterable[str] = targets if len(targets) <= _FEW else _present(body, targets)
    for old_text in present:
        new_text = targets[old_text]
        old = old_text.encode()
        if old not in body:
            continue
        new = new_text.encode()
        body = body.replace(b'"reference":"%s"' % old, b'"reference":"%s"' % new)
        if old in body and ":" in old_text:
            body = _rewrite_uris(body, old, new)
            body = _rewrite_links(body, old, new)
    return body


def _present(body: bytes, targets: Mapping[str, str]) -> list[str]:
    """Return the keys of `targets` that the strings of compact JSON are, or link to.

    In a Bundle of thousands each resource has a few of thousands of targets: looking for each of
    them in each body took 2.5 ms a resource with 3,000 targets.
    """
    text = body.decode()
    strings = _STRING.findall(text)
    if "href=" in text or "src=" in text:
        strings += _LINK.findall(text)
    return sorted(targets.keys() & set(strings))


def _rewrite_uris(body: bytes, old: bytes, new: bytes) -> bytes:
    quoted = b'"%s"' % old
    at = body.find(quoted)
    while at >= 0:
        key = _KEY_BEFORE.search(body, max(0, at - _KEY_WINDOW), at)
        if key and key[1] in _uri_members():
            body = body[:at] + b'"%s"' % new + body[at + len(quoted) :]
        at = body.find(quoted, at + 1)
    return body


def _rewrite_links(body: bytes, old: bytes, new: bytes) -> bytes:
    for attribute in (b"href", b"src"):
        for quote in (b'\\"', b"'"):
            body = body.replace(
                attribute + b"=" + quote + old + quote, attribute + b"=" + quote + new + quote
            )
    return body
