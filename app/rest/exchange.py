"""One request and one reply as the interactions see them, free of any web framework.

An entry of a batch is a `Request` too, made by `batch.py`; so each interaction is written once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from app.errors import Invalid, NotFound
from app.rest import negotiate
from app.rest.negotiate import Format, Prefer

Params = Sequence[tuple[str, str]]

_KNOWN_MOST = 200  # characters of a parameter that is remembered: what clients send has no bound
_TAG = re.compile(r'\s*(?:W/)?"?([^",\s]+)"?\s*(?:,|$)')


def decode(text: str, *, plus: bool = True) -> str:
    """Return percent-decoded text. Raises Invalid for what is no UTF-8 or holds a NUL."""
    if "%" not in text and "+" not in text:
        return text
    try:
        decoded = unquote(text.replace("+", " ") if plus else text, errors="strict")
    except UnicodeDecodeError as exc:
        raise Invalid("The percent-encoded text is not UTF-8", at="http.query") from exc
    if "\0" in decoded:
        raise Invalid("NUL is not allowed", at="http.query")
    return decoded


def parse_query(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query or form, in order: split at `&`, then decoded."""
    return [
        _known_pair(part) if len(part) <= _KNOWN_MOST else _pair(part)
        for part in query.split("&")
        if part
    ]


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return decode(name), decode(value)


_known_pair = lru_cache(maxsize=4096)(_pair)  # codes, orders and counts come again and again


class Request:
    """What was asked: the method, where it points to, and the headers as a WSGI environ.

    `base` is this server's FHIR base url without a slash at the end. `route.locate` fills in
    `type`, `id`, `version`, `other` (the second type of a compartment search) and `operation`.
    Of an entry of a transaction `index` and `full_url` are known too, for what refers to it.
    """

    __slots__ = (
        "_params",
        "base",
        "body",
        "bundled",
        "environ",
        "full_url",
        "id",
        "index",
        "method",
        "operation",
        "other",
        "query",
        "type",
        "version",
    )

    def __init__(
        self,
        method: str,
        query: str,
        environ: Mapping[str, Any],
        base: str,
        body: bytes = b"",
        *,
        bundled: bool = False,
    ) -> None:
        self.method = method
        self.query = query
        self.environ = environ
        self.base = base
        self.body = body
        self.bundled = bundled  # it stands in a Bundle
        self.index: int | None = None
        self.full_url: str | None = None
        self.type = ""
        self.id = ""
        self.version = ""
        self.other = ""
        self.operation = ""
        self._params: list[tuple[str, str]] | None = None

    def header(self, name: str) -> str | None:
        """Return a header by its name in CGI form: IF_MATCH, ACCEPT, CONTENT_TYPE."""
        key = name if name == "CONTENT_TYPE" else "HTTP_" + name
        return self.environ.get(key) or None

    def condition(self, name: str) -> str | None:
        """Return a header that the request depends on.

        Raises Invalid for an empty one: it is as well how a server passes one on that is not ASCII.
        """
        value: str | None = self.environ.get("HTTP_" + name)
        if value == "":
            at = f"http.{name.replace('_', '-').title()}"
            raise Invalid("the header is empty or not ASCII; percent-encode it", at=at)
        return value

    @property
    def params(self) -> list[tuple[str, str]]:
        """The query's parameters, decoded."""
        if self._params is None:
            self._params = parse_query(self.query) if self.query else []
        return self._params

    def joined(self, form: Params) -> list[tuple[str, str]]:
        """Return the parameters, with those of a form as if they stood in the query, too."""
        self._params = [*self.params, *form]
        return self._params

    def param(self, name: str) -> str | None:
        """Return the first value of a parameter."""
        for known, value in self.params:
            if known == name:
                return value
        return None

    @property
    def prefer(self) -> Prefer:
        return negotiate.prefer(self.header("PREFER"))

    @property
    def format(self) -> Format:
        """The format of the answer. Raises NotAcceptable."""
        return negotiate.response_format(
            self.header("ACCEPT"), self.param("_format") if self.query or self._params else None
        )

    @property
    def if_match(self) -> tuple[str, ...]:
        """The version ids of If-Match: weak, strong or bare tags, also a list."""
        return tags(self.condition("IF_MATCH"))


@lru_cache(maxsize=256)
def tags(header: str | None) -> tuple[str, ...]:
    """Return the entity tags of an If-Match or If-None-Match header without their marks."""
    return tuple(_TAG.findall(header)) if header else ()


@dataclass(slots=True)
class Reply:
    """What is answered.

    body: FHIR JSON, or (with `content_type`) raw content that is sent as it is.
    version_id, last_updated_us, location: shown as ETag, Last-Modified and Location, or in the
        response of a Bundle entry; location is `Type/id/_history/version`, without the base.
    """

    status: int
    body: bytes = b""
    version_id: int | None = None
    last_updated_us: int | None = None
    location: str | None = None
    content_type: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    constant: bool = False  # the body is one object that is answered again and again


def etag(version_id: int) -> str:
    """Return the weak ETag of a version: W/"3"."""
    return f'W/"{version_id}"'


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """Return an HTTP date (RFC 9110 section 5.6.7) of seconds since 1970."""
    return formatdate(seconds, usegmt=True)


@lru_cache(maxsize=1024)
def seconds_of(date: str) -> int | None:
    """Return the seconds since 1970 of an HTTP date; None when it is none (then it is ignored)."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None


def unknown_path() -> NotFound:
    """Return the error for a path that is nothing in R4."""
    return NotFound("There is nothing at this address")
