"""The values that pass between the scheme readers, `parse` and its callers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Value = str | int | float | bool

# How sure a reading is of its scheme (identifiers.md 2.2).
MARKED_AND_CHECKED = 0.99
STRONG = 0.95  # unmarked, but a check of 1 in 31 or better with a date or a region
MARKED = 0.9
ONE_IN_TEN = 0.6
UNCHECKED = 0.3


class Problem(NamedTuple):
    """One reason why a code is not valid. The message never repeats the code."""

    code: str
    message: str
    field: str | None = None
    offset: int | None = None


class Candidate(NamedTuple):
    """Another way in which the same text can be read."""

    scheme: str
    canonical: str | None
    confidence: float


class Names(NamedTuple):
    """The local names a site knows: HL7 namespaces and aliases of NamingSystems, each -> system."""

    namespaces: Mapping[str, str]
    aliases: Mapping[str, str]


class Context(NamedTuple):
    """What a reading may depend on besides the text: the day, and the names of the site."""

    year: int
    today: str  # YYYY-MM-DD
    names: Callable[[], Names]


class Reading:
    """What one scheme found in a text; filled while reading it.

    `errors` make the code invalid; what was readable stays in `fields` all the same.
    """

    __slots__ = (
        "ai",
        "canonical",
        "confidence",
        "errors",
        "fields",
        "keys",
        "level",
        "scheme",
        "uri",
        "warnings",
    )

    def __init__(self, scheme: str, confidence: float = MARKED_AND_CHECKED) -> None:
        self.scheme = scheme
        self.confidence = confidence
        self.canonical: str | None = None
        self.keys: list[str] = []
        self.level: str | None = None
        self.uri: str | None = None
        self.fields: dict[str, Value] = {}
        self.ai: list[tuple[str, str]] = []
        self.errors: list[Problem] = []
        self.warnings: list[str] = []

    @property
    def valid(self) -> bool:
        return not self.errors

    def fail(
        self, code: str, message: str, field: str | None = None, offset: int | None = None
    ) -> Reading:
        """Add an error and return the reading, so that a reader can end with it."""
        self.errors.append(Problem(code, message, field, offset))
        return self

    def warn(self, code: str) -> None:
        if code not in self.warnings:
            self.warnings.append(code)

    def identify(self, level: str, *keys: str) -> Reading:
        """Set the keys, coarse to fine; the last one is the canonical one."""
        self.level = level
        self.keys.extend(keys)
        self.canonical = keys[-1]
        return self


Reader = Callable[[str, Context], Reading]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A code as it was understood (identifiers.md section 2).

    canonical: the most specific identity in the code; never given for an invalid code.
    keys: every level of it, coarse to fine; one index probe each.
    """

    input: str | None
    normalized: str
    valid: bool
    scheme: str
    carrier: str | None = None
    canonical: str | None = None
    uri: str | None = None
    keys: Sequence[str] = ()
    fields: Mapping[str, Value] = field(default_factory=dict)
    ai: Sequence[tuple[str, str]] = ()
    level: str | None = None
    confidence: float = 0.0
    candidates: Sequence[Candidate] = ()
    errors: Sequence[Problem] = ()
    warnings: Sequence[str] = ()
    identifiers: Sequence[tuple[str, str]] = ()  # FHIR (system, value)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that `/id` and `yilian id parse` answer."""
        out: dict[str, Any] = {"input": self.input} if self.input is not None else {}
        out["normalized"] = self.normalized
        out["valid"] = self.valid
        out["scheme"] = self.scheme
        if self.carrier:
            out["carrier"] = self.carrier
        if self.canonical is not None:
            out["canonical"] = self.canonical
        if self.uri is not None:
            out["uri"] = self.uri
        out["keys"] = self.keys
        out["fields"] = self.fields
        if self.ai:
            out["ai"] = self.ai
        if self.level:
            out["level"] = self.level
        out["confidence"] = self.confidence
        out["candidates"] = [
            {"scheme": c.scheme, "canonical": c.canonical, "confidence": c.confidence}
            for c in self.candidates
        ]
        out["errors"] = [_problem(e) for e in self.errors]
        out["warnings"] = [{"code": code} for code in self.warnings]
        if self.identifiers:
            out["fhir"] = {"identifier": [{"system": s, "value": v} for s, v in self.identifiers]}
        return out


def _problem(error: Problem) -> dict[str, Any]:
    out: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.field is not None:
        out["field"] = error.field
    if error.offset is not None:
        out["offset"] = error.offset
    return out
