"""One call of a terminology operation: its input parameters, read leniently, and what it sees.

The types of parameters are mixed in practice: a url may come as uri, canonical or string, a
boolean as the text "true"; of a query string all is text. Unknown parameters are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import Invalid
from app.terminology.scope import Scope

_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Call:
    """The inputs by name, the request's view of all resources, and its headers of interest.

    limit: the most codes an expansion may list unpaged, when it is not the usual.
    """

    given: Mapping[str, Sequence[Any]]
    scope: Scope
    accept_language: str | None = None
    limit: int | None = None

    @property
    def message_language(self) -> str:
        """The language of messages: Chinese for who wants Chinese first, else English."""
        wanted = self.given.get("displayLanguage", (self.accept_language,))[0]
        return "zh" if isinstance(wanted, str) and wanted.strip()[:2].lower() == "zh" else "en"

    def value(self, name: str) -> Any:
        """Return the first value of a parameter, None without it."""
        values = self.given.get(name)
        return values[0] if values else None

    def texts(self, name: str) -> Sequence[str]:
        """Return all values of a parameter as text."""
        return [v if isinstance(v, str) else str(v) for v in self.given.get(name, ()) if v]

    def text(self, name: str) -> str | None:
        """Return the first value of a parameter as text. Raises Invalid for a structure."""
        value = self.value(name)
        if value is None or isinstance(value, str):
            return value or None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list):
            raise Invalid("The parameter has to be a simple value", at=f"http.{name}")
        return str(value)

    def flag(self, name: str) -> bool | None:
        """Return a boolean, None without it. Raises Invalid for anything else."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return value
        found = _TRUTH.get(str(value).lower())
        if found is None:
            raise Invalid("The parameter has to be true or false", at=f"http.{name}")
        return found

    def number(self, name: str) -> int | None:
        """Return a number that is not negative, None without it. Raises Invalid."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return None
        text = str(value)
        if not text.isdecimal() or len(text) > 9:
            raise Invalid("The parameter has to be a number, not negative", at=f"http.{name}")
        return int(text)

    def object(self, name: str) -> dict[str, Any] | None:
        """Return a structure: a Coding, a CodeableConcept, a resource. Raises Invalid."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            raise Invalid("The parameter has to be a structure or resource", at=f"http.{name}")
        return value
