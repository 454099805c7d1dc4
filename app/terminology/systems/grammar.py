"""What the code systems have in common whose codes are made by a grammar and cannot be listed.

R4 valueset.html#expansion: such an expansion is not closed. A grammar lists the codes that are
commonly used, those of the value set `common`, and says so by `closed`. Operations may ask it two
things more than any `System`: why a code is none (`problem`), and why one is not among those that
filters select (`mismatch`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from app.terminology import status
from app.terminology.filters import tests
from app.terminology.text import Matcher
from app.terminology.types import Concept, Filter, Json, Selection


@runtime_checkable
class Explains(Protocol):
    """A system that can say what is wrong with a code."""

    @property
    def common(self) -> str:
        """Return the url of the value set that its listed codes are taken from."""
        ...

    def problem(self, code: str) -> str | None:
        """Return why a text is no code of the system, None when it is one."""
        ...

    def mismatch(self, code: str, filters: Sequence[Filter]) -> str | None:
        """Return why a code is not among those that filters select, None without more to say."""
        ...


class Grammar(ABC):
    """A code system without a list of its codes. Kinds of it say what `find` and `listed` are."""

    closed = False
    header: Json
    common: str

    @abstractmethod
    def find(self, code: str) -> Concept | None:
        """Return the concept that a code stands for, None when it breaks the grammar."""

    @abstractmethod
    def listed(self) -> Sequence[str]:
        """Return the codes that are commonly used."""

    def problem(self, code: str) -> str | None:
        """Return why a text is no code of the system; a grammar may have nothing to say."""
        return None

    def mismatch(self, code: str, filters: Sequence[Filter]) -> str | None:
        """Return why filters do not select a code; a grammar may have nothing to say."""
        return None

    def children(self, code: str | None) -> Sequence[str]:
        """Return the listed codes for None: there is no hierarchy."""
        return self.listed() if code is None else ()

    def is_a(self, code: str, ancestor: str) -> bool:
        """Say whether the codes are the same: there is no hierarchy."""
        return code == ancestor and self.find(code) is not None

    def matches(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether a code satisfies all filters; it need not be a listed one."""
        concept = self.find(code)
        if concept is None:
            return False
        return all(test(concept) for test in tests(self, filters, status.declared(self.header)))

    def select(self, wanted: Selection) -> Iterator[str]:
        """Yield the listed codes that are wanted."""
        checks = tests(self, wanted.filters, status.declared(self.header))
        text = Matcher(wanted.text) if wanted.text else None
        for code in self.listed():
            concept = self.find(code)
            if concept is None or not all(check(concept) for check in checks):
                continue
            if text is None or text.meets(concept):
                yield code

    def count(self, wanted: Selection) -> int | None:
        """Return None: nobody can say how many codes there are."""
        return None


def header(url: str, name: str, title: str, **more: object) -> Json:
    """Return the CodeSystem resource of a built-in system, without concepts."""
    return {
        "resourceType": "CodeSystem",
        "url": url,
        "name": name,
        "title": title,
        "status": "active",
        "experimental": False,
        "caseSensitive": True,
        "content": "complete",
        **more,
    }


def common_value_set(url: str, name: str, system: str, codes: Sequence[str]) -> Json:
    """Return the value set that lists the common codes of a grammar."""
    return {
        "resourceType": "ValueSet",
        "url": url,
        "name": name,
        "status": "active",
        "experimental": False,
        "compose": {"include": [{"system": system, "concept": [{"code": c} for c in codes]}]},
    }
