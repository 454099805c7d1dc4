"""Where a formula stands while a mapping is compiled, and what was found wrong there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.errors import Issue
from app.mapping.code import Fields
from app.mapping.types import Expected


@dataclass(frozen=True, slots=True)
class Place:
    """Where a formula stands: its file, the anchor its paths start at, the element it fills.

    fills: the resource that the rule makes. memo: results may be remembered here (the first level
    of a rule that says so).
    volatile: the fields that differ from message to message, when the rule names them; varying: the
    same, also further down.
    """

    file: str
    anchor: str | None
    expected: Expected | None
    memo: bool = False
    volatile: Fields | None = None
    varying: Fields | None = None
    fills: str | None = None

    def inside(self, anchor: str | None) -> Place:
        return Place(self.file, anchor, self.expected, varying=self.varying)

    def in_file(self, file: str) -> Place:
        return self if file == self.file else replace(self, file=file)

    def of(self, expected: Expected | None) -> Place:
        return replace(self, expected=expected)

    def nested(self) -> Place:
        return replace(self, memo=False, volatile=None) if self.memo else self


class Problems:
    """What is wrong with a mapping, each problem once, with file and line."""

    def __init__(self) -> None:
        self.found: list[Issue] = []

    def add(self, text: str, at: str, code: str = "value") -> None:
        issue = Issue("error", code, text, at)
        if issue not in self.found:
            self.found.append(issue)
