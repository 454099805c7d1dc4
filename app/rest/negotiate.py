"""Content negotiation and preferences: R4 http.html#mime-type, #version-parameter, #ops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from app.errors import NotAcceptable, UnsupportedMediaType


class Format(Enum):
    """A format resources are written and read in; the value is its media type."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"

    @property
    def content_type(self) -> str:
        return f"{self.value}; charset=utf-8"


# What the CapabilityStatement says of formats.
FORMATS = (Format.JSON.value, Format.XML.value, "json", "xml")
PATCH_FORMATS = (
    "application/json-patch+json",
    "application/xml-patch+xml",
    *(form.value for form in Format),
)

FHIR_VERSIONS = frozenset(("4.0", "4.0.1"))

_FORMATS = {
    "application/fhir+json": Format.JSON,
    "application/json": Format.JSON,
    "text/json": Format.JSON,
    "application/json+fhir": Format.JSON,  # the form of DSTU 1 and 2, still sent
    "application/fhir+xml": Format.XML,
    "application/xml": Format.XML,
    "text/xml": Format.XML,
    "application/xml+fhir": Format.XML,
}
_RANGES = {"*/*": Format.JSON, "application/*": Format.JSON, "text/*": Format.JSON}
_PAGES = ("text/html", "application/xhtml+xml")
_SHORT = {"json": Format.JSON, "xml": Format.XML}  # values of _format only
_ENCODINGS = ("zstd", "gzip")  # in order of our preference


@dataclass(frozen=True, slots=True)
class Media:
    """One media type with its parameters, as in Accept and Content-Type."""

    type: str
    parameters: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def quality(self) -> float:
        try:
            return float(self.get("q") or 1)
        except ValueError:
            return 0.0

    @property
    def r4(self) -> bool:
        """Whether it names no FHIR version, or this one."""
        return (self.get("fhirversion") or "4.0") in FHIR_VERSIONS


def media(text: str) -> Media:
    """Return a media type in lower case with its parameters."""
    kind, *rest = text.split(";")
    parameters = []
    for part in rest:
        name, _, value = part.partition("=")
        parameters.append((name.strip().lower(), value.strip().strip('"')))
    return Media(kind.strip().lower(), tuple(parameters))


@lru_cache(maxsize=512)
def accepted(accept: str | None) -> tuple[Media, ...]:
    """Return what an Accept header allows, best first; more specific first at equal quality."""
    if not accept or not accept.strip():
        return (Media("*/*", ()),)
    wanted = [media(part) for part in accept.split(",") if part.strip()]
    return tuple(sorted(wanted, key=lambda m: (-m.quality, m.type.count("*"))))


@lru_cache(maxsize=512)
def response_format(accept: str | None, format_parameter: str | None = None) -> Format:
    """Return the format of the answer; `_format` wins over Accept.

    Raises NotAcceptable when none of ours is wanted.
    """
    if format_parameter:
        # A `+` that was not percent-encoded arrives as a space.
        kind, mark, parameters = format_parameter.strip().partition(";")
        wanted = media(kind.rstrip().replace(" ", "+") + mark + parameters)
        chosen = _SHORT.get(wanted.type) or _FORMATS.get(wanted.type) or _RANGES.get(wanted.type)
        if chosen and wanted.r4:
            return chosen
        raise NotAcceptable("The format asked for is not one of JSON and XML", at="http._format")
    allowed = accepted(accept)
    refused = {_FORMATS.get(each.type) for each in allowed if each.quality <= 0}
    for wanted in allowed:
        chosen = _FORMATS.get(wanted.type)
        if chosen is None and wanted.type in _RANGES:  # any: then one that is not refused by name
            chosen = next((each for each in Format if each not in refused), None)
        if chosen and wanted.r4 and wanted.quality > 0:
            return chosen
    raise NotAcceptable(
        "Nothing in Accept can be produced: offered are application/fhir+json and"
        " application/fhir+xml of FHIR 4.0",
        at="http.Accept",
    )


@lru_cache(maxsize=512)
def prefers_page(accept: str | None) -> bool:
    """Say whether a page for people is wanted before any format of FHIR."""
    for wanted in accepted(accept):
        if wanted.quality > 0 and wanted.type in _PAGES:
            return True
        if wanted.type in _FORMATS or wanted.type in _RANGES:
            return False
    return False


def usable_format(accept: str | None, format_parameter: str | None) -> Format:
    """As `response_format`, for an answer that has to be given in any case: JSON at last."""
    try:
        return response_format(accept, format_parameter)
    except NotAcceptable:
        return Format.JSON


@lru_cache(maxsize=512)
def request_format(content_type: str | None) -> Format | None:
    """Return the format of a body; None when the sender named none.

    Raises UnsupportedMediaType.
    """
    if not content_type:
        return None
    sent = media(content_type)
    chosen = _FORMATS.get(sent.type)
    if chosen is None:
        raise UnsupportedMediaType(
            "The body's media type is not supported: send application/fhir+json or"
            " application/fhir+xml",
            at="http.Content-Type",
        )
    if not sent.r4:
        raise UnsupportedMediaType("Only FHIR 4.0 is supported", at="http.Content-Type")
    if (sent.get("charset") or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("The charset has to be UTF-8", at="http.Content-Type")
    return chosen


@lru_cache(maxsize=256)
def content_encoding(accept_encoding: str | None) -> str | None:
    """Return the compression to use: the best one wanted that we have, else None."""
    if not accept_encoding:
        return None
    wanted = {m.type: m.quality for m in accepted(accept_encoding)}
    offers = [(wanted.get(name, wanted.get("*", 0.0)), name) for name in _ENCODINGS]
    quality, name = max(offers, key=lambda offer: offer[0])
    return name if quality > 0 else None


@dataclass(frozen=True, slots=True)
class Prefer:
    """The Prefer header (RFC 7240) as far as R4 uses it; None: no preference."""

    returns: str | None = None  # minimal | representation | OperationOutcome
    handling: str | None = None  # strict | lenient
    respond_async: bool = False


_RETURNS = {v.lower(): v for v in ("minimal", "representation", "OperationOutcome")}
_NO_PREFERENCE = Prefer()


@lru_cache(maxsize=256)
def prefer(header: str | None) -> Prefer:
    """Return the preferences stated; unknown ones are ignored, as RFC 7240 asks."""
    if not header:
        return _NO_PREFERENCE
    found = dict(_preferences(header))
    handling = found.get("handling", "").lower()
    return Prefer(
        _RETURNS.get(found.get("return", "").lower()),
        handling if handling in ("strict", "lenient") else None,
        "respond-async" in found,
    )


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    # Both "a=1, b=2" and the "a=1; b=2" that some clients send.
    for part in header.replace(";", ",").split(","):
        name, _, value = part.partition("=")
        yield name.strip().lower(), value.strip().strip('"')
