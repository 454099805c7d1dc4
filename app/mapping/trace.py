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
    base: int | None = None  # items are told by their places behind so many others


class Trace:
    """Collects while a mapping that was compiled with `trace` runs."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.used: set[str] = set()
        self.keys: dict[Any, tuple[str, ...]] = {}  # of what a key was made
        self._key: list[tuple[list[str], int]] = []  # keys that are being made
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
        stack = self._stack[-1]
        if name[0] == "[" and stack and stack[-1].base is not None:
            name = f"[{stack[-1].base + int(name[1:-1])}]"
        stack.append(_Open(name, at, len(self.steps)))

    def behind(self, count: int) -> None:
        """What comes now stands in an array, behind so many items."""
        self._stack[-1].append(_Open("", None, len(self.steps), base=count))

    def done_behind(self) -> None:
        stack = self._stack[-1]
        done = stack.pop()
        if stack:
            stack[-1].sources.extend(done.sources)

    def pop(self, value: Any) -> None:
        """The element got its value; without one, what was noted inside it is forgotten."""
        stack = self._stack[-1]
        done = stack.pop()
        own = self._entries[-1].full_url if self._entries else ""
        inner = self.steps[done.first_step :]
        if value is None or value == []:  # what was mentioned inside it stays
            self.steps[done.first_step :] = [step for step in inner if step.full_url != own]
        elif not isinstance(value, (dict, list)) or all(one.full_url != own for one in inner):
            self._note(done)
        if stack:
            stack[-1].sources.extend(done.sources)

    def read(self, place: str) -> None:
        """A field of the message was read."""
        self.used.add(place.partition(".")[0])
        if self._key:
            self._key[-1][0].append(place)
            return
        if self._stack[-1]:
            self._stack[-1][-1].sources.append(place)

    def key_begins(self) -> None:
        """What is read now is read for a key."""
        self._key.append(([], len(self.steps)))

    def key_is(self, key: Any) -> None:
        """The key has been made; None: there is none."""
        read, first_step = self._key.pop()
        del self.steps[first_step:]  # the parts of a key are no elements
        if key is not None:
            self.keys.setdefault(key, tuple(dict.fromkeys(read)))
            if self._stack[-1]:  # what refers to it stands on the same
                self._stack[-1][-1].sources.extend(read)

    def _note(self, done: _Open) -> None:
        if not self._entries:
            return
        entry = self._entries[-1]
        stack = self._stack[-1]
        names = [entry.type, *(o.name for o in stack), done.name]
        path = "".join(n if n.startswith("[") else f".{n}" for n in names if n)[1:]
        at = done.at or next((o.at for o in reversed(stack) if o.at), "")
        sources = tuple(dict.fromkeys(done.sources))
        self.steps.append(Step(entry.full_url, path, at or "", sources))
