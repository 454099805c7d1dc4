"""Which rule made which element from which field: what `--explain` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.mapping.run import Entry


@dataclass(frozen=True, slots=True)
class Step:
    """One element of one resource: the rule's place, and the fields that were read for it."""

    full_url: str
    path: str
    at: str
    sources: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    name: str
    at: str | None
    first_step: int
    sources: list[str] = field(default_factory=list)


class Trace:
    """Collects while a mapping that was compiled with `trace` runs."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.used: set[str] = set()
        self._stack: list[list[_Open]] = [[]]
        self._entries: list[Entry] = []

    def begin(self, entry: Entry) -> None:
        """A resource of a rule begins."""
        self._stack, self._entries = [[]], [entry]

    def enter(self, entry: Entry) -> None:
        """A mention begins, inside another resource."""
        self._stack.append([])
        self._entries.append(entry)

    def leave(self) -> None:
        self._stack.pop()
        self._entries.pop()

    def push(self, name: str, at: str | None) -> None:
        self._stack[-1].append(_Open(name, at, len(self.steps)))

    def pop(self, value: Any) -> None:
        """The element got its value; without one, what was noted inside it is forgotten."""
        stack = self._stack[-1]
        done = stack.pop()
        if value is None or value == []:
            del self.steps[done.first_step :]
        elif not isinstance(value, (dict, list)) or len(self.steps) == done.first_step:
            self._note(done)
        if stack:
            stack[-1].sources.extend(done.sources)

    def read(self, place: str) -> None:
        """A field of the message was read."""
        self.used.add(place.partition(".")[0])
        if self._stack[-1]:
            self._stack[-1][-1].sources.append(place)

    def _note(self, done: _Open) -> None:
        if not self._entries:
            return
        entry = self._entries[-1]
        stack = self._stack[-1]
        names = [entry.type, *(o.name for o in stack), done.name]
        path = "".join(name if name.startswith("[") else f".{name}" for name in names)[1:]
        at = done.at or next((o.at for o in reversed(stack) if o.at), "")
        sources = tuple(dict.fromkeys(done.sources))
        self.steps.append(Step(entry.full_url, path, at or "", sources))
